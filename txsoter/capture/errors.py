"""What goes wrong with captures."""

from __future__ import annotations

from txsoter.errors import LocalError

__all__ = ["CaptureError", "reason_of"]


class CaptureError(LocalError):
    """A capture that cannot be written or read.

    :ivar path: the file or folder.
    :ivar reason: what is wrong with it, in words.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def reason_of(error: OSError) -> str:
    """What the system says, without the path that an error names anyway."""
    return error.strerror or str(error)
