"""The program that runs on each node of a simulation: listeners of every kind, good and bad."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from txsoter import CloseReason, Listeners, PeerConfig
from txsoter.core.state import State
from txsoter.errors import MalformedMessage, RequestClosed, RequestFailed, SendQueueFull, TxsoterError
from txsoter.test.simulation.ledger import Ledger
from txsoter.testing import SimulatedNetwork
from txsoter.wire import (
    ZERO_HASH,
    FeeFilter,
    GetBlocks,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NotFound,
    Ping,
    Pong,
    Reject,
    RejectCode,
    Tx,
    TxIn,
    Unknown,
    VerAck,
    Version,
    messages,
)

__all__ = ["BIGGEST", "Deliberate", "Host", "Mail"]

BIGGEST = 300_000
"""Bytes of the largest payload."""

SILENT, ECHO, ANSWER = 0, 1, 2
"""What the sender of a message wishes."""


class Deliberate(Exception):
    """Raised by listeners that are to fail."""


class Mail:
    """Messages that can be told from each other, by the number in each."""

    def __init__(self, random: Random, heavy: bool) -> None:
        self._random = random
        self._heavy = heavy
        self._numbers = count(1)
        self.pool: dict[bytes, Tx] = {}

    def number(self) -> int:
        """One that no other has."""
        return next(self._numbers)

    def filler(self, size: int, wish: int = SILENT) -> Unknown:
        """A message of some size that asks for something."""
        return Unknown("sim", self.number().to_bytes(8, "little") + bytes([wish]) + bytes(size))

    def small(self, pver: int) -> Message:
        """Some small message that exists at a protocol version."""
        draw = self._random.random()
        if draw < 0.6:
            return self.filler(self._random.randrange(200), ECHO if draw < 0.15 else SILENT)
        if draw < 0.7:
            return Ping(self.number())
        if draw < 0.75:
            return Pong(self.number())
        if draw < 0.8 and pver >= FeeFilter.since:
            return FeeFilter(self.number())
        if draw < 0.9:
            return self.transaction()
        return NotFound([self.vector()])

    def transaction(self) -> Tx:
        """One of a kind."""
        return Tx(inputs=[TxIn(ZERO_HASH, 0)], lock_time=self.number())

    def any(self, pver: int) -> Message:
        """Some message, which may be large."""
        draw = self._random.random()
        if draw < 0.8:
            return self.small(pver)
        return self.large() if self._heavy and draw > 0.95 else self.filler(self._random.randrange(8000))

    def large(self) -> Message:
        """A large one."""
        return self.filler(self._random.randrange(20_000, BIGGEST))

    def vector(self, kind: int = InventoryType.TX) -> InventoryVector:
        """Something to announce."""
        if kind == InventoryType.TX:
            tx = self.transaction()
            self.pool[tx.txid] = tx
            return InventoryVector(kind, tx.txid)
        number = self.number()
        return InventoryVector(kind, Hash(number.to_bytes(32, "little")), number)


# what a listener does, and how often
FAIR = {"plain": 20, "slow": 2, "deferred": 2, "reply": 3, "await send": 1, "ask": 2, "value": 1}
FOUL = {**FAIR, "raise": 1, "raise later": 1, "quit": 0.3, "abort": 0.1, "reply and quit": 0.2, "announce": 1}


class Host(ABC):
    """A node, its peers, and what its program does with them.

    :ivar node: of the network.
    :ivar live: its peers that live.
    :ivar have: what it has heard of.
    """

    node: Any
    # of its network, in seconds
    beat: float | None = None
    # the commands of its listeners
    listens_to: Iterable[str] = (*messages(), "unknown")

    def __init__(
        self,
        network: SimulatedNetwork,
        ledger: Ledger,
        mail: Mail,
        fields: dict[str, Any],
        fair: bool,
        redial: Callable[[Host], object],
    ) -> None:
        random = network.random
        self.network = network
        self.ledger = ledger
        self.mail = mail
        self.fair = fair
        self.redial = redial
        self.live: dict[Any, None] = {}
        self.over = False
        # a dict, for its order
        self.have: dict[InventoryVector, None] = {}
        self.slowness = random.choice([0.01, 0.3, 3.0])
        manners = FAIR if fair else FOUL
        # each host has its own habits
        self._manners = {name: weight * random.choice([0.0, 1.0, 1.0, 3.0]) for name, weight in manners.items()}
        self._manners["plain"] = manners["plain"]
        self.tells_reads = random.random() < 0.7
        self.tells_writes = random.random() < 0.5
        self.open(PeerConfig(listeners=self._listeners(), **fields))

    # -- what depends on how its peers are driven ----------------------------------------------

    @abstractmethod
    def open(self, config: PeerConfig) -> None:
        """Make the node."""

    @property
    @abstractmethod
    def configs(self) -> list[PeerConfig]:
        """Those of its peers."""

    def future(self) -> Any:
        """A Deferred, or what this host has instead."""
        return Deferred()

    @abstractmethod
    def listen(self) -> None:
        """Let others dial."""

    def serve(self, hosts: list[Any]) -> None:  # noqa: B027  # nothing, unless a host has a service
        """Dial some hosts again and again."""

    @abstractmethod
    def dial(self, to: Any, refused: bool, timeout: float) -> tuple[Any, Callable[[], bool]]:
        """Dial another host, at a place where nobody listens if ``refused``.

        :return: fires once the connection is ready; and what tells whether nothing is left of it.
        """

    @abstractmethod
    def disrupt(self) -> None:
        """End a connection, or half of it, behind the peer's back."""

    @abstractmethod
    def hang_up(self, reason: str, inbound: bool = True, outbound: bool = True) -> None:
        """End all connections of these kinds."""

    @abstractmethod
    def stop(self) -> None:
        """Dial no more, and stop listening."""

    @abstractmethod
    def remembers(self, peer: Any) -> bool:
        """Whether what made the peer knows it still."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """What is left when all is over."""

    # -- its peers -----------------------------------------------------------------------------

    def _listeners(self) -> Listeners:
        hooks: dict[str, Any] = {"on_ready": self._ready, "on_closed": self._closed}
        for command in self.listens_to:
            hooks[f"on_{command}"] = self.hear
        if self.tells_reads:
            hooks["on_read"] = self.read
        if self.tells_writes:
            hooks["on_write"] = self._wrote
        return Listeners(**hooks)

    def enlist(self, peer: Any, inbound: bool) -> None:
        """A peer of this host has been made."""
        side = self.ledger.new_side(peer, f"{'inbound' if inbound else 'outbound'} of {self.node.host}")
        side.read = [] if self.tells_reads else None
        side.wrote = [] if self.tells_writes else None
        side.hooked = self.hooked
        side.turned_away = self._turned_away
        self.live[peer] = None
        # after the end, too: somebody may be on the line still
        side.hasty = self.over or (not self.fair and self.network.random.random() < 0.01)

    # -- listeners -----------------------------------------------------------------------------

    def hear(self, peer: Any, message: Message, *payload: bytes) -> Any:
        side = peer.side
        if peer.is_closing:
            self.ledger.complain(f"{side}: the listener of {message.command} was called while the connection closed")
        if side.busy:
            self.ledger.complain(f"{side}: the listener of {message.command} was called while another one ran")
        side.heard.append(side.key(message))
        side.free_since = self.ledger.now()
        self._answer(peer, message)
        return self._behave(peer, message)

    def hooked(self, peer: Any, message: Message) -> Any:
        """A message has come, for a peer whose class handles it."""
        if peer.is_closing or peer.side.busy:
            self.ledger.complain(f"{peer.side}: message_received() was called out of turn")
        return self._behave(peer, message) if self.network.random.random() < 0.2 else None

    def read(self, peer: Any, size: int, message: Message | None, error: TxsoterError | None) -> None:
        side = peer.side
        if isinstance(error, MalformedMessage) and error.command == "reject" and peer.pver < Reject.since:
            # a version may be refused before the other side knows how little we speak
            return
        if message is None or side.read is None:
            self.ledger.complain(f"{side}: on_read was told of {error!r}")
            return
        side.read.append(side.key(message))
        if not self.fair and self.network.random.random() < 0.002:
            peer.disconnect("on_read does not like it")

    def _wrote(self, peer: Any, size: int, message: Message | None, error: TxsoterError | None) -> None:
        side = peer.side
        if error is None and message is not None and side.wrote is not None:
            side.wrote.append((size, message.command))
            draw = self.network.random.random()
            if not self.fair and draw < 0.002:
                peer.disconnect("on_write does not like it")
            elif draw < 0.01:
                self.ledger.forget(peer.send(self.mail.small(peer.pver)), f"send() of {side} from on_write")

    def _ready(self, peer: Any) -> Any:
        peer.side.ready = True
        random = self.network.random
        for _ in range(random.choice([0, 0, 1, 5])):
            self.ledger.forget(peer.send(self.mail.any(peer.pver)), f"send() of {peer.side} from on_ready")
        if self.fair:
            # it has missed what went round before
            for vector in self.have:
                peer.queue_inventory(vector)
        elif random.random() < 0.3:
            self.spread(self.mail.vector())
        if not self.fair and random.random() < 0.02:
            raise Deliberate("on_ready")
        return self._sleep() if random.random() < 0.1 else None

    def _turned_away(self, peer: Any) -> None:
        self.live.pop(peer, None)

    def _closed(self, peer: Any, reason: CloseReason) -> Any:
        del self.live[peer]
        if self.remembers(peer):
            self.ledger.complain(f"{peer.side}: the factory remembers it in on_closed")
        random = self.network.random
        if random.random() < 0.3:
            self.ledger.forget(peer.send(self.mail.small(peer.pver)), f"send() of {peer.side} after its end")
            self.ledger.forget(peer.when_closed(), f"when_closed() of {peer.side} in on_closed")
        if random.random() < 0.3:
            self.redial(self)
        if not self.fair and random.random() < 0.02:
            raise Deliberate("on_closed")

    # -- answers -------------------------------------------------------------------------------

    def _answer(self, peer: Any, message: Message) -> None:
        """What the other side expects."""
        if isinstance(message, Unknown) and message.command == "sim":
            wish = message.payload[8]
            if wish == ECHO:
                self._say(peer, self.mail.filler(len(message.payload) % 1000))
            elif wish == ANSWER:
                self._say(peer, Unknown("answer", message.payload[:8]))
        elif isinstance(message, GetBlocks):
            self._say(peer, Inv())
        elif isinstance(message, GetHeaders):
            self._say(peer, Headers())
        elif isinstance(message, GetData):
            self._give(peer, message)
        elif isinstance(message, Inv):
            for vector in list(message.vectors):
                peer.add_known_inventory(vector)
                self.spread(vector)

    def _give(self, peer: Any, message: GetData) -> None:
        draw = self.network.random.random()
        for vector in message.vectors:
            tx = self.mail.pool.get(vector.hash)
            if tx is not None and draw < 0.6:
                self._say(peer, tx)
            elif draw < 0.9 or self.fair:
                self._say(peer, NotFound([vector]))
            elif draw < 0.95 and peer.pver >= Reject.since:
                self._say(peer, Reject(b"tx", RejectCode.INVALID, b"%d" % self.mail.number(), vector.hash))

    def _say(self, peer: Any, message: Message) -> None:
        if self.network.random.random() < 0.5:
            self.ledger.forget(peer.send(message), f"send() of {peer.side} from a listener")
        else:
            peer.send_and_look_later(message)

    def spread(self, vector: InventoryVector) -> None:
        """Tell everybody, if it is new."""
        if vector not in self.have:
            self.have[vector] = None
            for peer in list(self.live):
                peer.queue_inventory(vector)

    # -- manners -------------------------------------------------------------------------------

    def _behave(self, peer: Any, message: Message) -> Any:
        """Do as this host does."""
        random = self.network.random
        if not self.fair and isinstance(message, Version) and random.random() < 0.03:
            return Reject(b"version", RejectCode.INVALID, b"not today")
        manner = random.choices(list(self._manners), list(self._manners.values()))[0]
        if isinstance(message, Version) and random.random() < 0.2:
            # before the remote is ready
            for kind in (InventoryType.BLOCK, InventoryType.TX):
                self.spread(self.mail.vector(kind))
            self._say(peer, self.mail.small(peer.pver))
        if manner == "plain" or (isinstance(message, VerAck | Version) and manner in ("await send", "ask")):
            # to wait for what is sent before the handshake is over is to wait for oneself
            return None
        if manner == "deferred":
            return self._busy_while(peer, self._later())
        if manner in ("slow", "await send", "ask", "raise later"):
            return self._slowly(peer, manner)
        return self._at_once(peer, manner)

    def _at_once(self, peer: Any, manner: str) -> Any:
        if manner == "reply" or manner == "reply and quit":
            self._say(peer, self.mail.small(peer.pver))
        elif manner == "announce":
            self.spread(self.mail.vector())
        elif manner == "abort":
            peer.abort()
        elif manner == "raise":
            raise Deliberate(manner)
        if manner in ("quit", "reply and quit"):
            peer.disconnect(manner)
        return 7 if manner == "value" else None

    def _busy_while(self, peer: Any, done: Deferred[Any]) -> Deferred[Any]:
        peer.side.busy += 1

        def over(result: Any) -> Any:
            peer.side.rest()
            return result

        return done.addBoth(over)

    async def _slowly(self, peer: Any, manner: str) -> None:
        side = peer.side
        side.busy += 1
        try:
            if manner == "ask" and peer.state is State.READY:
                await self.ask(peer, peer.side.ledger.watch)
            elif manner == "await send" and peer.state is State.READY:
                with suppress(SendQueueFull):
                    await self.ledger.watch(peer.send(self.mail.any(peer.pver)), f"send() awaited by {side}")
            else:
                await self._sleep()
            if manner == "raise later":
                raise Deliberate(manner)
        finally:
            side.rest()

    async def ask(self, peer: Any, watch: Callable[[Deferred[Any], str], Deferred[Any]]) -> None:
        """Ask something, and wait for the answer."""
        random = self.network.random
        # two whose listeners ask each other wait for each other: nobody answers before the one before is done
        timeout = 0.5 if self.fair else random.choice([0.5, 5, 60])
        what = f"request() of {peer.side}"
        try:
            await watch(self.request(peer, timeout), what)
        except RequestClosed:
            # of a handler that was cut short nothing is logged
            if random.random() < 0.5:
                raise
        except (RequestFailed, SendQueueFull):
            return

    def request(self, peer: Any, timeout: float) -> Any:
        """One of all kinds of requests."""
        number = self.mail.number()
        payload = number.to_bytes(8, "little")
        kind = self.network.random.randrange(4)
        if kind == 0:
            return peer.request(Ping(number), Pong, timeout)
        if kind == 1:
            return peer.request(GetHeaders(height=number), Headers, timeout)
        if kind == 2:
            return peer.request(GetData([self.mail.vector()]), Tx, timeout)
        question = Unknown("sim", payload + bytes([ANSWER]))
        return peer.request(question, Unknown, timeout, lambda message: message.payload == payload)

    def _later(self) -> Any:
        done = self.future()
        self.ledger.call_later(self.network.random.random() * self.slowness, done.callback, None)
        return done

    async def _sleep(self) -> None:
        await self._later()
