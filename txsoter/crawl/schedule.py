"""The order of visits: whom to dial when, under limits of number, rate and network. Knows no clock."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from txsoter.ip import is_routable, is_v4
from txsoter.service.book.places import Place

__all__ = ["Schedule", "dial_network"]


def dial_network(place: Place) -> bytes | None:
    """Return the network whose visits are limited together: a /24 of IPv4, a /48 of IPv6; None for one that is not of
    the internet.
    """
    if not is_routable(place.ip):
        return None
    return place.ip[:15] if is_v4(place.ip) else place.ip[:6]


class Schedule:
    """Visits that are due, those to come, and those under way.

    Of those that are due, the lowest rank goes first, and of equal ranks the one that was added first.

    :param max_dials: visits at a time.
    :param per_second: visits begun in a second; a tenth of that may begin at once.
    :param per_network: visits at a time in one :func:`dial_network`.
    :ivar under_way: the addresses that are being visited.
    """

    def __init__(self, max_dials: int, per_second: float, per_network: int) -> None:
        self.under_way: set[Place] = set()
        self._max_dials = max_dials
        self._per_second = per_second
        self._per_network = per_network
        self._number = 0
        # the number of the valid entry of each address; entries with other numbers are skipped
        self._valid: dict[Place, int] = {}
        self._later: list[tuple[float, int, int, Place]] = []
        self._due: list[tuple[int, int, Place]] = []
        # those that are due, but whose network has enough visits under way
        self._parked: dict[bytes, deque[tuple[int, int, Place]]] = {}
        self._networks: dict[bytes, int] = {}
        self._burst = max(1.0, per_second / 10)
        self._allowance = self._burst
        self._refilled: float | None = None

    def __len__(self) -> int:
        """Return the number of addresses that wait for a visit, due or not."""
        return len(self._valid)

    def __contains__(self, place: object) -> bool:
        return place in self._valid

    def put(self, place: Place, due: float, rank: int = 0) -> None:
        """Plan a visit; it replaces the one that was planned.

        :param due: earliest time, in seconds.
        """
        self._number += 1
        self._valid[place] = self._number
        heappush(self._later, (due, rank, self._number, place))
        if len(self._later) > 64 + 4 * len(self._valid):
            self._purge()

    def _purge(self) -> None:
        """Remove entries that were replaced."""
        self._later = [each for each in self._later if self._valid.get(each[3]) == each[2]]
        self._later.sort()

    def remove(self, place: Place) -> None:
        """Plan no visit."""
        self._valid.pop(place, None)

    def begin(self, place: Place) -> None:
        """Note that a visit begins that was not taken from here; it counts against all limits."""
        self._valid.pop(place, None)
        self.under_way.add(place)
        self._allowance -= 1
        network = dial_network(place)
        if network is not None:
            self._networks[network] = self._networks.get(network, 0) + 1

    def end(self, place: Place) -> None:
        """Note that a visit has ended."""
        self.under_way.discard(place)
        network = dial_network(place)
        if network is None:
            return
        left = self._networks[network] - 1
        if left:
            self._networks[network] = left
        else:
            del self._networks[network]
        parked = self._parked.get(network)
        while parked:
            rank, number, other = parked.popleft()
            if self._valid.get(other) == number:
                heappush(self._due, (rank, number, other))
                break
        if parked is not None and not parked:
            del self._parked[network]

    def room(self, now: float) -> int:
        """Return the number of visits that may begin now."""
        if self._refilled is None:
            self._refilled = now
        self._allowance = min(self._burst, self._allowance + (now - self._refilled) * self._per_second)
        self._refilled = now
        return max(0, min(self._max_dials - len(self.under_way), int(self._allowance)))

    def take(self, now: float) -> Place | None:
        """Begin the next visit, and return its address; None when none may begin now."""
        if self.room(now) < 1:
            return None
        self._ripen(now)
        while self._due:
            rank, number, place = heappop(self._due)
            if self._valid.get(place) != number:
                continue
            network = dial_network(place)
            if network is not None and self._networks.get(network, 0) >= self._per_network:
                self._parked.setdefault(network, deque()).append((rank, number, place))
                continue
            self.begin(place)
            return place
        return None

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, rank, number, place = heappop(self._later)
            if self._valid.get(place) == number:
                heappush(self._due, (rank, number, place))

    def next_time(self, now: float) -> float | None:
        """Return the time at which :meth:`take` may have something; None until a visit ends or one is planned."""
        if len(self.under_way) >= self._max_dials:
            return None
        self._ripen(now)
        while self._due and self._valid.get(self._due[0][2]) != self._due[0][1]:
            heappop(self._due)
        allowed = now if self.room(now) else now + (1.0 - self._allowance) / self._per_second
        if self._due:
            return allowed
        while self._later and self._valid.get(self._later[0][3]) != self._later[0][2]:
            heappop(self._later)
        return max(allowed, self._later[0][0]) if self._later else None
