"""One connection: what waits to be written, the asyncio Protocol, the user's ``WebSocket``, handlers."""
