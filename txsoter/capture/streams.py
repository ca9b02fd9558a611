"""One direction of a TCP connection, put together from segments that come in any order, twice, or not at all.

None of the libraries on PyPI does this right: see CONTRIBUTING.md for what was tried.
"""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

__all__ = ["Stretch", "TcpStream"]

MAX_AHEAD = 8 << 20
"""Bytes that wait for what is missing before them; with more it is taken for lost. As large as receive windows get."""

MAX_SEGMENTS = 8192
"""Segments, likewise."""

_HALF = 1 << 31
_WHOLE = 1 << 32


class Stretch(NamedTuple):
    """Bytes of a stream, in order.

    :param time: when the last packet came that was needed for them.
    :param lost: bytes missing before them.
    """

    time: int
    lost: int
    data: bytes


class TcpStream:
    """Takes segments, gives the stream; of what is sent twice, the first counts.

    It holds at most :data:`MAX_AHEAD` bytes.

    :ivar started: whether its beginning is known.
    :ivar held: bytes that wait for what is missing before them.
    """

    __slots__ = ("_first", "_lost", "_next", "_pending", "_time", "held", "started")

    def __init__(self) -> None:
        # the sequence number of the first byte; offsets begin with it, and only grow where numbers begin again
        self._first: int | None = None
        self._next = 0
        # beginning, end, bytes and time of each segment that has to wait, by beginning
        self._pending: list[tuple[int, int, bytes, int]] = []
        self._time = 0
        self._lost = 0
        self.started = False
        self.held = 0

    def syn(self, sequence: int) -> bool:
        """It begins: the first byte has the next sequence number. False when that is another stream's beginning."""
        first = (sequence + 1) % _WHOLE
        if self._first is None:
            self._first = self._next = first
            self.started = True
        return self._first == first

    def feed(self, time: int, sequence: int, data: bytes, cut: int = 0) -> list[Stretch]:
        """A segment has come; what can be given now, in order.

        :param cut: bytes behind ``data`` that it had and that are not known.
        """
        if not data and not cut:
            return []
        if self._first is None:
            self._first = self._next = sequence
        self._time = max(self._time, time)
        offset = self._offset(sequence)
        end = offset + len(data) + cut
        if end <= self._next:
            return []
        if offset <= self._next and not self._pending and not cut and not self._lost:
            fresh = data[self._next - offset :] if offset < self._next else data
            self._next = end
            return [Stretch(self._time, 0, fresh)]
        insort(self._pending, (offset, end, data, time), key=_beginning)
        self.held += len(data)
        given = self._in_order(self._time)
        while self.held > MAX_AHEAD or len(self._pending) > MAX_SEGMENTS:
            given += self._past_gap()
        return given

    def end(self) -> list[Stretch]:
        """Nothing more will come: what waits is given, with what is missing left out."""
        given: list[Stretch] = []
        while self._pending:
            given += self._past_gap()
        return given

    def reaches(self, sequence: int) -> bool:
        """Whether all before a sequence number has been given."""
        return self._first is None or self._offset(sequence) <= self._next

    def forget(self) -> None:
        """Drop what waits, but know its beginning again."""
        self._pending.clear()
        self.held = 0

    def _past_gap(self) -> list[Stretch]:
        """What is missing will not come."""
        start = self._pending[0][0]
        self._lost += start - self._next
        self._next = start
        return self._in_order(None)

    def _in_order(self, now: int | None) -> list[Stretch]:
        """Give all up to what is missing.

        :param now: when what came last made that possible; None when nothing did, but waiting was given up.
        """
        given: list[Stretch] = []
        taken = 0
        for start, end, data, time in self._pending:
            if start > self._next:
                break
            taken += 1
            self.held -= len(data)
            fresh = data[self._next - start :]
            if fresh:
                lost, self._lost = self._lost, 0
                given.append(Stretch(time if now is None else now, lost, fresh))
                self._next += len(fresh)
            if end > self._next:
                # was not captured, and would not be if it came again
                self._lost += end - self._next
                self._next = end
        del self._pending[:taken]
        return given

    def _offset(self, sequence: int) -> int:
        """Where in the stream a sequence number is: the nearest such place to what comes next."""
        ahead = (sequence - self._next) % _WHOLE
        return self._next + (ahead if ahead < _HALF else ahead - _WHOLE)


def _beginning(segment: tuple[int, int, bytes, int]) -> int:
    return segment[0]
