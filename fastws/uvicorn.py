"""One-line door for configurations that name ``fastws.uvicorn:FastWSProtocol``."""

from fastws.asgi.uvicorn import FastWSProtocol as FastWSProtocol
