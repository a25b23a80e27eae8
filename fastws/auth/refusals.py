"""Why a client is not let in."""

from __future__ import annotations

__all__ = ["NotNow", "Refused"]


class Refused(Exception):
    """The client is not who it says. The operator is told why, the client is not.

    Args:
        template: As for ``%``; lines with the same template have one cause.
        values: For the template.
    """

    def __init__(self, template: str, *values: object) -> None:
        super().__init__(template, *values)
        self.template = template
        self.values = values


class NotNow(Exception):
    """Nobody can say now who the client is. The text is for the log."""

    def __init__(self, reason: str, seconds: float = 5.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds
