"""The command line: a file per command, each with its options and what it does; main.py lists them."""
