"""``BookKeeper``: an address book's ears and mouth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from random import Random, SystemRandom

from twisted.internet.interfaces import IAddress
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txsoter.clock import monotonic
from txsoter.core.config import hides
from txsoter.core.state import State
from txsoter.errors import CloseCause, CloseReason
from txsoter.ip import address_group, is_v4
from txsoter.peer.addressing import host_and_port, ip_of
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book.book import AddressBook
from txsoter.service.book.known import DAY, HOUR
from txsoter.service.book.places import Place, place_at
from txsoter.service.observers import Observer
from txsoter.wire import MAX_ADDRESSES, Addr, AddrCache, GetAddr, GetAddrCache, NetAddress

__all__ = ["Allowance", "BookKeeper"]

RATE = 0.1
"""Addresses a second that a source may tell unasked."""

SOURCES = 1024
"""Sources whose allowance is remembered; the one that was quiet for longest goes."""

NOWHERE = bytes(16)
"""The source of what comes from a place that has no IP, or is behind a proxy."""

CONNECTED_EVERY = HOUR
"""Seconds after which the book is told again of the connections that are still there."""

CACHE_EVERY = 10.0
"""Seconds after which a remote may ask for ``addrcache`` again."""

MANY = 1000
"""Addresses of which it is worth hiding which we know: while there are more, everybody gets the same answer for a day.
In a small network all would be known at once, and the latest who came must be."""

LOCAL_ADDRESSES = 64
"""Connections of ours of which we remember from where they were made."""


class Allowance:
    """How many addresses a source may tell: one at first, one each ten seconds, and a message's worth when asked.

    :param now: seconds.
    """

    __slots__ = ("_left", "_refilled")

    def __init__(self, now: float) -> None:
        self._left = 1.0
        self._refilled = now

    def asked(self) -> None:
        """It was asked for addresses."""
        self._left = float(MAX_ADDRESSES)

    def take(self, wanted: int, now: float) -> int:
        """How many of those that have come may be looked at."""
        passed, self._refilled = now - self._refilled, now
        self._left = min(float(MAX_ADDRESSES), self._left + passed * RATE)
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken


class _Session:
    """What there has been with a peer that is ready."""

    __slots__ = ("cache_told", "place", "services", "told")

    def __init__(self, place: Place | None, services: int) -> None:
        self.place = place
        self.services = services
        self.told = False
        self.cache_told: float | None = None


class BookKeeper(Observer):
    """Notes in an address book who was connected to, and what peers tell; tells them when they ask.

    Give it to a :class:`~txsoter.service.PeerService` as an observer. On simnet nothing is learned or told.

    :param book: where all of it goes.
    :param advertise: our own addresses, which the peers that we dial are told; by default none are.
    :param random: chooses among what comes too fast.
    """

    log = Logger()

    def __init__(self, book: AddressBook, advertise: Iterable[NetAddress] = (), random: Random | None = None) -> None:
        self.book = book
        self._advertise = tuple(advertise)
        self._random = SystemRandom() if random is None else random
        self._sessions: dict[SoterPeerProtocol, _Session] = {}
        self._dialled: dict[SoterPeerProtocol, Place] = {}
        # from where our own connections were made, and whereto
        self._locals: OrderedDict[Place, Place] = OrderedDict()
        self._allowances: OrderedDict[str | None, Allowance] = OrderedDict()
        self._answer: Sequence[NetAddress] = ()
        self._answer_until: float | None = None
        self._seconds = monotonic(book.clock)
        self._telling = LoopingCall(self._tell_connected)
        self._telling.clock = book.clock

    # -- who is where --------------------------------------------------------------------------

    def dialled(self, peer: SoterPeerProtocol, place: Place) -> None:
        """A connection was made to a place; its transport may know only of a proxy."""
        if peer.state is State.CLOSED:
            return
        self._dialled[peer] = place
        local = _place(peer.transport.getHost())
        if local is not None:
            self._locals.pop(local, None)
            self._locals[local] = place
        if len(self._locals) > LOCAL_ADDRESSES:
            self._locals.popitem(last=False)

    def place_of(self, peer: SoterPeerProtocol) -> Place | None:
        """Where a peer is; None when it has no IP, or is behind a proxy."""
        if peer in self._dialled:
            return self._dialled[peer]
        place = _place(peer.remote_address)
        return None if place is None or hides(peer.config, place.host) else place

    # -- connections ---------------------------------------------------------------------------

    def on_ready(self, peer: SoterPeerProtocol) -> None:
        """A handshake is over: whoever we dialled has worked, and can be asked."""
        place, services = self.place_of(peer), peer.stats().services
        self._sessions[peer] = _Session(place, services)
        # from now on it is refilled
        allowance = self._allowance(peer)
        if peer.inbound:
            return
        if place is not None:
            self.book.succeeded(place, services)
            if not self._telling.running:
                self._telling.start(CONNECTED_EVERY, now=False).addErrback(
                    lambda failure: self.log.failure("the address book is not told any more who is connected", failure)
                )
        if self.book.learns:
            allowance.asked()
            peer.send(GetAddr())
            now = self.book.timestamp()
            peer.push_addresses([NetAddress(each.services, each.ip, each.port, now) for each in self._advertise])

    def on_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        """A connection has ended: it was good until now, or led to ourselves."""
        session, place = self._sessions.pop(peer, None), self._dialled.pop(peer, None)
        if self._telling.running and not self._connections():
            self._telling.stop()
        if reason.cause is CloseCause.SELF_CONNECTION:
            # it is the end that was dialled that notices
            came_from = _place(peer.remote_address) if peer.inbound else None
            own = place if came_from is None else self._locals.get(came_from)
            if own is not None:
                self.book.is_own(own)
        elif session is not None and session.place is not None and not peer.inbound:
            self.book.parted(session.place)

    def _connections(self) -> list[Place]:
        """The places that we have dialled and are connected to."""
        dialled = (session.place for peer, session in self._sessions.items() if not peer.inbound)
        return [place for place in dialled if place is not None]

    def _tell_connected(self) -> None:
        for place in self._connections():
            self.book.connected(place)

    # -- learning ------------------------------------------------------------------------------

    def on_addr(self, peer: SoterPeerProtocol, message: Addr) -> None:
        """A peer tells of others."""
        self._learn(peer, message.addresses)

    def on_addrcache(self, peer: SoterPeerProtocol, message: AddrCache) -> None:
        """A peer tells whom it knows; who dialled it does not listen where it came from."""
        self._learn(peer, message.outbound)
        self._learn(peer, message.known)

    def _learn(self, peer: SoterPeerProtocol, addresses: Sequence[NetAddress]) -> None:
        if not self.book.learns:
            return
        told = len(addresses)
        taken = self._allowance(peer).take(told, self._seconds())
        if taken:
            place = self.place_of(peer)
            # any of them: the first ones are what a hostile remote chooses
            chosen = (
                addresses if taken == told else [addresses[each] for each in self._random.sample(range(told), taken)]
            )
            self.book.hear(chosen, NOWHERE if place is None else place.ip)

    def _allowance(self, peer: SoterPeerProtocol) -> Allowance:
        place = self.place_of(peer)
        # one who comes again does not begin again
        source = None if place is None else address_group(place.host)
        allowance = self._allowances.pop(source, None) or Allowance(self._seconds())
        self._allowances[source] = allowance
        if len(self._allowances) > SOURCES:
            self._allowances.popitem(last=False)
        return allowance

    # -- telling -------------------------------------------------------------------------------

    def on_getaddr(self, peer: SoterPeerProtocol, message: GetAddr) -> None:
        """Answered once a connection, and only to whom dialled us: others could find out what we are told."""
        session = self._sessions.get(peer)
        if session is not None and peer.inbound and not session.told:
            session.told = True
            peer.push_addresses(self._known())

    def on_getaddrcache(self, peer: SoterPeerProtocol, message: GetAddrCache) -> None:
        """Whom we are connected to and whom we know, IPv4 only: of IPv6 a soterd dies."""
        session, now = self._sessions.get(peer), self._seconds()
        if session is None or not self.book.learns:
            return
        if session.cache_told is not None and now - session.cache_told < CACHE_EVERY:
            return
        session.cache_told = now
        peer.push_address_cache(
            self._connected(inbound=True),
            self._connected(inbound=False),
            [each for each in self._known() if is_v4(each.ip)],
        )

    def _connected(self, inbound: bool) -> list[NetAddress]:
        now = self.book.timestamp()
        return [
            NetAddress(session.services, session.place.ip, session.place.port, now)
            for peer, session in self._sessions.items()
            if peer.inbound is inbound
            and session.place is not None
            and is_v4(session.place.ip)
            and self.book.accepts(session.place)
        ]

    def _known(self) -> Sequence[NetAddress]:
        now = self._seconds()
        if self._answer_until is None or now >= self._answer_until or len(self.book) <= MANY:
            self._answer = self.book.sample()
            self._answer_until = now + DAY
        return self._answer


def _place(address: IAddress | None) -> Place | None:
    ip, port = ip_of(address), host_and_port(address)[1]
    return place_at(ip, port) if ip is not None and port else None
