"""The sans-IO core: bytes in, events and bytes out.

Nothing in this package imports asyncio, socket, ssl, time or logging; a test enforces it.
"""
