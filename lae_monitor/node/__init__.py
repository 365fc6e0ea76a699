"""Single files copied to watched hosts; they import nothing of ours."""
