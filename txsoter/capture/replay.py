"""``replay``: plays one side of a recorded conversation to a live peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.capture.conversations import Conversation, Item, Reader
from txsoter.capture.errors import CaptureError
from txsoter.capture.frames import Frame, FrameSplitter, magic_bytes
from txsoter.capture.records import Record
from txsoter.capture.show import Row
from txsoter.clock import monotonic
from txsoter.core.handshake import own_version
from txsoter.core.net_address import receiver_address
from txsoter.core.sanitize import sanitize
from txsoter.errors import LocalError, MalformedMessage
from txsoter.networks import Network
from txsoter.peer.addressing import host_and_port
from txsoter.peer.config import PeerConfig
from txsoter.wire import Message, Ping, Reject, VerAck, Version
from txsoter.wire.framing import frame
from txsoter.wire.message import PROTOCOL_VERSION, command_bytes

__all__ = ["Outcome", "Player"]

PIECE = 64 * 1024
"""Bytes written before what has come is looked at."""

HANDSHAKE = frozenset({"version", "verack", "pong"})
"""What is not played, unless all is: the first two answer another version, the third pings of another time."""

UNANSWERED_PINGS = 60000
"""The last protocol version without ``pong``."""


@attrs.define
class Outcome:
    """What became of it.

    :ivar messages: played.
    :ivar bytes: of their frames.
    :ivar answers: messages that came.
    :ivar whole: whether all was played.
    :ivar reason: why it ended.
    """

    messages: int = 0
    bytes: int = 0
    answers: int = 0
    whole: bool = False
    reason: str = ""


@implementer(IPushProducer)
class Player(Protocol):
    """The side of a recorded conversation that is played; for an endpoint's ``connect``, by a factory.

    After a handshake of its own (the recorded ``version`` with a fresh nonce, the time it is, and the live peer's
    address) it plays what was recorded behind the handshake, and answers pings itself. With ``raw`` all is played as it
    was recorded, and nothing is answered.

    :param conversation: what was recorded.
    :param side: ``recv`` to play the recorded remote, ``sent`` to play the one who recorded it.
    :param network: whose frames they are.
    :param clock: for the time between messages, and for what does not come.
    :param speed: how many times faster than it was; None for as fast as the live peer takes it.
    :param timeout: seconds for a handshake, for what is played to be taken, and for the last answers.
    :param linger: seconds of silence after the last message that end it.
    :param answered: called with each message that comes.
    :param progress: called with the outcome as it grows.
    :param micros: gives the time in microseconds since 1970.
    :ivar outcome: how far it has come.
    """

    transport: Any

    def __init__(
        self,
        conversation: Conversation,
        side: str,
        network: Network,
        clock: IReactorTime,
        *,
        micros: Callable[[], int],
        speed: float | None = 1.0,
        raw: bool = False,
        timeout: float = 30.0,
        linger: float = 5.0,
        answered: Callable[[Row], object] = lambda row: None,
        progress: Callable[[Outcome], object] = lambda outcome: None,
        random: Random | None = None,
    ) -> None:
        self.outcome = Outcome()
        self._conversation = conversation
        self._side = side
        self._network = network
        self._clock = clock
        self._seconds = monotonic(clock)
        self._micros = micros
        self._speed = speed
        self._raw = raw
        self._timeout = timeout
        self._linger = linger
        self._answered = answered
        self._progress = progress
        self._random = random or Random()
        self._splitter = FrameSplitter([magic_bytes(network.magic)])
        self._reader = Reader(network=network)
        self._records: Iterator[Record] = iter(())
        self._next: Record | None = None
        # the recorded time at which it began to play, and the clock's
        self._recorded_start = 0
        self._start = 0.0
        self._has_begun = False
        self._playing = False
        self._paused = False
        self._closing = False
        self._theirs: Version | None = None
        self._last_reject: Reject | None = None
        self._turn: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None
        self._heard_at = 0.0
        self._over_at: float | None = None
        self._over: list[Deferred[Outcome]] = []

    def when_over(self) -> Deferred[Outcome]:
        """Fires once the connection has ended; fails when the recording cannot be read."""
        over: Deferred[Outcome] = Deferred()
        self._over.append(over)
        return over

    # -- the connection ------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.registerProducer(self, True)
        self._heard_at = self._seconds()
        if self._raw:
            self._play()
            return
        try:
            self._say_version()
        except LocalError as error:
            self._fail(error)
            return
        self._wait(self._timeout, "no handshake within {timeout:g} s")

    def _say_version(self) -> None:
        changed: Any = attrs.evolve
        version: Version = changed(
            self._recorded_version() or self._default_version(),
            nonce=self._random.getrandbits(64),
            timestamp=self._micros() // 1_000_000,
            addr_you=receiver_address(*host_and_port(self.transport.getPeer()), hidden=False),
            genesis_hash=self._network.genesis_hash,
        )
        payload = version.to_payload()
        self._write(command_bytes("version"), payload)
        self._hear_ourselves(Record(0, command_bytes("version"), payload))

    def _hear_ourselves(self, version: Record) -> None:
        """What is played says how it will be answered."""
        with suppress(MalformedMessage):
            self._reader.read("sent", version)

    def _recorded_version(self) -> Version | None:
        reader = Reader()
        for record in self._conversation.records(self._side):
            if record.name == "version":
                try:
                    found = reader.read(self._side, record)
                except MalformedMessage:
                    return None
                assert isinstance(found, Version)
                return found
            if record.name != "reject":
                break
        return None

    def _default_version(self) -> Version:
        config = PeerConfig(network=self._network, user_agent_name="replay")
        return own_version(config, receiver_address(None, 0, hidden=True), 0, 0, 0)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended."""
        self._cancel()
        if not self.outcome.reason:
            self.outcome.reason = "the live peer closed the connection"
            reject = self._last_reject
            if reject is not None:
                said = f"{sanitize(reject.rejected, 20)}, {reject.code:#04x}, {sanitize(reject.reason)}"
                self.outcome.reason += f" after a reject ({said})"
        self._tell(None)

    def _fail(self, error: Exception) -> None:
        """It cannot go on, for a reason of our own."""
        self._cancel()
        self._tell(error)
        self._hang_up(str(error))

    def _tell(self, error: Exception | None) -> None:
        while self._over:
            over = self._over.pop()
            if error is None:
                over.callback(self.outcome)
            else:
                over.errback(error)

    def _hang_up(self, reason: str) -> None:
        self.outcome.reason = self.outcome.reason or reason
        self._cancel()
        self._playing = False
        self._closing = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            # whoever takes nothing must not keep us
            self._deadline = self._clock.callLater(2.0, self._abort, abort)

    def _abort(self, abort: Callable[[], object]) -> None:
        self._deadline = None
        abort()

    def _wait(self, seconds: float, why: str) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        self._deadline = self._clock.callLater(seconds, self._timed_out, why.format(timeout=seconds))

    def _timed_out(self, why: str) -> None:
        self._deadline = None
        self._hang_up(why)

    def _cancel(self) -> None:
        for call in (self._turn, self._deadline):
            if call is not None:
                call.cancel()
        self._turn = self._deadline = None

    # -- playing -------------------------------------------------------------------------------

    def _play(self) -> None:
        self._cancel()
        self._records = self._conversation.records(self._side)
        self._has_begun = self._playing = True
        try:
            self._take_next()
        except CaptureError as error:
            self._fail(error)
            return
        self._start = self._seconds()
        self._recorded_start = 0 if self._next is None else self._next.time
        self._go_on()

    def _take_next(self) -> None:
        for record in self._records:
            if self._raw or record.name not in HANDSHAKE:
                self._next = record
                return
        self._next = None

    def _go_on(self) -> None:
        """Play what is due."""
        self._turn = None
        written = 0
        try:
            while self._playing and not self._paused:
                record = self._next
                if record is None:
                    self._played()
                    return
                wait = self._due(record) - self._seconds()
                if wait > 0 or written > PIECE:
                    self._turn = self._clock.callLater(max(0.0, wait), self._go_on)
                    return
                if record.name == "version":
                    self._hear_ourselves(record)
                size = self._write(record.command, record.payload)
                written += size
                self.outcome.bytes += size
                self.outcome.messages += 1
                self._progress(self.outcome)
                self._take_next()
        except CaptureError as error:
            self._fail(error)

    def _due(self, record: Record) -> float:
        if self._speed is None:
            return 0.0
        return self._start + (record.time - self._recorded_start) / 1e6 / self._speed

    def _write(self, command: bytes, payload: bytes) -> int:
        raw = frame(self._network.magic, command, payload)
        self.transport.write(raw)
        return len(raw)

    def pauseProducing(self) -> None:
        """The live peer takes no more for now."""
        self._paused = True
        if self._playing:
            self._wait(self._timeout, "the live peer took nothing for {timeout:g} s")

    def resumeProducing(self) -> None:
        """It takes more."""
        self._paused = False
        if self._playing:
            self._cancel()
            self._go_on()

    def stopProducing(self) -> None:
        """The transport is gone; the protocol is told of that by other means."""

    def _played(self) -> None:
        """All is said: wait for the last answers."""
        self._playing = False
        self.outcome.whole = True
        self._over_at = self._seconds()
        self._heard_at = self._over_at
        self._look()

    def _look(self) -> None:
        self._turn = None
        assert self._over_at is not None
        left = min(self._heard_at + self._linger, self._over_at + self._timeout) - self._seconds()
        if left <= 0:
            self._hang_up("all was played")
        else:
            self._turn = self._clock.callLater(left, self._look)

    # -- answers -------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        self._heard_at = self._seconds()
        skipped = self._splitter.skipped
        for each in self._splitter.feed(data):
            self._answer(each)
        if self._splitter.skipped != skipped:
            note = {"note": "no frame", "direction": "recv", "bytes": self._splitter.skipped - skipped}
            self._show(Item(self._micros(), None, None, note))

    def _answer(self, found: Frame) -> None:
        command, payload, checksum = found
        self.outcome.answers += 1
        record = Record(self._micros(), command, payload)
        message: Message | None = None
        error = None
        try:
            if sha256(sha256(payload).digest()).digest()[:4] != checksum:
                raise MalformedMessage("wrong checksum")
            message = self._reader.read("recv", record)
        except MalformedMessage as problem:
            error = sanitize(problem.reason)
        self._show(Item(record.time, "recv", record, {}), message, error)
        self._last_reject = message if isinstance(message, Reject) else None
        if message is not None and not self._raw and not self._closing:
            self._respond(message)

    def _show(self, item: Item, message: Message | None = None, error: str | None = None) -> None:
        self._answered(Row("live", item, message, error))

    def _respond(self, message: Message) -> None:
        """What has to be said to be listened to."""
        if isinstance(message, Version) and self._theirs is None:
            self._theirs = message
            self._write(command_bytes("verack"), b"")
        elif isinstance(message, VerAck) and self._theirs is not None and not self._has_begun:
            self._play()
        elif isinstance(message, Ping) and self._reader.pver > UNANSWERED_PINGS:
            self._write(command_bytes("pong"), message.response().to_payload(PROTOCOL_VERSION))
