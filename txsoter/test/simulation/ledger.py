"""What is written down while a simulation runs: what each peer was told to do, and what became of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IDelayedCall, ITransport
from twisted.python.failure import Failure

from txsoter import SoterPeerProtocol
from txsoter import errors as soter
from txsoter.core.state import State
from txsoter.errors import SendQueueFull
from txsoter.test.simulation.outcomes import Failed
from txsoter.testing import SimulatedClock
from txsoter.wire import Encoding, Inv, InventoryVector, Message, Version, write_message
from txsoter.wire.framing import HEADER_SIZE, frame
from txsoter.wire.message import command_bytes

__all__ = ["ANNOUNCED", "KNOWN", "QUEUED", "Ledger", "Sent", "Side", "WatchedPeer", "key_of"]

T = TypeVar("T")

QUEUED, KNOWN, ANNOUNCED = "queued", "known", "announced"

EXPECTED_FAILURES = (
    soter.ConnectionClosed,
    soter.RequestFailed,
    soter.SendQueueFull,
    soter.UnsupportedMessage,
    CancelledError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionDone,
)
"""With what a Deferred may fail in a simulation: all of them are somebody's fault but the code's."""

UNDECIDED = (State.CONNECTING, State.NEGOTIATING, State.VERSION_KNOWN)
"""The states in which no protocol version is negotiated yet."""

VERSION = b"version\0\0\0\0\0"


def key_of(message: Message, magic: int) -> bytes:
    """What tells a message from others: its header, which has the payload's length and checksum."""
    if isinstance(message, Version):
        # each negotiation encodes it in its own way
        return VERSION
    return write_message(message, magic)[:HEADER_SIZE]


def _frame_key(header: bytes) -> bytes:
    return VERSION if header[4:16] == VERSION else header


class Sent:
    """A message that a peer was told to send.

    :ivar refused: whether it was refused at once, or when it turned out that the remote does not know such messages.
    :ivar confirmed: whether its Deferred said that it is with the transport.
    :ivar owed: whether its Deferred has yet to fire, and is looked at.
    """

    __slots__ = ("confirmed", "key", "owed", "refused")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.refused = self.confirmed = self.owed = False

    def fired(self, result: T) -> T:
        """Its Deferred has fired."""
        self.owed = False
        if not isinstance(result, (Failure, Failed)):
            self.confirmed = True
        elif result.check(SendQueueFull, soter.UnsupportedMessage) is not None:
            self.refused = True
        return result


class Side:
    """One peer's account, from its being made to its end and beyond.

    :ivar sent: what the application has sent, in the order of its calls.
    :ivar frames: where in what it wrote each of its frames ends, and the frame's key.
    :ivar wrote: what ``on_write`` was told of, or None where it is not hooked in.
    :ivar read: what ``on_read`` was told of, or None where it is not hooked in.
    :ivar heard: what the listeners were called with.
    :ivar busy: how many handlers run.
    :ivar free_since: the time at which it last heard something, or ended a handler.
    :ivar inventory: what was queued, learned to be known and announced, in order: kind, vector, whether
        it was forced, or surely took effect before all that follows, and when.
    :ivar largest: bytes of the largest frame that it has begun to write.
    """

    def __init__(self, ledger: Ledger, number: int, peer: Any, name: str) -> None:
        self.ledger = ledger
        self.number = number
        self.name = name
        self.config = peer.config
        # a SoterPeerProtocol, or a core with the same verbs; and a transport, or the core itself
        self.peer: Any = peer
        self.end: Any = None
        # hangs up before it is connected
        self.hasty = False
        self.ready = False
        # how often when_ready() has yet to fire
        self.owes_ready = 0
        self.sent: list[Sent] = []
        self.keys: set[bytes] = set()
        self.frames: list[tuple[int, bytes]] = []
        self.wrote: list[tuple[int, str]] | None = None
        self.read: list[bytes] | None = None
        self.heard: list[bytes] = []
        self.busy = 0
        self.free_since = 0.0
        self.turned_away: Callable[[Any], object] | None = None
        # what a class of its own does with a message
        self.hooked: Callable[[Any, Message], Any] | None = None
        self.inventory: list[tuple[str, InventoryVector, bool, float]] = []
        self.queued: set[InventoryVector] = set()
        self.largest = 0
        # once it is negotiated
        self.pver: int | None = None
        self._magic = peer.config.network.magic
        self._keyed: tuple[Message | None, bytes] = (None, b"")
        self._unread = b""
        self._written = 0

    def __str__(self) -> str:
        return f"peer {self.number} ({self.name})"

    def key(self, message: Message) -> bytes:
        """What tells ``message`` from others."""
        if message is not self._keyed[0]:
            # on_read and the listener are told of the same one
            self._keyed = message, key_of(message, self._magic)
        return self._keyed[1]

    def keep_key(self, message: Message, payload: bytes) -> None:
        """Note what tells a message from others that came with this payload: it need not be encoded again."""
        if message is not self._keyed[0] and not isinstance(message, Version):
            self._keyed = message, frame(self._magic, command_bytes(message.command), payload)[:HEADER_SIZE]

    def tap(self, data: bytes) -> None:
        """The peer has written bytes: find the frames in them."""
        self._unread = data = self._unread + data
        start = 0
        while len(data) - start >= HEADER_SIZE:
            end = start + HEADER_SIZE + int.from_bytes(data[start + 16 : start + 20], "little")
            self.largest = max(self.largest, end - start)
            if end > len(data):
                break
            header = data[start : start + HEADER_SIZE]
            self.frames.append((self._written + end, _frame_key(header)))
            if header[4:8] == b"inv\0" and header not in self.keys:
                inv, _ = Inv.from_payload(data[start + HEADER_SIZE : end], 70013, Encoding.BASE)
                for vector in inv.vectors:
                    self.note(ANNOUNCED, vector, False)
            start = end
        self._unread = data[start:]
        self._written += start

    def fulfil(self, result: T) -> T:
        """A Deferred of when_ready() has fired."""
        self.owes_ready -= 1
        return result

    def rest(self) -> None:
        """A handler is done."""
        self.busy -= 1
        self.free_since = self.ledger.now()

    def note(self, kind: str, vector: InventoryVector, flag: bool) -> None:
        """Something has become of a vector."""
        if kind == QUEUED:
            self.queued.add(vector)
        self.inventory.append((kind, vector, flag, self.ledger.now()))

    def delivered_to(self, receiver: Side) -> list[bytes]:
        """The keys of the frames that the link has given to ``receiver`` as a whole."""
        assert self.end is not None
        return [key for end, key in self.frames if end <= self.end.delivered]

    @property
    def other(self) -> Side | None:
        """The peer at the other end; None as long as there is none."""
        return None if self.end is None else self.ledger.at_end.get(end_key(self.end.other))


def end_key(end: Any) -> tuple[int, bool]:
    """What tells an end of a link from all others."""
    return end.link.number, end is end.link.client


class Watched:
    """A peer whose application's calls are written down. The verbs themselves are those of the base class behind it."""

    side: Side

    def begins_at(self, end: Any) -> None:
        """It is about to be connected; one that is hasty hangs up before."""
        side, peer = self.side, cast(Any, self)
        if side.hasty:
            side.ledger.forget(peer.disconnect("before it began"), f"disconnect() of {side}, not connected")
        side.end = end
        side.ledger.at_end[end_key(end)] = side

    def send(self, message: Message, encoding: Encoding = Encoding.BASE) -> Deferred[None]:
        verbs: Any = super()
        sent = self._note_sent(message)
        sent.owed = True
        done: Deferred[None] = verbs.send(message, encoding)
        return done.addBoth(sent.fired)

    def send_and_forget(self, message: Message) -> None:
        """Send something, as most programs do: without a look at the Deferred."""
        verbs: Any = super()
        self._note_sent(message)
        verbs.send(message)

    def send_and_look_later(self, message: Message) -> None:
        """Send something; its Deferred gets no callback before the end of the simulation."""
        verbs: Any = super()
        sent = self._note_sent(message)
        self.side.ledger.leave_alone(verbs.send(message), f"send() of {self.side}", sent)

    def request(self, message: Message, *args: Any, **kwargs: Any) -> Deferred[Any]:
        verbs: Any = super()
        sent = self._note_sent(message)
        answer: Deferred[Any] = verbs.request(message, *args, **kwargs)
        return answer.addErrback(sent.fired)

    @property
    def pver(self) -> int:
        """The protocol version in which messages are written now."""
        side, peer = self.side, cast(Any, self)
        if side.pver is None and peer.state not in UNDECIDED:
            side.pver = peer.stats().negotiated_version
        return side.config.protocol_version if side.pver is None else side.pver

    def key_to_send(self, message: Message) -> bytes:
        """What tells a message that is about to be sent from others."""
        return self.side.key(message)

    def _note_sent(self, message: Message) -> Sent:
        # before it is sent: what is told of that may send more
        sent = Sent(self.key_to_send(message))
        self.side.sent.append(sent)
        self.side.keys.add(sent.key)
        return sent

    def queue_inventory(self, vector: InventoryVector, force: bool = False) -> None:
        verbs: Any = super()
        # a block may be announced before this returns
        if verbs.state is not State.CONNECTING and not verbs.is_closing:
            self.side.note(QUEUED, vector, force)
        verbs.queue_inventory(vector, force)

    def add_known_inventory(self, vector: InventoryVector) -> None:
        verbs: Any = super()
        verbs.add_known_inventory(vector)
        # behind what waits in the queue there may be an announcement that was right when it was made
        sure = vector not in self.side.queued or not cast(Any, self).unsent()[0]
        self.side.note(KNOWN, vector, sure)


class WatchedPeer(Watched, SoterPeerProtocol):
    """A protocol whose application's calls are written down."""

    def makeConnection(self, transport: ITransport) -> None:
        self.begins_at(transport)
        super().makeConnection(transport)
        if self.state is State.CLOSED and self.side.turned_away is not None:
            # its factory has refused it, of which nobody is told
            self.side.turned_away(self)

    def abort(self) -> None:
        """Close the transport at once."""
        self.transport.abortConnection()

    def unsent(self) -> tuple[int, int]:
        """The messages that wait to be sent, and their bytes."""
        stats = self.stats()
        return stats.queue_length, stats.queue_bytes


class HookedPeer(WatchedPeer):
    """One whose class, too, handles what it receives."""

    def message_received(self, message: Message) -> Any:
        return None if self.side.hooked is None else self.side.hooked(self, message)


class Ledger:
    """All that is written down in one simulation.

    :ivar sides: of all peers ever made.
    :ivar at_end: the side at each end of each link.
    :ivar pending: Deferreds that were handed out and have not fired, and what they are.
    :ivar wrong: what should not have happened.
    :ivar handed_out: how many Deferreds there were.
    """

    def __init__(self, clock: SimulatedClock) -> None:
        self.sides: list[Side] = []
        self.at_end: dict[tuple[int, bool], Side] = {}
        self.pending: dict[int, str] = {}
        self.unwatched: list[tuple[Deferred[Any], str, Sent]] = []
        self.wrong: list[str] = []
        self.handed_out = 0
        self.peers: list[weakref.ref[Any]] = []
        self.now = clock.seconds
        self.wall = clock.wall_seconds
        self._clock = clock
        self._own_calls: list[IDelayedCall] = []
        self._numbers = count(1)

    def complain(self, what: str) -> None:
        """Something should not have happened."""
        if len(self.wrong) < 10:
            self.wrong.append(f"at {self.now():.3f} s {what}")

    def new_side(self, peer: Watched, name: str) -> Side:
        """A peer has been made."""
        side = peer.side = Side(self, next(self._numbers), peer, name)
        self.sides.append(side)
        self.peers.append(weakref.ref(peer))
        return side

    def call_later(self, seconds: float, action: Callable[..., object], *args: object) -> None:
        """Set a timer of the application's own."""
        self._own_calls = [call for call in self._own_calls if call.active()]
        self._own_calls.append(self._clock.callLater(seconds, action, *args))

    def timers(self) -> list[IDelayedCall]:
        """The timers that are not the application's own."""
        return [call for call in self._clock.getDelayedCalls() if call not in self._own_calls]

    def tap(self, end: Any, data: bytes) -> None:
        """A peer has written bytes."""
        side = self.at_end.get(end_key(end))
        if side is not None:
            side.tap(data)

    def watch(self, deferred: Deferred[T], what: str) -> Deferred[T]:
        """Note when a Deferred that was handed out fires, and with what."""
        self.handed_out += 1
        number = self.handed_out
        self.pending[number] = what

        def fired(result: Any) -> Any:
            del self.pending[number]
            if isinstance(result, (Failure, Failed)) and result.check(*EXPECTED_FAILURES) is None:
                self.complain(f"{what} failed with {result.value!r}")
            return result

        return deferred.addBoth(fired)

    def forget(self, deferred: Deferred[Any], what: str) -> None:
        """As :meth:`watch`, for one whose result nobody wants."""
        self.watch(deferred, what).addErrback(lambda _: None)

    def leave_alone(self, deferred: Deferred[Any], what: str, sent: Sent) -> None:
        """For one that gets no callback at all: at the end it must have fired."""
        self.handed_out += 1
        self.unwatched.append((deferred, what, sent))

    def unfired(self) -> list[str]:
        """What has not fired."""
        return [*self.pending.values(), *(what for deferred, what, _ in self.unwatched if not deferred.called)]

    def look(self) -> None:
        """Look at what nobody has looked at."""
        for deferred, _, sent in self.unwatched:
            deferred.addBoth(sent.fired).addErrback(lambda _: None)
        self.unwatched.clear()

    def release(self) -> None:
        """Let go of all that lives."""
        for side in self.sides:
            side.peer = side.end = side.hooked = side.turned_away = None
