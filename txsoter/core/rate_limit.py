"""Messages and bytes a second that one remote may send."""

from __future__ import annotations

__all__ = ["RateLimit"]


def _burst(messages: float | None) -> float:
    return max(1.0, messages or 0.0)


class RateLimit:
    """A token bucket for messages and one for bytes, each holding a second's worth.

    :param messages: messages a second; None for any number.
    :param size: bytes a second; None for any number.
    :param now: seconds.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages", "_refilled")

    def __init__(self, messages: float | None, size: float | None, now: float) -> None:
        self._max_messages = messages
        self._max_bytes = size
        # negative after a message that was larger than what was left
        self._messages = _burst(messages)
        self._bytes = size or 0.0
        self._refilled = now

    def spend(self, size: int, now: float) -> None:
        """Count a message of ``size`` bytes."""
        passed, self._refilled = max(0.0, now - self._refilled), now
        if self._max_messages is not None:
            self._messages = min(_burst(self._max_messages), self._messages + passed * self._max_messages) - 1
        if self._max_bytes is not None:
            self._bytes = min(self._max_bytes, self._bytes + passed * self._max_bytes) - size

    def due(self) -> float:
        """Return the time from which the next message may be taken, in seconds."""
        wait = 0.0
        if self._max_messages is not None:
            wait = (1 - self._messages) / self._max_messages
        if self._max_bytes is not None:
            wait = max(wait, -self._bytes / self._max_bytes)
        return self._refilled + wait
