"""A node for tests: serves blocks to its peers as a soterd does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort

from txsoter import SIMNET, Listeners, PeerConfig, SoterPeerProtocol, SoterServerFactory
from txsoter.test.vectors import SIMNET_MAGIC, dag
from txsoter.wire import (
    MAX_HEADERS,
    ZERO_HASH,
    Block,
    BlockHeader,
    Encoding,
    GetBlocks,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    NotFound,
    Parent,
    Services,
    Tx,
    TxIn,
    Version,
    parents_commitment,
    read_message,
)

__all__ = ["FakeNode", "NodePort", "grown", "recorded"]

Blocks = Iterable[tuple[int, Block]]

ASK_AGAIN = Inv([InventoryVector(InventoryType.BLOCK, ZERO_HASH, -1)])
"""What follows the last block of a full inv: the hash says nothing, the message does."""


def recorded() -> list[tuple[int, Block]]:
    """The recorded DAG above genesis, with heights."""
    blocks = []
    for row in dag():
        message, _ = read_message(row["raw"], SIMNET_MAGIC, encoding=Encoding.WITNESS)
        assert isinstance(message, Block)
        blocks.append((row["height"], message))
    return blocks


def grown(heights: int, width: int) -> Iterator[tuple[int, Block]]:
    """A DAG with ``width`` blocks at each of ``heights`` heights, each building on all below it."""
    parents: Sequence[Hash] = [SIMNET.genesis_hash]
    for height in range(1, heights + 1):
        siblings = []
        for number in range(width):
            coinbase = Tx(inputs=[TxIn(ZERO_HASH, 0xFFFFFFFF)], lock_time=height << 8 | number)
            header = BlockHeader(prev=parents_commitment(parents), merkle_root=coinbase.txid, time=height)
            block = Block(header=header, parents=[Parent(each) for each in parents], transactions=[coinbase])
            siblings.append(block.hash)
            yield height, block
        parents = siblings


class FakeNode:
    """Answers getblocks, getheaders and getdata from the blocks it has, genesis included.

    :param limit: the most blocks listed in an answer to getblocks; soterd's is 500.
    :param hooks: listeners, some of them instead of its own.
    :param config: fields of its PeerConfig, some of them instead of its own.
    :ivar versions: of all that have dialled it, in order.
    :ivar questions: getblocks, getheaders and getdata that have come, in order.
    """

    def __init__(
        self,
        blocks: Blocks = (),
        limit: int = 500,
        hooks: dict[str, Callable[..., Any]] | None = None,
        **config: Any,
    ) -> None:
        self.limit = limit
        self.blocks: dict[Hash, tuple[int, Block]] = {}
        self.transactions: dict[Hash, Tx] = {}
        self.versions: list[Version] = []
        self.questions: list[GetBlocks | GetHeaders | GetData] = []
        self._full: dict[SoterPeerProtocol, Hash] = {}
        assert SIMNET.genesis_block is not None
        for height, block in [(0, SIMNET.genesis_block), *blocks]:
            self.blocks[block.hash] = (height, block)
        listeners: dict[str, Any] = {
            "on_version": lambda peer, version: self.versions.append(version),
            "on_getblocks": self.list_blocks,
            "on_getheaders": self.list_headers,
            "on_getdata": self.serve,
            "on_closed": lambda peer, reason: self._full.pop(peer, None) and None,
        }
        settings: dict[str, Any] = {
            "network": SIMNET,
            "user_agent_name": "fakenode",
            "services": Services.NETWORK | Services.WITNESS,
            "newest_block": lambda: self.height,
            "allow_self_connections": True,
            "strict": True,
            "listeners": Listeners(**{**listeners, **(hooks or {})}),
        }
        self.factory = SoterServerFactory(PeerConfig(**{**settings, **config}))

    @property
    def height(self) -> int:
        """That of its highest block."""
        return max(height for height, _ in self.blocks.values())

    @property
    def peers(self) -> list[SoterPeerProtocol]:
        """Who is connected, in no order."""
        return list(self.factory.peers)

    async def listen(self, reactor: Any) -> NodePort:
        """Listen on loopback."""
        return NodePort(self, await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.factory))

    def announce(self, height: int, block: Block) -> None:
        """Take a block, and announce it as each peer wants it."""
        self.blocks[block.hash] = (height, block)
        for peer in self.peers:
            if peer.stats().wants_headers:
                peer.send(Headers([block.header]))
            else:
                peer.send(Inv([InventoryVector(InventoryType.BLOCK, block.hash, height)]))

    def announce_transaction(self, tx: Tx) -> None:
        """Take a transaction, and announce it."""
        self.transactions[tx.txid] = tx
        for peer in self.peers:
            peer.send(Inv([InventoryVector(InventoryType.TX, tx.txid)]))

    def _above(self, question: GetBlocks | GetHeaders) -> list[tuple[int, Block]]:
        """The blocks that answer ``question``, in order of height, siblings together."""
        stop = self.blocks.get(question.stop)
        if question.height is None:
            return [] if stop is None else [stop]
        if question.stop == ZERO_HASH:
            highest = self.height
        elif stop is not None:
            highest = stop[0]
        else:
            return []
        known = sorted(self.blocks.values(), key=lambda each: each[0])  # stable: siblings in the order they came
        return [each for each in known if question.height < each[0] <= highest]

    def list_blocks(self, peer: SoterPeerProtocol, question: GetBlocks) -> None:
        """Answer getblocks."""
        self.questions.append(question)
        listed = self._above(question)[: self.limit]
        if len(listed) == self.limit:
            self._full[peer] = listed[-1][1].hash
        peer.send(Inv([InventoryVector(InventoryType.BLOCK, block.hash, height) for height, block in listed]))

    def list_headers(self, peer: SoterPeerProtocol, question: GetHeaders) -> None:
        """Answer getheaders."""
        self.questions.append(question)
        peer.send(Headers([block.header for _, block in self._above(question)[:MAX_HEADERS]]))

    async def serve(self, peer: SoterPeerProtocol, question: GetData) -> None:
        """Answer getdata."""
        self.questions.append(question)
        lacking = []
        for vector in question.vectors:
            witness = vector.type in (InventoryType.WITNESS_BLOCK, InventoryType.WITNESS_TX)
            encoding = Encoding.WITNESS if witness else Encoding.BASE
            if vector.is_block and vector.hash in self.blocks:
                await peer.send(self.blocks[vector.hash][1], encoding)
                if self._full.get(peer) == vector.hash:
                    del self._full[peer]
                    await peer.send(ASK_AGAIN)
            elif vector.type in (InventoryType.TX, InventoryType.WITNESS_TX) and vector.hash in self.transactions:
                await peer.send(self.transactions[vector.hash], encoding)
            elif vector.type not in (InventoryType.FILTERED_BLOCK, InventoryType.WITNESS_FILTERED_BLOCK):
                lacking.append(vector)
        if lacking:
            await peer.send(NotFound(lacking))


class NodePort:
    """A node that listens: ``async with`` closes it, its connections too.

    :ivar endpoint: the endpoint string at which it can be dialled.
    """

    def __init__(self, node: FakeNode, port: IListeningPort) -> None:
        self.node = node
        self._port = port
        self.number: int = port.getHost().port  # type: ignore[attr-defined]
        self.endpoint = f"tcp:127.0.0.1:{self.number}"

    async def __aenter__(self) -> NodePort:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        stopped = maybeDeferred(self._port.stopListening)
        await self.node.factory.disconnect_all("the node closes")
        await stopped
