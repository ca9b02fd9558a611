"""``DnsService``: a DNS seeder over UDP and TCP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from txsoter.clock import monotonic
from txsoter.crawl.dns_limits import Limits, Verdict
from txsoter.crawl.dns_zone import MAX_QUESTION, Zone, truncated
from txsoter.crawl.network_map import host_port
from txsoter.peer.addressing import host_and_port

__all__ = ["MAX_CONNECTIONS", "MAX_QUESTIONS", "TCP_SECONDS", "DnsService"]

MAX_CONNECTIONS = 64
"""TCP connections at a time."""

MAX_QUESTIONS = 16
"""Questions over one TCP connection."""

TCP_SECONDS = 5.0
"""Seconds for all of a TCP connection."""


class DnsService(Service):
    """Serves a zone at one port by UDP and TCP while it runs.

    :param host: IP address to listen on.
    :param port: 0 for any.
    :param reactor: by default the one that is installed.
    :ivar answered: whole answers that were sent.
    :ivar limited: questions that were dropped or answered with "ask by TCP", because there were too many.
    """

    log = Logger()

    def __init__(self, zone: Zone, host: str, port: int, reactor: Any = None) -> None:
        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        self.zone = zone
        self.answered = 0
        self.limited = 0
        self.now: Callable[[], float] = monotonic(reactor)
        self.call_later = reactor.callLater
        self._reactor = reactor
        self._host, self._port = host, port
        self._limits = Limits()
        # IListeningPort; any, for Twisted has no type for what stopListening() returns
        self._ports: list[Any] = []
        self._factory = _Tcp(self)

    @property
    def address(self) -> str | None:
        """``HOST:PORT`` where it listens; None while it does not."""
        if not self._ports:
            return None
        host, port = host_and_port(self._ports[0].getHost())
        return host_port(str(host), port or 0)

    def privilegedStartService(self) -> None:
        """Open the port, while the process may still have one below 1024.

        :raises twisted.internet.error.CannotListenError: when it cannot be opened.
        """
        if not self._ports:
            tcp = self._reactor.listenTCP(self._port, self._factory, interface=self._host)
            port = tcp.getHost().port
            try:
                udp = self._reactor.listenUDP(port, _Udp(self), self._host, maxPacketSize=MAX_QUESTION + 1)
            except CannotListenError:
                tcp.stopListening()
                raise
            self._ports = [tcp, udp]

    def startService(self) -> None:
        """Open the port if it is not yet.

        :raises twisted.internet.error.CannotListenError: when it cannot be opened.
        """
        Service.startService(self)
        self.privilegedStartService()
        self.log.info("answers for {zone} at {address}", zone=self.zone.name.decode(), address=self.address)

    def stopService(self) -> Deferred[None]:
        """Close the port and all connections; fires once they are closed."""
        Service.stopService(self)
        ports, self._ports = self._ports, []
        closed = [maybeDeferred(port.stopListening) for port in ports]
        return gatherResults([*closed, self._factory.abort_all()]).addCallback(lambda _: None)

    def answer_udp(self, question: bytes, host: str) -> bytes | None:
        """Return the answer to a datagram; None for none."""
        answer = self.zone.answer(question)
        if answer is None:
            return None
        now = self.now()
        verdict = self._limits.check(host, now)
        if verdict is Verdict.ANSWER:
            self.answered += 1
        else:
            self.limited += 1
            if verdict is Verdict.DROP:
                return None
            answer = truncated(question)
        self._limits.sent(len(answer), now)
        return answer

    def answer_tcp(self, question: bytes) -> bytes | None:
        """Return the answer to a question over TCP; None for none."""
        answer = self.zone.answer(question)
        self.answered += answer is not None
        return answer


class _Udp(DatagramProtocol):
    def __init__(self, service: DnsService) -> None:
        self._service = service

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self._service.answer_udp(datagram, addr[0])
        # port 0 is nobody's
        if answer is not None and addr[1]:
            transport: Any = self.transport
            transport.write(answer, addr)


class _Connection(Int16StringReceiver):
    """Questions over TCP, each behind its length in two bytes (RFC 7766)."""

    MAX_LENGTH = MAX_QUESTION
    factory: _Tcp
    transport: Any

    def __init__(self) -> None:
        self.is_aborted = False
        self._left = MAX_QUESTIONS

    def connectionMade(self) -> None:
        self._deadline = self.factory.service.call_later(TCP_SECONDS, self.abort)
        self.factory.connections[self] = None

    def abort(self) -> None:
        """Close now."""
        self.is_aborted = True
        self.transport.abortConnection()

    def stringReceived(self, string: bytes) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        answer = self.factory.service.answer_tcp(string)
        if answer is not None:
            self.transport.write(len(answer).to_bytes(2, "big") + answer)
        if answer is None or not self._left:
            self.transport.loseConnection()

    def lengthLimitExceeded(self, length: int) -> None:
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        self.factory.ended(self)


class _Tcp(Factory):
    """Connections; one more than :data:`MAX_CONNECTIONS` takes the place of the oldest.

    :ivar connections: those that live, the oldest first.
    """

    noisy = False

    def __init__(self, service: DnsService) -> None:
        self.service = service
        self.connections: dict[_Connection, None] = {}
        self._all_ended: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Any:
        live = [each for each in self.connections if not each.is_aborted]
        if len(live) >= MAX_CONNECTIONS:
            live[0].abort()
        connection = _Connection()
        connection.factory = self
        return connection

    def ended(self, connection: _Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection, None)
        if not self.connections:
            waiting, self._all_ended = self._all_ended, []
            for each in waiting:
                each.callback(None)

    def abort_all(self) -> Deferred[None]:
        """Close all connections now; fires once they are closed."""
        if not self.connections:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._all_ended.append(waiting)
        for each in list(self.connections):
            each.abort()
        return waiting
