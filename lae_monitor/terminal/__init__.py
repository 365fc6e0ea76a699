"""What every command of the command line shares: options, how it gets its answers, how it prints them."""
