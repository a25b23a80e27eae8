"""The command line: parses and checks what the user types, and prints the answers."""
