"""Connections of the core in a simulated network, driven directly: without transports, Deferreds and reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from txsoter.core.connection import Connection
from txsoter.core.driver import Driver
from txsoter.core.events import Event
from txsoter.core.listeners import table_of
from txsoter.core.reporting import Reporter
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.core.stats import PeerStats, snapshot
from txsoter.errors import CloseCause, ClosedBy, CloseReason, MalformedMessage
from txsoter.peer.config import PeerConfig
from txsoter.testing import interfaces
from txsoter.testing.byte_queue import ByteQueue
from txsoter.testing.interfaces import Attempt, End, Link
from txsoter.testing.pipes import Packet, Pipe, cancel
from txsoter.wire import Encoding, InventoryVector, Message

__all__ = ["CoreNode", "CorePeer"]

BUFFER = 64 * 1024
"""Bytes beside those on their way past which an end wants no more, as Twisted's TCP."""

CoreMaker = Callable[["CoreNode", bool], "CorePeer"]
"""Given a node and whether the remote dials: CorePeer, or a subclass."""

Told = Callable[[Any, "Exception | None"], object]
"""Called with an answer, or None for what was sent; or with None and the error."""


class Network(interfaces.Network, Protocol):
    """A network, as a node sees it."""

    def connect(self, client: End, server: End, knock: Callable[[], object]) -> None:
        """Make a link between two ends."""
        ...


class CoreNode:
    """A host of a :class:`~txsoter.testing.SimulatedNetwork` whose connections are cores.

    :ivar host: its IP, as text.
    :ivar config: of its connections. Listeners are plain functions, called with the :class:`CorePeer`.
    :ivar is_listening: others may connect.
    :ivar peers: its connections that live, in the order in which they were made.
    :ivar failures: what listeners have raised.
    :param make: makes its connections.
    """

    def __init__(self, network: Network, host: str, config: PeerConfig, make: CoreMaker) -> None:
        self.network = network
        self.host = host
        self.config = config
        self.table = table_of(config.listeners)
        self.is_listening = True
        self.peers: dict[CorePeer, None] = {}
        self.failures: list[BaseException] = []
        self.make = make

    def __repr__(self) -> str:
        return f"<node {self.host}>"

    def connect(self, to: CoreNode, timeout: float = 30.0) -> CorePeer:
        """Dial another node, which may be this one.

        :param timeout: seconds until that is given up.
        :return: our end, which connects as time goes on.
        """
        client, server = self.make(self, False), to.make(to, True)
        self.network.connect(client, server, server.knocked)
        client.knock(timeout)
        return client


class CorePeer:
    """A core connection, and the adapter that drives it over one end of a :class:`SimulatedLink`.

    :ivar node: whose connection it is.
    :ivar link: from before it is connected.
    :ivar connected: there is a connection.
    """

    __slots__ = (
        "_buffer",
        "_pipe",
        "_timer",
        "_turn",
        "attempt",
        "connected",
        "connection",
        "disconnecting",
        "driver",
        "held_until",
        "link",
        "node",
        "now",
        "reading",
        "reporter",
    )

    link: Link
    _pipe: Pipe

    def __init__(self, node: CoreNode, inbound: bool) -> None:
        self.node = node
        self.now: Callable[[], float] = node.network.clock.seconds
        self.connection = Connection(node.config, inbound, node.table, node.config.random)
        self.driver = Driver(self.connection, self, self)
        self.reporter = Reporter(self.connection, node.config, self, self)
        self.attempt: Attempt | None = None
        self.connected = self.disconnecting = False
        self.reading = True
        self.held_until = 0.0
        # what the link has no room for
        self._buffer = ByteQueue()
        self._timer: IDelayedCall | None = None
        self._turn: IDelayedCall | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reporter}, {self.state.value}>"

    # -- for programs --------------------------------------------------------------------------

    @property
    def config(self) -> PeerConfig:
        """Its node's."""
        return self.node.config

    @property
    def state(self) -> State:
        """Progress of the connection."""
        return self.connection.channel.state

    @property
    def is_closing(self) -> bool:
        """Whether the connection has ended, or is ending."""
        return self.connection.channel.state.is_closing

    @property
    def close_reason(self) -> CloseReason | None:
        """Who ended the connection, and why; None until its end has begun."""
        return self.connection.channel.reason

    @property
    def waiting(self) -> int:
        """Bytes that the link has not taken yet."""
        return len(self._buffer)

    @property
    def delivered(self) -> int:
        """Bytes of this end that the other end's core has been given."""
        return self._pipe.delivered

    @property
    def other(self) -> CorePeer:
        """The other end."""
        other: CorePeer = self.link.server if self is self.link.client else self.link.client
        return other

    def stats(self) -> PeerStats:
        """Return a snapshot of the connection."""
        wall = self.node.network.clock.wall_seconds()
        return snapshot(self.connection, id=0, address=self.address_text(), now=self.now(), wall=wall)

    def send(self, message: Message, encoding: Encoding = Encoding.BASE, told: Told | None = None) -> None:
        """Send a message.

        :param told: called once the link has it and would take more, or with the error.
        :raises txsoter.errors.LocalError: if the message cannot be encoded.
        """
        self.driver.send(message, encoding, told)

    def request(
        self,
        message: Message,
        expected: type[Message],
        told: Told,
        timeout: float | None = 30.0,
        matching: Callable[[Any], object] | None = None,
    ) -> None:
        """Ask something.

        :param told: called with the answer or the error.
        :raises txsoter.errors.LocalError: as by :meth:`txsoter.core.connection.Connection.request`.
        """
        try:
            self.connection.request(message, expected, timeout, matching, told, self.now())
        finally:
            self.driver.run()

    def give_up(self, told: Told) -> None:
        """Forget the request that was to be told there."""
        self.connection.give_up(told)
        self.driver.run()

    def queue_inventory(self, vector: InventoryVector, force: bool = False) -> None:
        """Announce something, unless the remote is known to have it and ``force`` is not set."""
        self.connection.queue_inventory(vector, force, self.now())
        self.driver.run()

    def add_known_inventory(self, vector: InventoryVector) -> None:
        """Note that the remote has something."""
        self.connection.add_known_inventory(vector)

    def close(self, detail: str = "") -> None:
        """End the connection; what the link does not take at once is not sent."""
        self.driver.close(CloseCause.DISCONNECT, detail)

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        self._close_later(0.0, Packet.RESET, ClosedBy.LOCAL, CloseCause.DISCONNECT)

    # -- what the driver calls -----------------------------------------------------------------

    @property
    def transport(self) -> CorePeer:
        """Itself."""
        return self

    def write(self, data: bytes) -> None:
        """Send bytes on their way, as far as the link has room."""
        if not self.connected:
            return
        tap = self.node.network.tap
        if tap is not None:
            tap(self, data)
        if not len(self._buffer) and self._pipe.size + len(data) <= self.link.window:
            self._pipe.send(data)
            return
        self._buffer.add(data)
        self._fill()
        if len(self._buffer) > BUFFER:
            self.driver.pause_writing()

    def set_reading(self, wanted: bool) -> None:
        """Take bytes, or leave them on the link."""
        self.reading = wanted
        if wanted:
            self.other.expect()

    def hang_up(self) -> None:
        """Close once the link has taken everything; nothing more is read."""
        self.reading = False
        self.disconnecting = True
        if not len(self._buffer):
            self._close_later(0.0, Packet.END, ClosedBy.LOCAL, CloseCause.DISCONNECT)

    def set_timers(self) -> None:
        """Set the timer. If it is set for an earlier time, it is set again then."""
        due = self.connection.next_timeout()
        if due is None or self.state is State.CLOSED:
            return
        left = max(0.0, due - self.now())
        if self._timer is None:
            self._timer = self.node.network.clock.callLater(left, self._expired)
        elif self._timer.getTime() > due:
            self._timer.reset(left)

    def _expired(self) -> None:
        self._timer = None
        self.driver.timeout()

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        """Wait for nothing: a subclass may know something to wait for."""
        return False

    def handler_waits(self, result: Any) -> None:
        """Nothing: see :meth:`Adapter.handler_waits`."""

    def handler_failed(self, error: BaseException, command: str) -> None:
        """Note that a listener has failed."""
        self.reporter.handler_failed(error, command)

    def written(self, batch: list[Entry]) -> None:
        """Report messages that were written."""
        self.reporter.written(batch)

    def sent(self, token: Told) -> None:
        """Tell the caller of :meth:`send`."""
        token(None, None)

    def handle_event(self, event: Event) -> None:
        """Report an event."""
        self.reporter.handle(event)

    # -- what the reporter calls ---------------------------------------------------------------

    def log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        """Keep what listeners have raised; there is no log."""
        if error is not None:
            self.node.failures.append(error)

    def address_text(self) -> str:
        """Return the other node's host."""
        return self.other.host

    def send_failed(self, token: Told, error: Exception) -> None:
        """Tell the caller of :meth:`send`."""
        token(None, error)

    def request_ended(self, token: Told, answer: Message | None, error: Exception | None) -> None:
        """Tell the caller of :meth:`request`."""
        token(answer, error)

    def ready(self) -> None:
        """Do nothing; for subclasses."""

    def malformed(self, error: MalformedMessage) -> None:
        """Do nothing; for subclasses."""

    def ended(self, reason: CloseReason) -> None:
        """Leave the node's peers, and give up dialling."""
        self.node.peers.pop(self, None)
        self._decided()

    def closed(self, reason: CloseReason) -> None:
        """Do nothing; for subclasses."""

    # -- what the link calls -------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The IP of its node, as text."""
        return self.node.host

    def attach(self, link: Link, pipe: Pipe) -> None:
        """Take a link, and the pipe to its other end."""
        self.link = link
        self._pipe = pipe

    def knock(self, timeout: float) -> None:
        """Dial.

        :param timeout: seconds until that is given up.
        """
        self.attempt = self
        self.node.peers[self] = None
        self._turn = self.node.network.clock.callLater(timeout, self.fail, TimeoutError("nobody answers"))
        self._pipe.put(Packet.KNOCK)

    def knocked(self) -> None:
        """Let the other end in, unless the node does not listen."""
        if self.node.is_listening and not self.is_closing:
            self.node.peers[self] = None
            self._pipe.put(Packet.ACCEPTED)
            self._begin()
        else:
            self._pipe.put(Packet.RESET)

    def accepted(self) -> None:
        """Begin: the other end is open."""
        if self.is_closing:
            # a subclass has just given up; with the other end closed as well, the link is gone
            if self.other.connected:
                self._pipe.put(Packet.RESET)
            return
        self.connected = True
        self._decided()
        self._begin()

    def refused(self) -> None:
        """Fail: nobody listens there."""
        self.fail(ConnectionRefusedError("nobody listens"))

    def fail(self, error: Exception) -> None:
        """Fail: there will be no connection."""
        self.driver.connection_lost(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, str(error))

    def _decided(self) -> None:
        if self.attempt is not None:
            cancel(self._turn)
            self._turn = self.attempt = None
            self.link.closed()

    def _begin(self) -> None:
        self.connected = True
        self.driver.connection_made(self.node.network.clock.wall_seconds(), self.other.host, 0)

    def expect(self) -> None:
        """Look anew at what is on its way: the other end reads on, or is closed."""
        self._pipe.expect()

    def receive(self, data: bytes) -> None:
        """Give bytes to the core."""
        self.driver.data_received(data)

    def has_room(self) -> None:
        """Bytes of this end were read: the other end says so."""
        if len(self._buffer) and self._turn is None:
            self._turn = self.node.network.clock.callLater(self.link.delay(), self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        self._fill()
        if len(self._buffer):
            return
        if self.disconnecting:
            self._lose(Packet.END, ClosedBy.LOCAL, CloseCause.DISCONNECT)
        elif self.connection.channel.queue.paused:
            self.driver.resume_writing()

    def _fill(self) -> None:
        """Give the link what it has room for."""
        room = self.link.window - self._pipe.size
        if room > 0:
            self._pipe.send(self._buffer.take(room))

    def other_ended(self) -> None:
        """The other end writes no more."""
        self._lose(Packet.END, ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)

    def was_reset(self) -> None:
        """There is no connection."""
        self._lose(None, ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)

    def hold(self, seconds: float) -> None:
        """Read nothing for so long: the program at this end is busy elsewhere."""
        self.held_until = max(self.held_until, self.now() + seconds)

    def breaks(self, delay: float) -> None:
        """Lose the connection in so many seconds; nothing more is read."""
        self._close_later(delay, None, ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)

    def finish(self) -> None:
        """End the connection in good order."""
        self.close("the simulation is over")

    def _close_later(self, delay: float, *how: Any) -> None:
        if self.connected:
            self.reading = False
            self.disconnecting = True
            cancel(self._turn)
            self._turn = self.node.network.clock.callLater(delay, self._lose, *how)

    def _lose(self, farewell: Packet | None, by: ClosedBy, cause: CloseCause) -> None:
        """The connection is lost at this end."""
        if farewell is Packet.END and self.other.has_unread:
            # as of a socket that is closed while it has bytes to be read
            farewell = Packet.RESET
        self.connected = False
        for call in (self._turn, self._timer):
            cancel(call)
        self._turn = self._timer = None
        self._buffer = ByteQueue()
        if farewell is not None:
            self._pipe.put(farewell)
        self.link.closed()
        # what waited to be read now meets a closed door
        self.other.expect()
        self.driver.connection_lost(by, cause, "")

    @property
    def has_unread(self) -> bool:
        """Whether bytes of this end have arrived at the other that were not read."""
        return self._pipe.has_unread
