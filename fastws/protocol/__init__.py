"""HTTP and WebSocket as protocols without I/O: bytes go in, events and bytes come out.

Nothing in this package imports asyncio, socket, ssl, time or logging. A test enforces it.
"""
