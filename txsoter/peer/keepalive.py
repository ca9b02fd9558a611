"""Pings in flight and their round trips."""

from __future__ import annotations

import struct
from itertools import islice

from txsoter.wire.message import command_bytes

__all__ = ["MAX_PINGS_IN_FLIGHT", "PingTracker", "pong_frame"]

_PONG = struct.Struct("<I12sI4sQ")
_PONG_COMMAND = command_bytes("pong")


def pong_frame(magic: int, check: bytes, nonce: int) -> bytes:
    """The frame of the pong that answers a ping: it has that one's payload, and so its checksum ``check``."""
    return _PONG.pack(magic, _PONG_COMMAND, 8, check, nonce)


MAX_PINGS_IN_FLIGHT = 16_384
"""How many pings without a pong are remembered; past it the oldest quarter is forgotten."""


class PingTracker:
    """Measures round trips. Times are seconds, as arguments.

    Each ping is told from the others by its nonce, so that several may be in flight (in the
    reference a second ping makes it miss the first pong).

    :ivar last_nonce: of the last ping sent, or None.
    :ivar last_time: when that was.
    :ivar last_micros: the last round trip in microseconds, or None before the first.
    """

    __slots__ = ("_in_flight", "last_micros", "last_nonce", "last_time")

    def __init__(self) -> None:
        self._in_flight: dict[int, float] = {}
        self.last_nonce: int | None = None
        self.last_time: float | None = None
        self.last_micros: int | None = None

    def sent(self, nonce: int, now: float) -> None:
        """A ping has been sent."""
        self.last_nonce = nonce
        self.last_time = now
        in_flight = self._in_flight
        if len(in_flight) >= MAX_PINGS_IN_FLIGHT:
            # many at once: a dict that loses its first entry again and again looks through all it has lost
            for oldest in list(islice(in_flight, MAX_PINGS_IN_FLIGHT // 4)):
                del in_flight[oldest]
        in_flight[nonce] = now

    def received(self, nonce: int, now: float) -> int | None:
        """A pong has come: its round trip in microseconds, or None when it answers no ping of ours."""
        sent = self._in_flight.pop(nonce, None)
        if sent is None:
            return None
        self.last_micros = round((now - sent) * 1_000_000)
        return self.last_micros

    @property
    def in_flight(self) -> int:
        """How many pings wait for their pong."""
        return len(self._in_flight)
