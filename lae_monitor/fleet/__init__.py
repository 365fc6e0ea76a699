"""What is done about hosts, beyond hearing from them: registering them."""
