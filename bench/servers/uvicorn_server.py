"""The rival `uvicorn` with the ASGI application of ``asgi_app.py``.

``--wsproto`` takes uvicorn's protocol on wsproto and ``--fastws`` our plug-in, otherwise it is uvicorn's own
choice, which is websockets.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from _argv import HOST, MAX_MESSAGE, arguments, ready
from asgi_app import app

PROTOCOLS = {"--wsproto": "wsproto", "--fastws": "fastws.uvicorn:FastWSProtocol"}


class Server(uvicorn.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        ready(self.config.port)


def main() -> None:
    port, files = arguments()
    cert, key = files or (None, None)
    config = uvicorn.Config(
        app,
        HOST,
        port,
        loop="uvloop",
        ws=next((ws for flag, ws in PROTOCOLS.items() if flag in sys.argv), "auto"),
        ws_max_size=MAX_MESSAGE,
        lifespan="off",
        access_log=False,
        log_level="warning",
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    Server(config).run()


main()
