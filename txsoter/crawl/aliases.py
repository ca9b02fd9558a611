"""Several addresses of one node: hints that two may be, and the proof.

A hint is cheap and can be forged: two addresses claim one and the same inbound connection, dialled the same nodes, or
give the same nonce. The proof cannot be forged against an honest node: while we are connected to both, each of them
lists our connection to the other among its own. An honest node does not list a connection that it does not have,
whatever a liar copies from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from txsoter.crawl.visit_result import VisitResult
from txsoter.service.book.places import Place

__all__ = ["Aliases", "OwnEnds", "is_same_node"]

MAX_PAIRS = 10_000
"""Pairs whose comparison is remembered."""

MAX_WAITING = 200
"""Pairs that wait for their comparison; hints beyond them are not followed."""

MAX_ENDS = 10_000
"""Own connections that are remembered."""

MAX_VOTERS = 200
"""Networks whose opinion of our own address is remembered."""


class OwnEnds:
    """Our own ends of recent connections, which nodes list among their inbound ones.

    :ivar recent: as our sockets had them, and as most remotes see them; and where each connection led.
    """

    def __init__(self) -> None:
        self.recent: OrderedDict[Place, Place] = OrderedDict()
        self._votes: OrderedDict[bytes, bytes] = OrderedDict()

    def connected(self, place: Place, own_end: Place) -> None:
        """Note a connection that has been made.

        :param own_end: our end of it, as our socket has it.
        """
        for end in self._forms(own_end):
            self.recent.pop(end, None)
            self.recent[end] = place
        while len(self.recent) > MAX_ENDS:
            self.recent.popitem(last=False)

    def vote(self, voter: bytes, ip: bytes) -> None:
        """Note at which IP a remote sees us.

        :param voter: the network of the remote, which has one vote.
        """
        self._votes.pop(voter, None)
        self._votes[voter] = ip
        if len(self._votes) > MAX_VOTERS:
            self._votes.popitem(last=False)

    def public_ip(self) -> bytes | None:
        """Return the packed IP that most networks see us at; None when there is no majority."""
        votes = list(self._votes.values())
        best = max(set(votes), key=votes.count, default=None)
        return best if best is not None and 2 * votes.count(best) > len(votes) else None

    def of(self, result: VisitResult) -> frozenset[Place]:
        """Return the forms in which others than the remote itself may list our end of a connection to it."""
        return frozenset() if result.own_end is None else self._forms(result.own_end)

    def _forms(self, own_end: Place) -> frozenset[Place]:
        public = self.public_ip()
        return frozenset((own_end,) if public is None else (own_end, Place(public, own_end.port)))


def is_same_node(one: VisitResult, other: VisitResult, ends: OwnEnds, nonces: tuple[int, int]) -> bool:
    """Return whether two addresses that were visited at the same time belong to one node.

    :param nonces: their nonces at earlier visits, or 0. Equal ones prove something only if they change: some
        implementations always send the same.
    """
    if not (one.answered and other.answered):
        return False
    if one.inbound is not None and other.inbound is not None:
        return not ends.of(one).isdisjoint(other.inbound) and not ends.of(other).isdisjoint(one.inbound)
    return bool(one.nonce) and one.nonce == other.nonce and one.nonce not in nonces and 0 not in nonces


class Aliases:
    """Pairs of addresses that are to be compared, and when that was done."""

    def __init__(self, again: float) -> None:
        self._again = again
        self._compared: OrderedDict[tuple[Place, Place], float] = OrderedDict()
        self._waiting: OrderedDict[tuple[Place, Place], None] = OrderedDict()
        # the last address that gave a nonce, or a set of nodes that it dialled
        self._marks: OrderedDict[int | frozenset[Place], Place] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of pairs that wait."""
        return len(self._waiting)

    def suspect(self, one: Place, other: Place, now: float) -> None:
        """Note a hint."""
        pair = (one, other) if one < other else (other, one)
        compared = self._compared.get(pair)
        if one == other or pair in self._waiting or (compared is not None and now - compared < self._again):
            return
        if len(self._waiting) < MAX_WAITING:
            self._waiting[pair] = None

    def mark_seen(self, mark: int | frozenset[Place], place: Place, now: float) -> None:
        """Note what may be a node's own, and compare it with the other address that gave the same.

        :param mark: the nonce of its ``version``, or the nodes that it dialled.
        """
        other = self._marks.pop(mark, place)
        self._marks[mark] = place
        if len(self._marks) > MAX_PAIRS:
            self._marks.popitem(last=False)
        self.suspect(place, other, now)

    def next_pair(self, is_ready: Callable[[Place], bool | None], now: float) -> tuple[Place, Place] | None:
        """Return a pair that is to be compared now, and take it as compared.

        :param is_ready: tells of an address whether it can be compared; None when it must be waited for.
        """
        for pair in list(self._waiting):
            ready = [is_ready(place) for place in pair]
            if None in ready and False not in ready:
                continue
            del self._waiting[pair]
            if False in ready:
                continue
            self._compared.pop(pair, None)
            self._compared[pair] = now
            if len(self._compared) > MAX_PAIRS:
                self._compared.popitem(last=False)
            return pair
        return None

    def forget(self, one: Place, other: Place) -> None:
        """Let a pair be compared again at the next hint."""
        self._compared.pop((one, other) if one < other else (other, one), None)
