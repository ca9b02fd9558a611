"""Which addresses are taken from whom: those that can be dialled, and from each source only so many that nobody has
proven.
"""

from __future__ import annotations

from txsoter.ip import is_routable, is_v4
from txsoter.service.book.places import Place

__all__ = ["Quotas", "can_be_dialled"]


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
    """The addresses that have not answered, by the network of who introduced them.

    :param most: addresses that one network may have introduced.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # dicts, as sets that keep the order
        self._introduced: dict[bytes, dict[Place, None]] = {}

    def count(self, source: bytes) -> int:
        """Return the number of addresses that a network has introduced and that have not answered."""
        return len(self._introduced.get(source, ()))

    def has_room(self, source: bytes) -> bool:
        """Return whether a network may introduce another."""
        return self.count(source) < self._most

    def add(self, source: bytes, place: Place) -> None:
        """Count an address."""
        self._introduced.setdefault(source, {})[place] = None

    def settle(self, source: bytes, place: Place) -> None:
        """Count it no more: it has answered, or it was dropped."""
        introduced = self._introduced[source]
        del introduced[place]
        if not introduced:
            del self._introduced[source]

    def heaviest(self) -> bytes | None:
        """Return the network that has introduced the most."""
        return max(self._introduced, key=self.count, default=None)

    def latest(self, source: bytes) -> Place:
        """Return the address that a network introduced last.

        :raises KeyError: if there is none.
        """
        return next(reversed(self._introduced[source]))
