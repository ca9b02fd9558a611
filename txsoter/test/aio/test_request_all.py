"""`request_all()`: answers one by one, with back-pressure, and every way in which they end; with both adapters."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    FieldError,
    InvalidProof,
    RequestClosed,
    RequestFailed,
    RequestNotFound,
    RequestRejected,
    RequestTimedOut,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import blocks, hash_of, tx
from txsoter.wire import (
    Block,
    BlockHeader,
    CFilter,
    GetCFilters,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    MemPool,
    MerkleBlock,
    NotFound,
    Ping,
    Pong,
    Reject,
    Tx,
)
from txsoter.wire.partial_merkle import partial_tree, proven

FILTERS = [CFilter(hash_of(number), bytes([number])) for number in range(1, 6)]
ASKED = GetCFilters(start_height=1, stop=hash_of(5))


def wanted(*messages: Block | Tx | MerkleBlock, kind: int = InventoryType.BLOCK) -> GetData:
    """Asks for these."""
    return GetData([InventoryVector(kind, each.txid if isinstance(each, Tx) else each.hash) for each in messages])


async def collect(answers: Any, into: list[Any]) -> None:
    """Take all answers."""
    async for each in answers:
        into.append(each)


async def failed(world: World, answers: Any, expected: type[RequestFailed]) -> Any:
    """Return the error that the next answer is."""
    with pytest.raises(expected) as raised:
        await answers.__anext__()
    with pytest.raises(StopAsyncIteration):
        await answers.__anext__()
    return raised.value


# -- the end -----------------------------------------------------------------------------------


@conversation
async def test_until_the_last_one(world: World) -> None:
    """Answers come one by one until one of them is the last; what follows is nobody's."""
    peer, remote = await world.scripted()
    taken: list[Any] = []
    over = world.start(
        collect(peer.request_all(ASKED, CFilter, until=lambda each: each.block_hash == hash_of(5)), taken)
    )
    assert await remote.hear() == [ASKED]
    remote.say(*FILTERS[:2])
    await remote.hear()
    assert taken == FILTERS[:2]
    remote.say(*FILTERS[2:], FILTERS[0])
    await over
    assert taken == FILTERS
    assert peer.stats().pending_requests == 0


@conversation
async def test_count(world: World) -> None:
    """So many, and no more."""
    peer, remote = await world.scripted()
    taken: list[Any] = []
    over = world.start(collect(peer.request_all(ASKED, CFilter, count=3), taken))
    await remote.hear()
    remote.say(*FILTERS)
    await over
    assert taken == FILTERS[:3]


@conversation
async def test_getdata_is_over_when_everything_has_come(world: World) -> None:
    """In whatever order; what was not asked for, or comes twice, is no answer."""
    peer, remote = await world.scripted()
    one, two, other = blocks(3)
    taken: list[Any] = []
    over = world.start(collect(peer.request_all(wanted(one, two), Block), taken))
    await remote.hear()
    remote.say(two, other, two, one)
    await over
    assert taken == [two, one]


def filtered(*wanted_: Tx) -> MerkleBlock:
    """A block that proves these, and holds another transaction."""
    txids = [each.txid for each in (*wanted_, tx(99))]
    hashes, flags = partial_tree(txids, [*[True] * len(wanted_), False])
    root, _ = proven(len(txids), hashes, flags)
    return MerkleBlock(BlockHeader(merkle_root=root), len(txids), hashes, flags)


@conversation
async def test_filtered_blocks_and_their_transactions(world: World) -> None:
    """In the order in which they come; each block says which transactions follow, and behind the last it is over."""
    peer, remote = await world.scripted()
    first, second = filtered(tx(1), tx(2)), filtered(tx(3))
    taken: list[Any] = []
    question = wanted(first, second, kind=InventoryType.FILTERED_BLOCK)
    over = world.start(collect(peer.request_all(question, (MerkleBlock, Tx)), taken))
    await remote.hear()
    remote.say(first, tx(1), filtered(tx(8)), tx(8), tx(2), second, tx(3), tx(1))
    await over
    assert taken == [first, tx(1), tx(2), second, tx(3)]


@conversation
async def test_a_filtered_block_that_proves_nothing(world: World) -> None:
    """It is an error, for nothing tells what follows; unless no transactions are asked for."""
    peer, remote = await world.scripted()
    false = MerkleBlock(BlockHeader(nonce=5), 1, [hash_of(1)], b"\x01")
    question = wanted(false, kind=InventoryType.FILTERED_BLOCK)
    over = world.start(_invalid(peer.request_all(question, (MerkleBlock, Tx))))
    await remote.hear()
    remote.say(false)
    await over
    taken: list[Any] = []
    over = world.start(collect(peer.request_all(question, MerkleBlock), taken))
    await remote.hear()
    remote.say(false)
    await over
    assert taken == [false]


async def _invalid(answers: Any) -> None:
    with pytest.raises(InvalidProof):
        await answers.__anext__()


@conversation
async def test_then(world: World) -> None:
    """Headers up to the tip: a question after each answer, which is sent when the loop goes on."""
    peer, remote = await world.scripted()
    answers = [Headers([BlockHeader(nonce=1)]), Headers([BlockHeader(nonce=2)]), Headers()]
    heights = iter([7, 8])

    def then(answer: Headers) -> GetHeaders | None:
        return GetHeaders(height=next(heights)) if answer.headers else None

    iterator = peer.request_all(GetHeaders(height=6), Headers, then=then)
    for number, answer in enumerate(answers):
        taken: list[Any] = []
        over = world.start(collect(_one(iterator), taken))
        assert await remote.hear() == [GetHeaders(height=6 + number)]
        # far longer than the timeout, which is for each answer, may the loop take
        remote.say(answer)
        await over
        assert taken == [answer]
        await world.sleep(40)
    assert await _all(iterator) == []


async def _one(iterator: Any) -> Any:
    yield await iterator.__anext__()


async def _all(iterator: Any) -> list[Any]:
    return [each async for each in iterator]


# -- failures ----------------------------------------------------------------------------------


@conversation
async def test_notfound_fails_behind_the_answers_before_it(world: World) -> None:
    """It names what is lacking."""
    peer, remote = await world.scripted()
    one, two = blocks(2)
    question = wanted(one, two)
    answers = peer.request_all(question, Block)
    first = world.start(collect(_one(answers), []))
    await remote.hear()
    remote.say(one, NotFound([question.vectors[1]]))
    await first
    error = await failed(world, answers, RequestNotFound)
    assert list(error.vectors) == [question.vectors[1]]
    assert peer.stats().pending_requests == 0


@conversation
async def test_notfound_among_the_answers(world: World) -> None:
    """With NotFound among the classes what is lacking is no error, and counts as having come."""
    peer, remote = await world.scripted()
    one, two = blocks(2)
    question = wanted(one, two)
    lacking = NotFound([question.vectors[0]])
    taken: list[Any] = []
    over = world.start(collect(peer.request_all(question, (Block, NotFound)), taken))
    await remote.hear()
    remote.say(NotFound(wanted(*blocks(3)[2:]).vectors), lacking, two)
    await over
    assert taken == [lacking, two]


@conversation
async def test_each_answer_has_its_time(world: World) -> None:
    """Timeouts are per answer, from when it is waited for."""
    peer, remote = await world.scripted()
    answers = peer.request_all(ASKED, CFilter, count=3, timeout=10)
    for each in FILTERS[:2]:
        one = world.start(collect(_one(answers), []))
        await world.sleep(9)
        remote.say(each)
        await one
        # the loop is busy
        await world.sleep(100)
    error = await failed(world, answers, RequestTimedOut)
    assert error.timeout == 10
    assert peer.state is State.READY


@conversation
async def test_reject(world: World) -> None:
    """The remote's words."""
    peer, remote = await world.scripted()
    answers = peer.request_all(MemPool(), Inv, count=2)
    over = world.start(_rejected(world, answers))
    await remote.hear()
    remote.say(Reject(b"mempool", 0x10, b"no"))
    await over


async def _rejected(world: World, answers: Any) -> None:
    assert (await failed(world, answers, RequestRejected)).reason == "no"


@conversation
async def test_closing_fails_behind_the_answers_before_it(world: World) -> None:
    """What has come is still had; then the reason."""
    peer, remote = await world.scripted()
    answers = peer.request_all(ASKED, CFilter, count=5)
    first = world.start(collect(_one(answers), []))
    await remote.hear()
    remote.say(*FILTERS[:2])
    await first
    await remote.hear()
    peer.disconnect("enough")
    assert await answers.__anext__() == FILTERS[1]
    error = await failed(world, answers, RequestClosed)
    assert error.reason.cause is CloseCause.DISCONNECT
    await failed(world, peer.request_all(ASKED, CFilter, count=5), RequestClosed)


@conversation
async def test_until_that_fails(world: World) -> None:
    """Its error is the caller's; the connection stays."""
    peer, remote = await world.scripted()
    over = world.start(_divides(peer.request_all(ASKED, CFilter, until=lambda each: 1 // 0)))
    await remote.hear()
    remote.say(FILTERS[0])
    await over
    assert (peer.state, peer.stats().pending_requests) == (State.READY, 0)


async def _divides(answers: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        await answers.__anext__()


@conversation
async def test_arguments(world: World) -> None:
    """What cannot be is said at once, before anything is sent."""
    peer, remote = await world.scripted()
    one = wanted(*blocks(1))
    wrong: list[tuple[str, Any, Any, dict[str, Any]]] = [
        ("count", ASKED, CFilter, {}),
        ("count", ASKED, CFilter, {"count": 0}),
        ("count", one, Block, {"matching": bool}),
        ("until", ASKED, CFilter, {"until": 5}),
        ("then", ASKED, CFilter, {"then": 5}),
        ("timeout", ASKED, CFilter, {"count": 1, "timeout": 0}),
        ("matching", ASKED, CFilter, {"count": 1, "matching": 1}),
        ("expected_type", ASKED, (), {"count": 1}),
        ("expected_type", ASKED, (CFilter, 5), {"count": 1}),
        ("GetData.vectors", GetData(), Block, {}),
        ("message", 5, Block, {"count": 1}),
    ]
    for field, message, expected, options in wrong:
        with pytest.raises(FieldError) as raised:
            peer.request_all(message, expected, **options)
        assert raised.value.field == field
    assert await remote.hear() == []


# -- back-pressure -----------------------------------------------------------------------------


@conversation
async def test_what_is_not_taken_keeps_the_remote_waiting(world: World) -> None:
    """One answer is held, whatever the loop does, and however long; then it goes on."""
    peer, remote = await world.scripted()
    large = [CFilter(hash_of(number), bytes(20_000)) for number in range(40)]
    taken: list[Any] = []
    answers = peer.request_all(ASKED, CFilter, count=40)
    first = world.start(collect(_one(answers), taken))
    await remote.hear()
    remote.say(large[0], large[1], large[2])
    await first
    await world.sleep(400)
    stats = peer.stats()
    assert not stats.is_reading
    assert stats.held_bytes < 70_000
    assert stats.received["cfilter"].messages == 2
    assert peer.state is State.READY
    over = world.start(collect(answers, taken))
    for start in range(3, 40, 5):
        remote.say(*large[start : start + 5])
        await remote.hear()
    await over
    assert taken == large
    assert peer.stats().held_bytes == 0


@conversation
async def test_another_request_in_the_loop(world: World) -> None:
    """Its answer is read although others wait to be taken, as many as may be read ahead."""
    peer, remote = await world.scripted()
    taken: list[Any] = []

    async def main() -> None:
        async for each in peer.request_all(ASKED, CFilter, count=5):
            taken.append((each, await peer.request(Ping(len(taken)), Pong)))

    over = world.start(main())
    await remote.hear()
    remote.say(*FILTERS)
    for number in range(5):
        assert await remote.hear() == [Ping(number)]
        remote.say(Pong(number))
    await over
    assert taken == [(each, Pong(number)) for number, each in enumerate(FILTERS)]


@conversation
async def test_no_more_is_read_for_another_request_than_may_be(world: World) -> None:
    """The limit of what is read ahead holds; the other request times out then."""
    peer, remote = await world.scripted(simnet(lookahead_limit=50_000))
    outcome: list[Any] = []

    async def main() -> None:
        async for _ in peer.request_all(ASKED, CFilter, count=100):
            try:
                await peer.request(Ping(1), Pong, timeout=5)
            except RequestTimedOut as error:
                outcome.append((error, peer.stats().held_bytes))
            return

    over = world.start(main())
    await remote.hear()
    for number in range(10):
        remote.say(CFilter(hash_of(number), bytes(20_000)))
        await remote.hear()
    remote.say(Pong(1))
    await over
    [(_, held)] = outcome
    assert 50_000 < held < 150_000


@conversation
async def test_in_a_listener(world: World) -> None:
    """The loop may be in a listener, which keeps the messages behind it waiting."""
    taken: list[Any] = []
    seen: list[Any] = []

    async def on_ping(peer: Any, ping: Ping) -> None:
        await collect(peer.request_all(ASKED, CFilter, count=5), taken)
        seen.append(ping)

    _, remote = await world.scripted(simnet(on_ping=on_ping, on_cfilter=lambda peer, each: seen.append(each)))
    remote.say(Ping(1))
    assert ASKED in await remote.hear()
    remote.say(*FILTERS)
    await remote.hear()
    assert taken == FILTERS
    assert seen == [Ping(1), *FILTERS]


# -- leaving -----------------------------------------------------------------------------------


@conversation
async def test_leaving_early_leaves_nothing(world: World) -> None:
    """By break, by aclosing, and without beginning; what was kept is forgotten, and reading goes on."""
    peer, remote = await world.scripted()
    peer.request_all(ASKED, CFilter, count=5)
    assert await remote.hear() == []

    async def leave() -> None:
        async for _ in peer.request_all(ASKED, CFilter, count=5):
            await world.sleep(1)
            break

    async def close() -> None:
        async with aclosing(peer.request_all(ASKED, CFilter, count=5)) as answers:
            async for _ in answers:
                await world.sleep(1)
                return

    for each in (leave, close):
        over = world.start(each())
        assert await remote.hear() == [ASKED]
        remote.say(*FILTERS, Ping(7))
        assert await remote.hear() == []
        await over
        assert await remote.hear() == [Pong(7)]
        stats = peer.stats()
        assert (stats.pending_requests, stats.held_bytes, stats.is_reading) == (0, 0, True)


@conversation
async def test_cancelled_while_it_waits(world: World) -> None:
    """Nothing is left of it."""
    peer, remote = await world.scripted()
    waiting: Any = world.start(collect(peer.request_all(ASKED, CFilter, count=5), []))
    await remote.hear()
    assert peer.stats().pending_requests == 1
    waiting.cancel()
    try:
        await waiting
    except BaseException as error:
        assert type(error).__name__ == "CancelledError"
    remote.say(*FILTERS)
    await remote.hear()
    assert peer.stats().pending_requests == 0
