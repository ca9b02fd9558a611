"""One visit: dial an address, shake hands, ask for addresses once, stay a moment, and leave."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from txsoter.clock import monotonic
from txsoter.core.handshake import SELF_CONNECTIONS
from txsoter.core.sanitize import sanitize
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.errors import CloseCause, ClosedBy, CloseReason
from txsoter.ip import is_v4, parse_ip
from txsoter.peer.addressing import host_and_port
from txsoter.peer.factory import SoterClientFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book.places import Place, place_at
from txsoter.wire import MAX_ADDRESSES, Addr, AddrCache, GetAddr, GetAddrCache, NetAddress, Version

__all__ = ["Visit"]

_LEAVING = "the visit is over"

# nothing to connect with, or no way into the network at all: that says nothing of the remote
_OUR_ERRORS = frozenset(
    {
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
    }
)

_OUTCOMES = {
    CloseCause.REMOTE_CLOSED: Outcome.CLOSED,
    CloseCause.CONNECTION_LOST: Outcome.CLOSED,
    CloseCause.REJECTED: Outcome.REJECTED,
    CloseCause.NEGOTIATION_TIMEOUT: Outcome.SILENT,
    CloseCause.SELF_CONNECTION: Outcome.OURSELVES,
    CloseCause.WRONG_GENESIS: Outcome.WRONG_NETWORK,
    CloseCause.INCOMPATIBLE_AGENT: Outcome.NOT_ACCEPTABLE,
    CloseCause.OBSOLETE_VERSION: Outcome.NOT_ACCEPTABLE,
    CloseCause.OVER_BUDGET: Outcome.NOT_COUNTED,
    CloseCause.LOCAL_FAILURE: Outcome.NOT_COUNTED,
    CloseCause.HANDLER_FAILED: Outcome.NOT_COUNTED,
}
"""Outcomes of connections that ended before the handshake was complete; others broke the protocol."""


class Visit:
    """A visit to one address.

    Its listeners are called by the peer that the factory makes; whatever happens, it is over after
    ``rules.visit_timeout``, and ``done`` fires with its :class:`VisitResult` once the connection is closed.

    :param place: the address.
    :param rules: its times and limits.
    :param clock: a reactor, or a test's clock.
    :param random: chooses among addresses when there are too many.
    :param advanced: called when the handshake is complete, and when the answers have come or are not waited for any
        more; the caller then calls :meth:`ask_after` and :meth:`leave`. By default the visit does both by itself.
    :ivar done: fires with the result; never fails.
    :ivar own_end: our end of the connection, once the node's ``version`` has come; None if it has no IP.
    :ivar is_ready: whether the handshake was completed.
    :ivar has_answers: whether the answers have come, or are not waited for any more.
    :ivar is_over: whether ``done`` has fired.
    """

    def __init__(
        self,
        place: Place,
        rules: CrawlRules,
        clock: IReactorTime,
        random: Random,
        advanced: Callable[[], None] | None = None,
    ) -> None:
        self.place = place
        self.done: Deferred[VisitResult] = Deferred()
        self.is_ready = self.has_answers = self.is_over = False
        self._rules = rules
        self._clock = clock
        self._now = monotonic(clock)
        self._random = random
        self._advanced = advanced
        self._began = self._now()
        self._latency: float | None = None
        self._peer: SoterPeerProtocol | None = None
        self._connecting: Deferred[Any] | None = None
        self._deadline: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._has_asked = self._has_stayed = False
        self._is_late = self._is_given_up = False
        self._version: Version | None = None
        self.own_end: Place | None = None
        self._size = 0
        # dicts, as sets that keep the order
        self._told: dict[Place, None] = {}
        self._outbound: dict[Place, None] | None = None
        self._inbound: dict[Place, None] | None = None

    # -- its course ----------------------------------------------------------------------------

    def begin(self, make_endpoint: Callable[[], IStreamClientEndpoint], factory: SoterClientFactory) -> None:
        """Dial."""
        self._deadline = self._clock.callLater(self._rules.visit_timeout, self._too_late)
        connecting = self._connecting = maybeDeferred(lambda: make_endpoint().connect(factory))
        connecting.addCallbacks(self._connected, self._failed)

    def _connected(self, protocol: Any) -> None:
        self._connecting = None
        peer = self._peer = cast(SoterPeerProtocol, protocol)
        peer.when_closed().addCallback(self._closed)

    def _too_late(self) -> None:
        self._deadline = None
        self._is_late = True
        self._end()

    def give_up(self) -> None:
        """End the visit; it does not count then."""
        self._is_given_up = True
        self._end()

    def _end(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self.leave()

    def leave(self) -> None:
        """End the connection, if there is one."""
        if self._peer is not None:
            self._peer.disconnect(_LEAVING)

    def ask_after(self, wait: float) -> None:
        """Ask for addresses after so many seconds; calls after the first change nothing."""
        if not self._has_asked and not self.is_over:
            self._has_asked = True
            self._timer = self._clock.callLater(wait, self._ask)

    def _ask(self) -> None:
        self._has_asked = True
        peer = self._peer
        assert peer is not None
        # failures say that the connection has ended, which is told by its reason
        peer.send(GetAddr()).addErrback(_ignore)
        # our own IPv6 address would be in its addrcache, of which a soterd dies
        if is_v4(self.place.ip):
            peer.send(GetAddrCache()).addErrback(_ignore)
        self._timer = self._clock.callLater(self._rules.stay, self._stayed)

    def _stayed(self) -> None:
        self._has_stayed = True
        if self.has_answers:
            self._timer = None
            self._enough()
        else:
            left = max(0.0, self._rules.answer_timeout - self._rules.stay)
            self._timer = self._clock.callLater(left, self._answers_missing)

    def _answers_missing(self) -> None:
        self._timer = None
        self.has_answers = True
        self._enough()

    def _enough(self) -> None:
        if self._advanced is None:
            self.leave()
        else:
            self._advanced()

    def _answered(self) -> None:
        self.has_answers = True
        if self._has_stayed:
            self._enough()

    # -- what the peer tells -------------------------------------------------------------------

    def on_version(self, peer: SoterPeerProtocol, version: Version) -> None:
        """Note what the node says of itself."""
        self._version = version
        host, port = host_and_port(peer.transport.getHost())
        # a proxy's connection may have no IP
        if parse_ip(host) is not None and port:
            self.own_end = place_at(host or "", port)

    def on_ready(self, peer: SoterPeerProtocol) -> None:
        """Ask for addresses, or say that it could be done."""
        self._peer = peer
        self._latency = self._now() - self._began
        self.is_ready = True
        if self._advanced is None:
            self._ask()
        else:
            self._advanced()

    def on_addr(self, message: Addr) -> None:
        """Take addresses. One that tells only of itself has not answered yet."""
        self._take(message.addresses)
        is_lone = all(each.ip == self.place.ip for each in message.addresses)
        if not is_v4(self.place.ip) and not is_lone:
            self._answered()

    def on_addrcache(self, message: AddrCache) -> None:
        """Take addresses and claims; when the message is full, another may follow."""
        most = self._rules.max_claims
        self._outbound = _places(message.outbound, self._outbound, most)
        self._inbound = _places(message.inbound, self._inbound, most)
        self._take(message.outbound)
        self._take(message.known)
        if len(message.outbound) + len(message.inbound) + len(message.known) < MAX_ADDRESSES:
            self._answered()

    def on_read(self, size: int) -> None:
        """Leave a node that sends too much."""
        self._size += size
        if self._size > self._rules.max_visit_bytes:
            self.leave()

    def _take(self, addresses: Sequence[NetAddress]) -> None:
        room = self._rules.max_told - len(self._told)
        if len(addresses) > room:
            # any of them: a hostile node chooses which are the first
            addresses = [addresses[each] for each in self._random.sample(range(len(addresses)), max(0, room))]
        _places(addresses, self._told, self._rules.max_told)

    # -- its end -------------------------------------------------------------------------------

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        error = failure.value
        number = error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
        if self._is_given_up:
            outcome = Outcome.NOT_COUNTED
        elif isinstance(error, (CancelledError, ConnectingCancelledError, TimedOut)):
            outcome = Outcome.TIMED_OUT
        elif isinstance(error, Refused):
            outcome = Outcome.REFUSED
        elif number in _OUR_ERRORS:
            outcome = Outcome.NOT_COUNTED
        else:
            outcome = Outcome.UNREACHABLE
        detail = ""
        if self._is_given_up:
            detail = "the crawl was stopped meanwhile"
        elif outcome in (Outcome.NOT_COUNTED, Outcome.UNREACHABLE):
            detail = sanitize(str(error))
        self._over(VisitResult(place=self.place, outcome=outcome, detail=detail))

    def _closed(self, reason: CloseReason) -> None:
        if self._latency is None:
            self._over(VisitResult(place=self.place, outcome=self._outcome(reason), detail=sanitize(str(reason))))
            return
        version = self._version
        assert version is not None
        seen_as = version.addr_you
        self._over(
            VisitResult(
                place=self.place,
                outcome=Outcome.ANSWERED,
                latency=self._latency,
                services=version.services,
                protocol_version=version.protocol_version,
                user_agent=version.user_agent,
                height=version.last_block,
                nonce=version.nonce,
                told=tuple(self._told),
                outbound=None if self._outbound is None else tuple(self._outbound),
                inbound=None if self._inbound is None else tuple(self._inbound),
                own_end=self.own_end,
                seen_as=Place(seen_as.ip, seen_as.port),
            )
        )

    def _outcome(self, reason: CloseReason) -> Outcome:
        if reason.by is not ClosedBy.LOCAL and SELF_CONNECTIONS in reason.detail:
            # its other end, in this process, has refused us
            return Outcome.OURSELVES
        if reason.cause is CloseCause.DISCONNECT:
            return Outcome.SILENT if self._is_late else Outcome.NOT_COUNTED
        return _OUTCOMES.get(reason.cause, Outcome.MALFORMED)

    def _over(self, result: VisitResult) -> None:
        for call in (self._deadline, self._timer):
            if call is not None:
                call.cancel()
        self._deadline = self._timer = None
        self.is_over = True
        self.done.callback(result)


def _places(addresses: Sequence[NetAddress], found: dict[Place, None] | None, most: int) -> dict[Place, None]:
    """Return the places of addresses added to those that were found, at most so many."""
    found = {} if found is None else found
    new = tuple.__new__
    for _, ip, port, _ in addresses:
        if len(found) >= most:
            break
        found[new(Place, (ip, port))] = None
    return found


def _ignore(failure: Failure) -> None:
    """Nothing: the end of the connection is told by its reason."""
