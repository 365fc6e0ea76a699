"""What every command of the command line shares: options, how it gets its answers, how it prints them.

options     `@common`: --config, --json, exit codes
hosts       options of the commands that work on hosts over SSH
answers     asks the running `serve`, or else the store itself
table       tables; progress: how far long work is
owner       acts as the account that owns the state folder
"""
