"""Checks of blocks that come in any order: each in itself, and against those that it builds on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from txsoter.chain.dag import Dag
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord, pack_header
from txsoter.errors import InvalidBlock
from txsoter.networks import Network
from txsoter.wire import Block, Hash

__all__ = ["DagChecker", "FailedBlock", "MissingParent"]

MAX_FAILED = 100_000
"""Blocks that failed whose hashes are remembered: those that pass have cost work, these have not."""

Where = TypeVar("Where")


class FailedBlock(NamedTuple, Generic[Where]):
    """A block that breaks a rule.

    :param where: its location, as the caller gave it.
    """

    where: Where
    error: InvalidBlock


class MissingParent(NamedTuple):
    """A parent that a block names, and that has not come.

    :param child: the block that names it, the first if there are several.
    :param failed: whether it is known to have come and broken a rule.
    """

    hash: Hash
    child: Hash
    failed: bool


class DagChecker(Generic[Where]):
    """Checks blocks, and keeps the headers of those that pass.

    A block whose parents have not come waits for them. Memory grows with the number of blocks that pass, not with their
    size.

    :param network: whose genesis block is known from the start.
    :param now: gives the time in seconds since 1970.
    :ivar index: the headers of the blocks that pass, and whose ancestors all do.
    :ivar checked: blocks that were looked at.
    :ivar failed: number of those that broke a rule.
    :ivar repeated: number of those that had passed before.
    """

    def __init__(self, network: Network, now: Callable[[], float]) -> None:
        self.index = HeaderIndex(network)
        self.checked = self.failed = self.repeated = 0
        self._now = now
        self._waiting: dict[Hash, tuple[Where, HeaderRecord]] = {}
        self._waited_for: dict[Hash, list[Hash]] = {}
        self._failed: set[Hash] = set()

    def check(self, block: Block, where: Where) -> Iterator[FailedBlock[Where]]:
        """Check a block, and those that waited for it; iterate over what fails."""
        self.checked += 1
        block_hash = block.hash
        parents = [parent.hash for parent in block.parents]
        missing = self.index.missing(parents)
        try:
            if missing:
                block.check(self._now())
                record = HeaderRecord.pack(pack_header(block.header), parents, block.nonces, -1, block_hash)
            else:
                record = self.index.check_block(block, self._now())
        except InvalidBlock as error:
            yield self._fail(where, error)
            return
        if missing:
            self._wait(where, record, missing)
        elif self.index.add(record):
            yield from self._connect(record.hash)
        else:
            # the genesis block is known without being counted
            self.repeated += record.height > 0

    def _fail(self, where: Where, error: InvalidBlock) -> FailedBlock[Where]:
        self.failed += 1
        if len(self._failed) < MAX_FAILED:
            self._failed.add(error.block_hash)
        return FailedBlock(where, error)

    def _wait(self, where: Where, record: HeaderRecord, missing: list[Hash]) -> None:
        if record.hash in self._waiting:
            self.repeated += 1
            return
        self._waiting[record.hash] = (where, record)
        for parent in dict.fromkeys(missing):
            self._waited_for.setdefault(parent, []).append(record.hash)

    def _connect(self, block_hash: Hash) -> Iterator[FailedBlock[Where]]:
        """Check the blocks that have waited for this one alone, and so on."""
        known = [block_hash]
        for parent in known:
            for child in self._waited_for.pop(parent, ()):
                where, record = self._waiting[child]
                if self.index.missing(record.parents):
                    continue
                del self._waiting[child]
                try:
                    self.index.add(self.index.check(record.raw[:80], record.parents, record.nonces, self._now()))
                    known.append(child)
                except InvalidBlock as error:
                    yield self._fail(where, error)

    @property
    def waiting(self) -> int:
        """Blocks whose ancestors have not all come."""
        return len(self._waiting)

    def missing(self) -> list[MissingParent]:
        """Return the parents that have not come, ascending by the shown form of their hashes."""
        gone = [each for each in self._waited_for if each not in self._waiting]
        gone.sort(key=lambda each: each[::-1])
        return [MissingParent(each, self._waited_for[each][0], each in self._failed) for each in gone]

    def blue_blocks(self) -> int:
        """Return how many blocks of the DAG are blue. It takes a second for some thousand blocks."""
        dag: Dag[Hash] = Dag()
        for record in self.index:
            dag.add(record.hash, record.parents)
        return len(dag.blue_set())
