"""ASGI 3 on fastws: :class:`fastws.ASGI` serves an application, :func:`fastws.subscriber` joins a hub."""
