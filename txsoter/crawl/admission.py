"""Which addresses are taken from whom: those that can be dialled, and from each source only so many that nobody has
proven.
"""

from __future__ import annotations

from txsoter.ip import is_routable, is_v4
from txsoter.service.book.places import Place

__all__ = ["Quotas", "can_be_dialled"]

_HEAVIEST_USES = 64
"""Calls after which it is found anew which network has introduced the most."""


def can_be_dialled(place: Place, allow_unroutable: bool) -> bool:
    """Return whether an address can be a node's: unicast, with a port, of the internet unless others are allowed."""
    if not place.port:
        return False
    if is_routable(place.ip):
        return True
    if not allow_unroutable:
        return False
    if is_v4(place.ip):
        # 0.0.0.0/8 would lead to this machine, and from 224.0.0.0 on there are no hosts
        return 0 < place.ip[12] < 224
    return place.ip[0] != 0xFF and any(place.ip)


class Quotas:
    """The addresses that have not answered, by the network of who introduced them, and by their host.

    :param most: addresses that one network may have introduced.
    :param most_at_host: of them, those at one IP address of the internet: nobody can make us try all ports of another.
    """

    def __init__(self, most: int, most_at_host: int) -> None:
        self._most = most
        self._most_at_host = most_at_host
        # dicts, as sets that keep the order
        self._introduced: dict[bytes, dict[Place, None]] = {}
        self._at_host: dict[bytes, int] = {}
        self._heaviest: bytes | None = None
        self._uses = 0

    def count(self, source: bytes) -> int:
        """Return the number of addresses that a network has introduced and that have not answered."""
        return len(self._introduced.get(source, ()))

    def has_room(self, source: bytes, place: Place) -> bool:
        """Return whether a network may introduce an address."""
        if self.count(source) >= self._most:
            return False
        return self._at_host.get(place.ip, 0) < self._most_at_host or not is_routable(place.ip)

    def add(self, source: bytes, place: Place) -> None:
        """Count an address."""
        self._introduced.setdefault(source, {})[place] = None
        self._at_host[place.ip] = self._at_host.get(place.ip, 0) + 1

    def settle(self, source: bytes, place: Place) -> None:
        """Count it no more: it has answered, or it was dropped."""
        introduced = self._introduced[source]
        del introduced[place]
        if not introduced:
            del self._introduced[source]
        self._at_host[place.ip] -= 1
        if not self._at_host[place.ip]:
            del self._at_host[place.ip]

    def heaviest(self) -> bytes | None:
        """Return a network that has introduced the most, or had a moment ago."""
        # finding it takes a look at all of them, which is too much for every address that is told
        if not self._uses or self._heaviest not in self._introduced:
            self._heaviest = max(self._introduced, key=self.count, default=None)
            self._uses = _HEAVIEST_USES
        self._uses -= 1
        return self._heaviest

    def latest(self, source: bytes) -> Place:
        """Return the address that a network introduced last.

        :raises KeyError: if there is none.
        """
        return next(reversed(self._introduced[source]))
