"""What attacks on queues and listeners share: remotes that take little or send much, and sockets where they matter."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from txsoter import (
    SIMNET,
    Listeners,
    PeerConfig,
    SoterClientFactory,
    SoterPeerProtocol,
    SoterServerFactory,
)
from txsoter.core.state import State
from txsoter.test.attacks.support import BYSTANDER, READ, Attack
from txsoter.test.peer.cases import framed, hash_of, real_reactor, wrong
from txsoter.testing import ScriptedPeer
from txsoter.wire import Block, BlockHeader, Message, Ping, Pong, Tx, TxIn

__all__ = [
    "BLOCK",
    "Loopback",
    "RawAttacker",
    "Torrent",
    "big_block",
    "drain",
    "frames",
    "not_to_the_bystander",
    "stop_reading",
]


BLOCK = 1_000_000
"""Bytes of a block's frame here."""


def big_block(size: int = BLOCK, number: int = 0) -> Block:
    """A block whose frame has ``size`` bytes."""
    return Block(BlockHeader(nonce=number), transactions=[Tx(1, [TxIn(hash_of(1), 0, bytes(size - 176))])])


def frames(messages: Iterable[Message], pver: int = 70013) -> bytes:
    """The frames of messages, one after the other."""
    return b"".join(framed(each, pver) for each in messages)


def stop_reading(attack: Attack) -> None:
    """From now on the attacker takes nothing of what we write."""
    attack.transport.takes = False


def drain(attack: Attack, size: int) -> None:
    """Let an attacker that has stopped reading take ``size`` bytes."""
    attack.attacker.dataReceived(attack.transport.take(size))
    attack.bystander.exchange()


def not_to_the_bystander(listener: Callable[..., Any]) -> Callable[..., Any]:
    """``listener``, which the bystander's connection shares, for the attacker's alone."""
    bystander = f"{BYSTANDER.host}:{BYSTANDER.port}"

    def called(peer: SoterPeerProtocol, *arguments: Any) -> Any:
        return None if peer.address == bystander else listener(peer, *arguments)

    return called


class Torrent:
    """What the attacker has to send, as its socket brings it: so much at a time, and nothing while we do not read.

    :ivar most: the most bytes that waited on our side after any piece.
    """

    def __init__(self, attack: Attack, data: bytes) -> None:
        self.most = 0
        self._attack = attack
        self._rest = memoryview(data)

    def __len__(self) -> int:
        return len(self._rest)

    def push(self, pieces: int | None = None) -> None:
        """Send until we stop reading, at most ``pieces`` times what a socket gives at once."""
        attack = self._attack
        while self._rest and pieces != 0 and attack.transport.reading and not attack.peer.is_closing:
            piece, self._rest = bytes(self._rest[:READ]), self._rest[READ:]
            attack.say(piece)
            self.note()
            pieces = None if pieces is None else pieces - 1

    def note(self) -> None:
        """Look at what waits now."""
        self.most = max(self.most, self._attack.held())


class RawAttacker(ScriptedPeer):
    """A remote over TCP that says what it is told to.

    :param first: what it says as soon as it is connected.
    :ivar gone: fires when its connection has ended.
    """

    transport: Any

    def __init__(self, *first: Message | bytes) -> None:
        super().__init__()
        self.gone: Deferred[None] = Deferred()
        self._first = first
        self._enough: tuple[int, Deferred[None]] | None = None

    def connectionMade(self) -> None:
        """It is connected."""
        self.say(*self._first)

    def has_heard(self, count: int) -> Deferred[None]:
        """Fires when it has heard as many messages."""
        heard: Deferred[None] = Deferred()
        self._enough = count, heard
        self.dataReceived(b"")
        return heard

    def dataReceived(self, data: bytes) -> None:
        """Note what came."""
        super().dataReceived(data)
        if self._enough is not None and len(self.heard) >= self._enough[0]:
            (_, heard), self._enough = self._enough, None
            heard.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        super().connectionLost(reason)
        self.gone.callback(None)


class Loopback:
    """A process under attack over TCP: an attacker's connection and a bystander's to one server of ours.

    While the block lasts the bystander asks, and must be answered, again and again. When it ends all is closed, and
    nothing of the attacker's connection may be left.

    :param attacker: makes the protocol of the attacker's end; by default a peer, and then both ends are ready.
    :param fields: of our end's config; ``on_…`` fields are listeners.
    :ivar factory: of our end.
    :ivar peer: our end of the attacker's connection.
    :ivar attacker: the other end.
    :ivar rounds: how often the bystander was answered.
    """

    peer: SoterPeerProtocol

    def __init__(self, attacker: Callable[[], RawAttacker] | None = None, **fields: Any) -> None:
        hooks = {name: fields.pop(name) for name in list(fields) if name.startswith("on_")}
        common: dict[str, Any] = {"network": SIMNET, "random": Random(1), "allow_self_connections": True}
        self.factory = SoterServerFactory(PeerConfig(**{**common, "listeners": Listeners(**hooks), **fields}))
        self._clients = SoterClientFactory(PeerConfig(**{**common, "answer_pings": True}))
        self._attackers = self._clients if attacker is None else Factory.forProtocol(wrong(attacker))
        self.rounds = 0
        self._over = False

    async def __aenter__(self) -> Loopback:
        reactor = real_reactor()
        endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        self._port = await endpoint.listen(self.factory)
        self._dial = clientFromString(reactor, f"tcp:127.0.0.1:{self._port.getHost().port}")
        self._bystander: SoterPeerProtocol = wrong(await self._dial.connect(self._clients))
        await self._bystander.when_ready()
        before = set(self.factory.peers)
        self.attacker: Any = await self._dial.connect(wrong(self._attackers))
        if isinstance(self.attacker, SoterPeerProtocol):
            await self.attacker.when_ready()
        while not self.factory.peers - before:
            # the remote's connect() may be told first
            await self._exchange()
        [self.peer] = self.factory.peers - before
        self._alive = weakref.ref(self.peer)
        if isinstance(self.attacker, SoterPeerProtocol):
            await self.peer.when_ready()
        self._bystanding = Deferred.fromCoroutine(self._go_on())
        return self

    async def _exchange(self) -> None:
        self.rounds += 1
        pong = await self._bystander.request(Ping(self.rounds), Pong, timeout=10)
        assert pong.nonce == self.rounds

    async def _go_on(self) -> None:
        while not self._over:
            await self._exchange()

    async def __aexit__(self, *failure: object) -> None:
        self._over = True
        try:
            await self._bystanding
            await self._exchange()
            assert self._bystander.state is State.READY
            await self.peer.disconnect("the attack is over")
            assert self.peer not in self.factory.peers
        finally:
            await self._port.stopListening()
            await self._clients.disconnect_all()
            await self.factory.disconnect_all()
            if not isinstance(self.attacker, SoterPeerProtocol):
                await self.attacker.gone
        assert (self.factory.peers, self._clients.peers) == (set(), set())
        del self.peer, self.attacker
        if failure[0] is None:
            # a failure's traceback would keep what it has passed through
            gc.collect()
            assert self._alive() is None
