"""A :class:`HeaderSync` among nodes without connections: messages are answered at once, time goes on by calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.header_sync import Drop, HeaderSync, Send
from txsoter.networks import SIMNET
from txsoter.test.chain.light.dags import GENESIS, START, heights_of
from txsoter.wire import Block, GetBlocks, GetData, Headers, Inv, InventoryType, InventoryVector, Message, NotFound

__all__ = ["Node", "World", "listed"]

LISTED = 500

Alter = Callable[[Message, list[Message]], list[Message]]
"""Given a question and the honest answers, returns those that are sent."""


def listed(block: Block, height: int) -> InventoryVector:
    """Return what lists a block."""
    return InventoryVector(InventoryType.BLOCK, block.hash, height)


class Node:
    """Answers as a soterd does, or otherwise.

    :param blocks: above the genesis, parents before children.
    :param alter: changes its answers.
    :ivar heard: the questions that have come.
    """

    def __init__(self, blocks: Sequence[Block] = (), alter: Alter | None = None) -> None:
        self.blocks = {
            GENESIS.hash: (0, GENESIS),
            **{block.hash: (height, block) for height, block in heights_of(blocks)},
        }
        self.alter = alter
        self.heard: list[Message] = []

    @property
    def height(self) -> int:
        return max(height for height, _ in self.blocks.values())

    def add(self, block: Block) -> InventoryVector:
        """Take a block, and return its announcement."""
        height = 1 + max(self.blocks[each.hash][0] for each in block.parents)
        self.blocks[block.hash] = (height, block)
        return listed(block, height)

    def answer(self, question: Message) -> list[Message]:
        """Return the answers to a question."""
        self.heard.append(question)
        answers = self._answers(question)
        return answers if self.alter is None else self.alter(question, answers)

    def _answers(self, question: Message) -> list[Message]:
        if isinstance(question, GetBlocks):
            assert question.height is not None
            found = sorted(self.blocks.values(), key=lambda each: each[0])
            above = [listed(block, height) for height, block in found if height > question.height]
            return [Inv(above[:LISTED])]
        assert isinstance(question, GetData)
        answers: list[Message] = []
        lacking = []
        for each in question.vectors:
            if each.hash in self.blocks:
                answers.append(self.blocks[each.hash][1])
            else:
                lacking.append(each)
        return [*answers, NotFound(lacking)] if lacking else answers


class World:
    """The sync, and the nodes that it follows.

    :param nodes: by name; ready, one after the other.
    :ivar now: seconds of the monotonic clock; the wall clock shows a time behind all blocks.
    :ivar dropped: points and reason by name.
    :ivar taken: blocks in the order in which they were taken.
    """

    def __init__(self, **nodes: Node) -> None:
        self.index = HeaderIndex(SIMNET, check_proofs=False)
        self.now = 1000.0
        self.wall = START + 10_000_000.0
        self.taken: list[Block] = []
        self.dropped: dict[str, tuple[float, str]] = {}
        self.nodes: dict[str, Node] = {}
        self.sync = HeaderSync(self.index, self._take, lambda block: self.index.check_block(block, self.wall))
        for name, node in nodes.items():
            self.ready(name, node)

    def _take(self, record: HeaderRecord, block: Block) -> None:
        assert self.index.add(record)
        self.taken.append(block)

    def ready(self, name: str, node: Node, height: int | None = None) -> None:
        """Connect a node; nothing is answered before :meth:`run`."""
        self.nodes[name] = node
        self.sync.peer_ready(name, node.height if height is None else height, self.now)

    def run(self) -> None:
        """Answer questions until there are none."""
        while self.sync.outbox:
            outbox, self.sync.outbox = self.sync.outbox, []
            for each in outbox:
                if isinstance(each, Drop):
                    self.dropped[each.peer] = (each.points, each.reason)
                    del self.nodes[each.peer]
                else:
                    self._ask(each)

    def _ask(self, send: Send) -> None:
        node = self.nodes.get(send.peer)
        for each in () if node is None else node.answer(send.message):
            self.say(send.peer, each)

    def say(self, name: str, message: Message) -> None:
        """Let a node say something."""
        if name not in self.nodes:
            return
        if isinstance(message, Inv):
            self.sync.inv_received(name, message, self.now)
        elif isinstance(message, Block):
            self.sync.block_received(name, message, self.now)
        elif isinstance(message, Headers):
            self.sync.headers_received(name, message, self.now)
        else:
            assert isinstance(message, NotFound)
            self.sync.notfound_received(name, message, self.now)

    def announce(self, name: str, block: Block) -> None:
        """Let a node take a block and announce it, and go on."""
        self.say(name, Inv([self.nodes[name].add(block)]))
        self.run()

    def advance(self, seconds: float) -> None:
        """Let time go on, a second at a time."""
        for _ in range(round(seconds)):
            self.now += 1
            self.wall += 1
            self.sync.tick(self.now)
            self.run()

    def has(self, blocks: Iterable[Block]) -> bool:
        """Tell whether the index is the genesis and exactly these blocks."""
        return {record.hash for record in self.index} == {GENESIS.hash, *(block.hash for block in blocks)}
