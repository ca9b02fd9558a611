"""Pings: the time of the next, those in flight, and their round trips."""

from __future__ import annotations

import struct
from itertools import islice

from txsoter.wire.message import command_bytes

__all__ = ["MAX_PINGS_IN_FLIGHT", "PingTracker", "pong_frame"]

_PONG = struct.Struct("<I12sI4sQ")
_PONG_COMMAND = command_bytes("pong")


def pong_frame(magic: int, check: bytes, nonce: int) -> bytes:
    """Return the frame of the pong that answers a ping: it has that one's payload, and so its checksum ``check``."""
    return _PONG.pack(magic, _PONG_COMMAND, 8, check, nonce)


MAX_PINGS_IN_FLIGHT = 16_384
"""The most pings without a pong that are remembered; past it the oldest quarter is forgotten."""


class PingTracker:
    """Measures round trips. Times are seconds, as arguments.

    Each ping is told from the others by its nonce, so that several may be in flight (in the
    reference a second ping makes it miss the first pong).

    :ivar every: seconds from one ping to the next, or None.
    :ivar due: time of the next ping, or None.
    :ivar last_nonce: of the last ping sent, or None.
    :ivar last_time: when that was.
    :ivar last_micros: the last round trip in microseconds, or None before the first.
    """

    __slots__ = ("_in_flight", "due", "every", "last_micros", "last_nonce", "last_time")

    def __init__(self) -> None:
        # made when needed
        self._in_flight: dict[int, float] | None = None
        self.every: float | None = None
        self.due: float | None = None
        self.last_nonce: int | None = None
        self.last_time: float | None = None
        self.last_micros: int | None = None

    def begin(self, every: float, now: float) -> None:
        """Ping each ``every`` seconds from now on."""
        self.every = every
        self.due = now + every

    def is_due(self, now: float) -> bool:
        """Move on to the next ping, and tell whether one is due. A late one is not made up for."""
        if self.due is None or self.every is None or self.due > now:
            return False
        self.due = max(self.due, now) + self.every
        return True

    def sent(self, nonce: int, now: float) -> None:
        """Note that a ping was sent."""
        self.last_nonce = nonce
        self.last_time = now
        if self._in_flight is None:
            self._in_flight = {}
        in_flight = self._in_flight
        if len(in_flight) >= MAX_PINGS_IN_FLIGHT:
            # many at once: a dict that loses its first entry again and again looks through all it has lost
            for oldest in list(islice(in_flight, MAX_PINGS_IN_FLIGHT // 4)):
                del in_flight[oldest]
        in_flight[nonce] = now

    def received(self, nonce: int, now: float) -> float | None:
        """Return the round trip that a pong ends, in seconds; None when it answers no ping of ours."""
        sent = self._in_flight.pop(nonce, None) if self._in_flight else None
        if sent is None:
            return None
        self.last_micros = round((now - sent) * 1_000_000)
        return now - sent

    @property
    def in_flight(self) -> int:
        """The number of pings that wait for their pong."""
        return len(self._in_flight or ())
