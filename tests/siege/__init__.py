"""All classes of attack at once beside normal clients: ``python -m tests.siege``."""
