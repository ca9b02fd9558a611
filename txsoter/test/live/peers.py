"""What the live tests say to a soterd, and how they hear it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import attrs
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IListeningPort

from txsoter import SIMNET, Listeners, PeerConfig, SoterPeerProtocol, SoterServerFactory, connect
from txsoter.test.vectors import SIMNET_MAGIC, dag
from txsoter.testing.soterd import Soterd
from txsoter.wire import (
    Block,
    Encoding,
    GetBlocks,
    GetData,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NotFound,
    Services,
    read_message,
)

__all__ = ["FULL", "Dag", "Harbour", "Tape", "answer_nothing_new", "dial", "live", "simnet", "within"]

P = ParamSpec("P")
T = TypeVar("T")

FULL = Services.NETWORK | Services.WITNESS
"""What a peer must advertise for a soterd to sync from it."""


def within(seconds: float, work: Coroutine[Deferred[Any], Any, T] | Deferred[T]) -> Deferred[T]:
    """What ``work`` comes to, or a timeout."""
    from twisted.internet import reactor

    result = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    return result.addTimeout(seconds, reactor)


def live(seconds: float) -> Callable[[Callable[P, Coroutine[Deferred[Any], Any, None]]], Callable[P, Awaitable[None]]]:
    """Make a coroutine function a test that pytest-twisted drives, and that fails after ``seconds``."""

    def decorate(function: Callable[P, Coroutine[Deferred[Any], Any, None]]) -> Callable[P, Awaitable[None]]:
        @functools.wraps(function)
        async def test(*args: P.args, **kwargs: P.kwargs) -> None:
            await within(seconds, function(*args, **kwargs))

        marked: Callable[P, Awaitable[None]] = pytest_twisted.ensureDeferred(test)
        return marked

    return decorate


@attrs.define
class Tape:
    """Records what a peer reads and writes.

    :ivar events: ``("read" | "wrote", the message)``, in order.
    :ivar sizes: bytes of the frames, by the same indices.
    :ivar failures: what could not be read or written.
    """

    events: list[tuple[str, Message]] = attrs.Factory(list)
    sizes: list[int] = attrs.Factory(list)
    failures: list[Exception] = attrs.Factory(list)

    def listeners(self, **more: Any) -> Listeners:
        """Listeners that record, and do what else is given."""
        return Listeners(
            on_read=functools.partial(self._note, "read"), on_write=functools.partial(self._note, "wrote"), **more
        )

    def _note(self, what: str, peer: object, size: int, message: Message | None, error: Exception | None) -> None:
        if message is not None and error is None:
            self.events.append((what, message))
            self.sizes.append(size)
        if error is not None:
            self.failures.append(error)

    def commands(self, what: str) -> list[str]:
        """The commands ``read`` or ``wrote``, in order."""
        return [message.command for way, message in self.events if way == what]

    def index(self, what: str, command: str) -> int:
        """When a command was first ``read`` or ``wrote``, as an index of :attr:`events`."""
        return next(
            index for index, (way, message) in enumerate(self.events) if (way, message.command) == (what, command)
        )


class Dag:
    """The recorded DAG, served as a node would.

    :ivar height: of its highest block.
    """

    def __init__(self) -> None:
        self.blocks: dict[bytes, Block] = {}
        self.vectors: list[InventoryVector] = []
        for row in dag():
            block, _ = read_message(row["raw"], SIMNET_MAGIC, encoding=Encoding.WITNESS)
            assert isinstance(block, Block)
            self.blocks[block.hash] = block
            self.vectors.append(InventoryVector(InventoryType.BLOCK, block.hash, row["height"]))
        self.height = max(vector.height for vector in self.vectors)

    def on_getblocks(self, peer: SoterPeerProtocol, question: GetBlocks) -> None:
        """Answer with all blocks above the height asked for."""
        above = -1 if question.height is None else question.height
        peer.send(Inv([vector for vector in self.vectors if vector.height > above]))

    def on_getdata(self, peer: SoterPeerProtocol, question: GetData) -> None:
        """Answer with the blocks asked for, in the encoding asked for."""
        lacking = []
        for vector in question.vectors:
            block = self.blocks.get(vector.hash)
            if block is None:
                lacking.append(vector)
            else:
                witness = vector.type == InventoryType.WITNESS_BLOCK
                peer.send(block, Encoding.WITNESS if witness else Encoding.BASE)
        if lacking:
            peer.send(NotFound(lacking))


def answer_nothing_new(peer: SoterPeerProtocol, question: GetBlocks) -> None:
    """Answer ``getblocks`` as one who has no more blocks: a soterd closes on those who do not answer at all."""
    peer.send(Inv())


def simnet(**fields: Any) -> PeerConfig:
    """A config for simnet."""
    return PeerConfig(network=SIMNET, user_agent_name="live", user_agent_version="1.0.0", **fields)


async def dial(node: Soterd, config: PeerConfig) -> SoterPeerProtocol:
    """A peer that dialled ``node``, and is ready."""
    from twisted.internet import reactor

    return await connect(clientFromString(reactor, node.endpoint), config)


class Harbour:
    """Where nodes dial us.

    :ivar arrived: the peers that came, in order.
    """

    def __init__(self, config: PeerConfig) -> None:
        harbour = self

        class Arriving(SoterPeerProtocol):
            def connectionMade(self) -> None:
                super().connectionMade()
                harbour._arrive(self)

        self.factory = SoterServerFactory(config, Arriving)
        self.arrived: list[SoterPeerProtocol] = []
        self._waiting: list[Deferred[SoterPeerProtocol]] = []
        self._port: IListeningPort | None = None

    async def open(self) -> Harbour:
        """Begin to listen."""
        from twisted.internet import reactor

        self._port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(self.factory)
        return self

    @property
    def address(self) -> str:
        """Where: for a node's ``--connect``."""
        assert self._port is not None
        return f"127.0.0.1:{self._port.getHost().port}"  # type: ignore[attr-defined]

    def next_peer(self) -> Deferred[SoterPeerProtocol]:
        """The next to come; it is not ready yet."""
        waiter: Deferred[SoterPeerProtocol] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def _arrive(self, peer: SoterPeerProtocol) -> None:
        self.arrived.append(peer)
        if self._waiting:
            self._waiting.pop(0).callback(peer)

    async def close(self) -> None:
        """Listen no more, and end what came."""
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        await self.factory.disconnect_all()
