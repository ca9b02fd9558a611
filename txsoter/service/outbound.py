"""``OutboundService``: keeps a number of peers that are picked from an address book."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable
from random import Random, SystemRandom
from typing import Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, quoteStringArgument
from twisted.internet.error import ConnectError, NoRouteError
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.clock import monotonic
from txsoter.core.sanitize import sanitize
from txsoter.core.state import State
from txsoter.errors import CloseCause, ConnectionClosed, FieldError
from txsoter.ip import is_routable
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book.buckets import Skip
from txsoter.service.book.keeper import BookKeeper
from txsoter.service.book.known import Known
from txsoter.service.book.places import Place, group_of, place_at
from txsoter.service.quick_retries import QuickRetries

__all__ = ["EndpointFor", "HasPeers", "OutboundService", "endpoint_place", "endpoints_like"]

FIRST_WAIT = 0.5
"""Seconds between two attempts while they succeed; up to half of it more or less."""

LAST_WAIT = 30.0
"""The same after many that did not, or when there was nobody to pick."""

GROWTH = 1.5
"""By how much each of those lengthens it."""

REDIAL_AFTER = 30.0
"""Seconds after which the same address may be dialled again, but for a few quick tries after it has failed."""

ATTEMPT_TIMEOUT = 60.0
"""Seconds for an attempt, its handshake included."""

FRUITLESS = 10
"""Attempts in a row after which an operator should know."""

OURS = frozenset(
    {
        # no way there: no IPv6 here, no network, a router of ours that is not there
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        # our own firewall
        errno.EACCES,
        errno.EPERM,
        # nothing left to connect with
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
    }
)
"""Errors of a socket that say nothing of the remote."""

EndpointFor = Callable[[str, int], IStreamClientEndpoint]
"""Makes the endpoint for an IP and a port."""


class HasPeers(Protocol):
    """What a :class:`~txsoter.service.PeerService` is to this."""

    @property
    def peers(self) -> Iterable[SoterPeerProtocol]:
        """Those that live, ready or not, whoever dialled."""
        ...

    @property
    def client_factory(self) -> IProtocolFactory:
        """Makes those that we dial."""
        ...


def endpoints_like(reactor: Any, template: str = "tcp:{host}:{port}:timeout=10") -> EndpointFor:
    """Endpoints from a description with ``{host}`` and ``{port}`` in it, such as ``tor:{host}:{port}``.

    :raises FieldError: for one that is no description of an endpoint.
    """

    def endpoint_for(host: str, port: int) -> IStreamClientEndpoint:
        # an IPv6 address is full of what separates arguments
        text = template.replace("{host}", quoteStringArgument(host)).replace("{port}", str(port))
        return cast(IStreamClientEndpoint, clientFromString(reactor, text))

    limit = "an endpoint with {host} and {port} in it, such as tcp:{host}:{port}"
    if "{host}" not in template or "{port}" not in template:
        raise FieldError("template", template, limit)
    try:
        endpoint_for("192.0.2.1", 1)
    except Exception as error:
        raise FieldError("template", template, f"{limit}: {error}") from None
    return endpoint_for


def endpoint_place(description: str) -> Place | None:
    """The place that a ``tcp:`` endpoint goes to; None for what is none, or goes to a name."""
    found = re.fullmatch(r"tcp:(?:host=)?((?:[^:\\]|\\.)+):(?:port=)?([0-9]+)(?::.*)?", description)
    try:
        return None if found is None else place_at(re.sub(r"\\(.)", r"\1", found[1]), int(found[2]))
    except FieldError:
        return None


class OutboundService(Service):
    """Keeps a number of peers, while it runs.

    It dials a few at a time, slower and slower while nobody answers; never two in one address group (those that are
    not of the internet are in none), never one that there is a connection with already, whoever dialled, and no
    address again within 30 s, but for a few quick tries after a first failure. Peers that it keeps are dialled once:
    when they go, another is picked.

    :param peers: whose connections they become.
    :param keeper: notes how it goes in its address book, from which they are picked. It must observe ``peers``.
    :param count: how many.
    :param endpoint_for: makes the endpoint for an IP and a port; see :func:`endpoints_like`.
    :param at_once: attempts at a time.
    :param reserved: places that somebody else keeps a connection to, whether or not there is one now.
    :param may_dial: says of an IP why it should not be dialled, or None when it may be.
    :param random: for jitter.
    :ivar ready: the peers that it keeps, and where they are.
    :ivar attempts: the places that it is dialling.
    """

    log = Logger()

    def __init__(
        self,
        peers: HasPeers,
        keeper: BookKeeper,
        count: int,
        endpoint_for: EndpointFor,
        at_once: int = 3,
        reserved: Iterable[Place] = (),
        may_dial: Callable[[str], str | None] | None = None,
        random: Random | None = None,
    ) -> None:
        self.count = count
        self.ready: dict[SoterPeerProtocol, Place] = {}
        self.attempts: dict[Place, Deferred[None]] = {}
        self._peers = peers
        self._keeper = keeper
        self._book = keeper.book
        self._clock = keeper.book.clock
        self._endpoint_for = endpoint_for
        self._at_once = at_once
        self._reserved = tuple(reserved)
        self._may_dial = may_dial
        self._random = SystemRandom() if random is None else random
        self._next: IDelayedCall | None = None
        # attempts in a row that have brought nothing, those for which there was nobody included
        self._fruitless = 0
        self._retries = QuickRetries(monotonic(self._clock))

    # -- its life ------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to dial."""
        Service.startService(self)
        self._fruitless = 0
        self._plan()

    def stopService(self) -> Deferred[None]:
        """Dial no more, and give up what is being dialled. Peers that are ready stay: they are their service's."""
        Service.stopService(self)
        if self._next is not None:
            self._next.cancel()
            self._next = None
        attempts = list(self.attempts.values())
        over = gatherResults([_when_over(attempt) for attempt in attempts])
        for attempt in attempts:
            attempt.cancel()
        return over.addCallback(lambda _: None)

    # -- pacing --------------------------------------------------------------------------------

    def _plan(self) -> None:
        """See to it that the next attempt is made, if there is to be one."""
        room = self.count - len(self.ready) - len(self.attempts)
        if self.running and self._next is None and room > 0 and len(self.attempts) < self._at_once:
            wait = min(LAST_WAIT, FIRST_WAIT * GROWTH ** min(self._fruitless, 50))
            self._next = self._clock.callLater(wait * self._random.uniform(0.5, 1.5), self._turn)

    def _turn(self) -> None:
        self._next = None
        known = self._book.pick(self._skip())
        if known is not None:
            self._dial(known.place)
        elif self._retries.is_waiting:
            # somebody to dial in a moment
            pass
        elif not self.attempts:
            self._note_fruitless("the address book has nobody else to dial")
        else:
            self._fruitless += 1
        self._plan()

    def _note_fruitless(self, why: str) -> None:
        self._fruitless += 1
        if self._fruitless == FRUITLESS:
            self.log.warn(
                "{ready} of {count} peers found, and no more for now: {why}",
                ready=len(self.ready),
                count=self.count,
                why=why,
            )

    def _skip(self) -> Skip:
        """What is not to be dialled now."""
        places, hosts, groups = set(self.attempts), set(), set()
        ours = [*self.attempts, *self._reserved]
        for peer in self._peers.peers:
            place = self._keeper.place_of(peer)
            if place is None:
                continue
            if not peer.inbound:
                ours.append(place)
            elif is_routable(place.ip):
                hosts.add(place.ip)
        for place in ours:
            places.add(place)
            if is_routable(place.ip):
                hosts.add(place.ip)
                groups.add(group_of(place))
        now = self._book.now()

        def skip(known: Known) -> bool:
            place = known.place
            if place in places or place.ip in hosts or known.group in groups:
                return True
            if now - known.attempted < REDIAL_AFTER and not self._retries.may_dial(place):
                return True
            return self._may_dial is not None and self._may_dial(place.host) is not None

        return skip

    # -- an attempt ----------------------------------------------------------------------------

    def _dial(self, place: Place) -> None:
        self._book.attempted(place)
        attempt = Deferred.fromCoroutine(self._attempt(place))
        attempt.addTimeout(ATTEMPT_TIMEOUT, self._clock)
        self.attempts[place] = attempt
        attempt.addBoth(self._over, place)

    async def _attempt(self, place: Place) -> None:
        peer = cast(
            SoterPeerProtocol,
            await self._endpoint_for(place.host, place.port).connect(self._peers.client_factory),
        )
        self._keeper.dialled(peer, place)
        try:
            await peer.when_ready()
        except BaseException:
            # it took too long, or the service stops
            peer.disconnect("the attempt is given up")
            raise
        if self._is_double(peer, place):
            peer.disconnect("there is a connection with that address already")
            return
        self.ready[peer] = place
        peer.when_closed().addCallback(lambda _: self._gone(peer))

    def _is_double(self, peer: SoterPeerProtocol, place: Place) -> bool:
        if not is_routable(place.ip):
            return False
        ready = (each for each in self._peers.peers if each is not peer and each.state is State.READY)
        others = (self._keeper.place_of(each) for each in ready)
        return any(other is not None and other.ip == place.ip for other in others)

    def _over(self, result: Failure | None, place: Place) -> None:
        del self.attempts[place]
        if not self.running:
            return
        if isinstance(result, Failure):
            if not _is_our_doing(result.value):
                self._book.failed(place)
                self._retries.failed(place)
            error = sanitize(result.getErrorMessage())
            self.log.debug("no peer at {place}: {error}", place=str(place), error=error)
            self._note_fruitless(f"the last was {place}: {error}")
        else:
            self._fruitless = 0
            self._retries.worked(place)
        self._plan()

    def _gone(self, peer: SoterPeerProtocol) -> None:
        del self.ready[peer]
        self._plan()


def _is_our_doing(error: BaseException | None) -> bool:
    """Whether an attempt failed for a reason that says nothing of the remote."""
    if isinstance(error, ConnectionClosed):
        return error.reason.cause in (CloseCause.DISCONNECT, CloseCause.LOCAL_FAILURE, CloseCause.OVER_BUDGET)
    if isinstance(error, NoRouteError):
        return True
    number = error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
    return number in OURS


def _when_over(attempt: Deferred[None]) -> Deferred[None]:
    over: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        over.callback(None)
        return result

    attempt.addBoth(tell)
    return over
