"""Whether it is worth to compress what a topic publishes, by what that has saved."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CompressionMeter", "CompressionUse"]

#: So many messages are compressed before it is decided.
SAMPLE_MESSAGES = 32
#: Compressed frames that have at least this part of the plain ones save too little for the CPU time.
WORTHLESS_RATIO = 0.9
#: So many messages are then sent as they are, before the next sample; each time twice as many, to the most.
PAUSE_MESSAGES = 1_000
LONGEST_PAUSE_MESSAGES = 64_000


@dataclass(frozen=True, slots=True)
class CompressionUse:
    """What compression has done for the messages of one topic; see :meth:`fastws.Hub.compression`."""

    #: False while messages are sent as they are, because the last sample has saved too little.
    is_on: bool
    #: Bytes of compressed frames as a part of the plain ones, in the last sample of 32; None before one.
    ratio: float | None
    #: Messages that were compressed.
    compressed: int
    #: Messages that were large enough, and were sent as they are.
    skipped: int


class CompressionMeter:
    """Counts what one channel compresses, and switches that off where it is not worth it.

    A message counts once for each window that its clients have agreed on; most often that is one.
    """

    __slots__ = (
        "_compressed_size",
        "_left",
        "_pause",
        "_plain_size",
        "compressed",
        "is_on",
        "ratio",
        "skipped",
    )

    def __init__(self) -> None:
        self.is_on = True
        self.ratio: float | None = None
        self.compressed = 0
        self.skipped = 0
        #: Messages to the end of the sample, or of the pause.
        self._left = SAMPLE_MESSAGES
        self._pause = PAUSE_MESSAGES
        self._plain_size = 0
        self._compressed_size = 0

    def skips(self) -> bool:
        """Count a message to be sent; True where it is to be sent as it is."""
        if self.is_on:
            return False
        self.skipped += 1
        self._left -= 1
        if not self._left:
            self.is_on = True
            self._left = SAMPLE_MESSAGES
        return True

    def measured(self, plain_size: int, compressed_size: int) -> None:
        """Count a message that was compressed."""
        self.compressed += 1
        self._plain_size += plain_size
        self._compressed_size += compressed_size
        self._left -= 1
        if not self._left:
            self._decide()

    def _decide(self) -> None:
        self.ratio = self._compressed_size / self._plain_size
        self._plain_size = self._compressed_size = 0
        if self.ratio < WORTHLESS_RATIO:
            self._left = SAMPLE_MESSAGES
            self._pause = PAUSE_MESSAGES
        else:
            self.is_on = False
            self._left = self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_MESSAGES)

    def use(self) -> CompressionUse:
        """Return what was counted."""
        return CompressionUse(self.is_on, self.ratio, self.compressed, self.skipped)
