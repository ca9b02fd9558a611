"""The parts of a simulated network as the other parts see them, so that no module imports one that imports it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from txsoter.testing.clock import SimulatedClock

__all__ = ["Attempt", "End", "Link", "Network"]


class Network(Protocol):
    """A network, as its links see it; its attributes are those of :class:`~txsoter.testing.SimulatedNetwork`."""

    clock: SimulatedClock
    random: Random
    latency: tuple[float, float]
    chop: float
    window: tuple[int, int]
    overrun: float
    beat: float | None
    tap: Callable[[Any, bytes], object] | None

    def reaches(self, host: str, other: str) -> bool:
        """Return whether anything passes between two hosts."""
        ...

    def note(self, link: Any, dialled: bool, data: bytes) -> None:
        """Note that bytes of one end of a link have arrived at the other.

        :param dialled: they are of the end that dialled.
        """
        ...

    def forget(self, link: Any) -> None:
        """Forget a link of which nothing is left."""
        ...


class Attempt(Protocol):
    """One who dials, and does not know yet what comes of it."""

    def accepted(self) -> None:
        """Begin: the other end is open."""
        ...

    def refused(self) -> None:
        """Fail: nobody listens there."""
        ...

    def fail(self, error: Exception) -> None:
        """Fail for a reason."""
        ...


class End(Protocol):
    """An end of a link: a transport with a protocol behind it, or a core.

    :ivar host: the IP of its node, as text.
    :ivar connected: there is a connection.
    :ivar disconnecting: its program has closed it.
    :ivar reading: False while its program has paused it.
    :ivar held_until: time until which its program is busy elsewhere and reads nothing.
    :ivar attempt: of the end that dials, until it is decided.
    """

    connected: bool
    disconnecting: bool
    reading: bool
    held_until: float
    attempt: Attempt | None

    @property
    def host(self) -> str:
        """See above."""
        ...

    def attach(self, link: Any, pipe: Any) -> None:
        """Take a link, and the pipe to its other end."""
        ...

    def receive(self, data: bytes) -> None:
        """Give bytes to the program."""
        ...

    def other_ended(self) -> None:
        """Note that the other end writes no more."""
        ...

    def has_room(self) -> None:
        """Note that bytes of this end were read by the other."""
        ...

    def was_reset(self) -> None:
        """Note that there is no connection."""
        ...

    def hold(self, seconds: float) -> None:
        """Read nothing for so long."""
        ...

    def breaks(self, delay: float) -> None:
        """Lose the connection in so many seconds; nothing more is read or written."""
        ...

    def finish(self) -> None:
        """End the connection in good order."""
        ...


class Link(Protocol):
    """A link, as its ends and pipes see it; its attributes are those of :class:`~txsoter.testing.SimulatedLink`."""

    network: Network
    number: int
    client: Any
    server: Any
    window: int
    overruns: bool

    @property
    def passable(self) -> bool:
        """Whether anything gets through."""
        ...

    def delay(self) -> float:
        """Return how long something takes now, in seconds."""
        ...

    def pieces(self, data: bytes) -> list[bytes]:
        """Return ``data`` in the pieces in which it will arrive."""
        ...

    def arrived(self, end: Any, packet: Any) -> None:
        """Note that something other than bytes has arrived, or (None) bytes at an end that is closed."""
        ...

    def closed(self) -> None:
        """Note that an end is closed, or will never be open."""
        ...
