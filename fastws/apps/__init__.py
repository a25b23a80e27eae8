"""The built-in application: echo, chat, broadcast, and their pages."""
