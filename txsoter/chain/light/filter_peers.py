"""``FilterPeers``: questions about blocks and their filters; answers are checked, silence is counted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults

from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.penalties import BROKEN, INVALID
from txsoter.errors import InvalidBlock, RequestFailed, RequestNotFound, SendQueueFull
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import (
    Block,
    CFHeaders,
    CFilter,
    FilterLoad,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Hash,
    InventoryType,
    InventoryVector,
    Services,
)
from txsoter.wire.cfilters import REGULAR_FILTER

__all__ = ["UNANSWERED", "FilterPeers"]

T = TypeVar("T")

PATIENCE = 3
"""Questions in a row that a peer may leave unanswered, and contradictions, until it is noticed."""

MOST_ASKED = 4
"""Peers that are asked about each filter."""

MOST_DIFFERENCES = 10
"""Blocks for which a peer may have another filter than others, without a proof of either."""

UNANSWERED = (RequestFailed, SendQueueFull)
"""Errors of a question that has no answer; a remote that reads nothing may have filled our queue."""

TIMEOUT = 30.0
"""Seconds for an answer."""


class FilterPeers:
    """The peers that a light client follows, as far as blocks and filters are asked of them.

    A peer that does not answer is asked last, and no more while there are enough others. It is not punished: a node is
    silent, too, when it does not know the last block asked for, which may be one that a liar has shown to us alone.

    :param followed: gives those that are ready.
    :param punish: scores a peer and ends the connection: called with the peer, points and the reason.
    :param timeout: seconds for an answer.
    """

    def __init__(
        self,
        followed: Callable[[], Iterable[SoterPeerProtocol]],
        punish: Callable[[SoterPeerProtocol, float, str], object],
        timeout: float = TIMEOUT,
    ) -> None:
        self._followed = followed
        self._punish = punish
        self.timeout = timeout
        self._fetching: WeakKeyDictionary[SoterPeerProtocol, set[Hash]] = WeakKeyDictionary()
        self._silence: WeakKeyDictionary[SoterPeerProtocol, int] = WeakKeyDictionary()
        self._differences: WeakKeyDictionary[SoterPeerProtocol, int] = WeakKeyDictionary()
        self._bloom_locks: WeakKeyDictionary[SoterPeerProtocol, DeferredLock] = WeakKeyDictionary()
        self._contradictions: WeakKeyDictionary[SoterPeerProtocol, int] = WeakKeyDictionary()

    def offering(self, services: int = 0) -> list[SoterPeerProtocol]:
        """Return the ready peers that offer some services, those first that have answered best."""
        found = [
            each for each in self._followed() if not each.is_closing and each.stats().services & services == services
        ]
        return sorted(found, key=lambda peer: self._silence.get(peer, 0))

    def filtering(self) -> list[SoterPeerProtocol]:
        """Return the ready peers that filter blocks with a bloom filter of ours, and know the messages for that."""
        return [each for each in self.offering(Services.BLOOM) if each.stats().negotiated_version >= FilterLoad.since]

    def to_ask(self, services: int, needed: int) -> list[SoterPeerProtocol]:
        """Return the ready peers to ask the same of; the silent ones only if there are fewer than ``needed`` others."""
        found = self.offering(services)
        talking = [each for each in found if self._silence.get(each, 0) < PATIENCE]
        return (talking if len(talking) >= needed else found)[:MOST_ASKED]

    def was_asked(self, peer: SoterPeerProtocol, block: Block) -> bool:
        """Return whether a block that has come was asked of the peer by :meth:`block`; once for each."""
        fetching = self._fetching.get(peer)
        # most blocks are not: their hash is not needed here
        if not fetching or block.hash not in fetching:
            return False
        fetching.discard(block.hash)
        return True

    def bloom_lock(self, peer: SoterPeerProtocol) -> DeferredLock:
        """Return the lock of a peer's bloom filter: a connection has one."""
        return self._bloom_locks.setdefault(peer, DeferredLock())

    # -- judgement -----------------------------------------------------------------------------

    def punish(self, peer: SoterPeerProtocol, points: float, reason: str) -> None:
        """Score a peer, and end the connection with it.

        :param reason: for people, without text of the remote's.
        """
        if not peer.is_closing:
            self._punish(peer, points, reason)

    def answered(self, peer: SoterPeerProtocol) -> None:
        """Note that a peer has answered."""
        self._silence.pop(peer, None)

    def failed(self, peer: SoterPeerProtocol, error: Exception) -> None:
        """Note that a peer has not given what it was asked for."""
        if isinstance(error, RequestNotFound):
            self.answered(peer)
        else:
            self._silence[peer] = self._silence.get(peer, 0) + 1

    def contradicted(self, peer: SoterPeerProtocol) -> None:
        """Note that a filter of a peer is not the one whose hash it has told; it is dropped at the third time.

        The hashes name no blocks: those of a peer that knows others than we do may be taken for other blocks'.
        """
        count = self._contradictions[peer] = self._contradictions.get(peer, 0) + 1
        if count >= PATIENCE:
            self.punish(peer, BROKEN, "its filters are not those whose hashes it tells")

    def differed(self, peer: SoterPeerProtocol) -> None:
        """Note that a filter of a peer may be honest, and is another than others have; it is dropped at the tenth.

        Without points: it may have heard of blocks in another order. But each time costs a fetched block, or many.
        """
        count = self._differences[peer] = self._differences.get(peer, 0) + 1
        if count >= MOST_DIFFERENCES:
            self.punish(peer, 0, "its filters differ from those of others again and again")

    # -- questions -----------------------------------------------------------------------------

    async def ask_all(
        self, peers: Iterable[SoterPeerProtocol], ask: Callable[[SoterPeerProtocol], Coroutine[Deferred[Any], Any, T]]
    ) -> dict[SoterPeerProtocol, T]:
        """Ask several peers at the same time; return the answers of those that gave one."""
        asked = list(peers)
        questions = [Deferred.fromCoroutine(self._ask(each, ask)) for each in asked]
        try:
            results = await gatherResults(questions, consumeErrors=True)
        except FirstError as error:
            # one was cancelled, or is broken
            for each in questions:
                each.cancel()
            raise cast(Exception, error.subFailure.value) from None
        return {peer: answer[0] for peer, answer in zip(asked, results, strict=True) if answer}

    async def _ask(
        self, peer: SoterPeerProtocol, ask: Callable[[SoterPeerProtocol], Coroutine[Deferred[Any], Any, T]]
    ) -> tuple[T, ...]:
        try:
            answer = await ask(peer)
        except UNANSWERED as error:
            self.failed(peer, error)
            return ()
        self.answered(peer)
        return (answer,)

    async def hashes(self, peer: SoterPeerProtocol, start: int, stop: Hash) -> CFHeaders:
        """Ask a peer for filter hashes.

        :raises RequestFailed: if it does not answer.
        """
        question = GetCFHeaders(start_height=start, stop=stop)

        def is_answer(answer: CFHeaders) -> bool:
            return answer.filter_type == REGULAR_FILTER and answer.stop == stop

        return await peer.request(question, CFHeaders, self.timeout, is_answer)

    async def filters(
        self, peer: SoterPeerProtocol, start: int, stop: Hash, wanted: Iterable[Hash]
    ) -> AsyncGenerator[tuple[Hash, bytes], None]:
        """Ask a peer for the filters of a range, and iterate over those that are wanted, by block, each once.

        It ends with that of ``stop``, the last of the range; one that the peer leaves out does not come.

        :param wanted: blocks of the range, ``stop`` among them.
        :raises RequestFailed: if the next does not come.
        """
        missing = set(wanted)

        def is_wanted(answer: CFilter) -> bool:
            if answer.filter_type != REGULAR_FILTER or answer.block_hash not in missing:
                return False
            missing.remove(answer.block_hash)
            return True

        question = GetCFilters(start_height=start, stop=stop)
        answers = peer.request_all(
            question, CFilter, until=lambda answer: answer.block_hash == stop, timeout=self.timeout, matching=is_wanted
        )
        async with aclosing(answers):
            async for answer in answers:
                yield answer.block_hash, answer.data

    async def filter(self, peer: SoterPeerProtocol, record: HeaderRecord) -> bytes:
        """Ask a peer for the filter of one block.

        :raises RequestFailed: if it does not answer.
        """
        question = GetCFilters(start_height=record.height, stop=record.hash)

        def is_answer(answer: CFilter) -> bool:
            return answer.filter_type == REGULAR_FILTER and answer.block_hash == record.hash

        return (await peer.request(question, CFilter, self.timeout, is_answer)).data

    async def block(self, record: HeaderRecord) -> Block | None:
        """Fetch a block with its witnesses, of whatever peer has it; a peer whose block is another one is dropped.

        :return: the block, verified against its header; None if no peer sends it.
        """
        vector = InventoryVector(InventoryType.WITNESS_BLOCK, record.hash, record.height)
        for peer in self.offering():
            self._fetching.setdefault(peer, set()).add(record.hash)
            try:
                block = await peer.request(GetData([vector]), Block, self.timeout)
                block.verify()
            except UNANSWERED as error:
                self.failed(peer, error)
            except InvalidBlock as error:
                self.punish(peer, INVALID, f"its block breaks a rule: {error.rule}")
            else:
                self.answered(peer)
                return block
        return None
