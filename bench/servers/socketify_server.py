"""The rival `socketify` (uWebSockets under Python): echo at /wsecho, broadcast to all at /broadcast."""

from __future__ import annotations

from typing import Any

from _argv import HOST, MAX_MESSAGE, arguments, ready
from socketify import App, AppListenOptions, AppOptions, CompressOptions

#: Beyond 64 KiB it would drop messages silently; the cells count every one of them.
MAX_BACKPRESSURE = 64 * 1024 * 1024


def behavior(**handlers: Any) -> dict[str, Any]:
    return {
        "compression": CompressOptions.SHARED_COMPRESSOR,
        "max_payload_length": MAX_MESSAGE,
        "max_backpressure": MAX_BACKPRESSURE,
        **handlers,
    }


def main() -> None:
    port, files = arguments()
    app = App(AppOptions(cert_file_name=files[0], key_file_name=files[1]) if files else None)

    def broadcast(ws: Any, message: str | bytes, opcode: int) -> None:
        app.publish("all", message, opcode, len(message) >= 1024)

    app.ws("/wsecho", behavior(message=lambda ws, message, opcode: ws.send(message, opcode)))
    app.ws("/broadcast", behavior(open=lambda ws: ws.subscribe("all"), message=broadcast))
    app.listen(AppListenOptions(port=port, host=HOST), lambda _: ready(port))
    app.run()


main()
