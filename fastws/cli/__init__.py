"""The command line: everything that a person types is parsed, checked and answered here."""
