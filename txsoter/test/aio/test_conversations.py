"""Conversations that both adapters must have alike: one test, run with Twisted's peers and with asyncio's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    FieldError,
    HandshakeFailed,
    LocalError,
    MalformedMessage,
    RequestClosed,
    RequestNotFound,
    RequestRejected,
    RequestTimedOut,
    SendQueueFull,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import AFTER_HANDSHAKE, as_block, as_tx, blocks, framed, hash_of, tx
from txsoter.testing import remote_version
from txsoter.wire import (
    Block,
    FilterLoad,
    GetBlocks,
    GetData,
    GetHeaders,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NetAddress,
    NotFound,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    Tx,
    Unknown,
    VerAck,
    Version,
)

MIB = 1024 * 1024


# -- the handshake -----------------------------------------------------------------------------


@conversation
async def test_both_sides_become_ready(world: World) -> None:
    """Each is told once, and knows what the other has said of itself."""
    ready: list[Any] = []
    client, server = await world.pair(
        simnet(on_ready=ready.append, user_agent_name="one", newest_block=lambda: 7), simnet(on_ready=ready.append)
    )
    assert await client.when_ready() is client
    assert await server.when_ready() is server
    await world.sleep(1)
    assert len(ready) == 2
    assert set(map(id, ready)) == {id(client), id(server)}
    assert (client.state, server.state) == (State.READY, State.READY)
    assert client.close_reason is server.close_reason is None
    stats = server.stats()
    assert (stats.inbound, stats.starting_height, stats.negotiated_version) == (True, 7, 70013)
    assert b"/one:" in stats.user_agent
    assert stats.id == server.id != client.id
    assert stats.state == "ready"


@conversation
async def test_a_remote_of_another_network_is_refused(world: World) -> None:
    """It is told why, and so is whoever waits."""
    closed: list[CloseReason] = []
    peer, remote = await world.scripted(simnet(on_closed=lambda peer, reason: closed.append(reason)), handshake=False)
    ready = peer.when_ready()
    remote.say(remote_version(genesis_hash=hash_of(1)))
    with pytest.raises(HandshakeFailed) as failure:
        await ready
    assert failure.value.reason.cause is CloseCause.WRONG_GENESIS
    reason = await peer.when_closed()
    version, reject = await remote.hear()
    assert closed == [failure.value.reason] == [reason]
    assert isinstance(version, Version)
    assert isinstance(reject, Reject)
    assert reject.code == RejectCode.INVALID
    assert await remote.is_closed()
    with pytest.raises(HandshakeFailed):
        await peer.when_ready()


@conversation
async def test_a_coroutine_may_refuse_a_version(world: World) -> None:
    """What it returns is sent, and the connection ends."""

    async def refuse(peer: Any, version: Version) -> Reject:
        await world.sleep(2)
        return Reject(b"version", RejectCode.OBSOLETE, b"too old")

    peer, remote = await world.scripted(simnet(on_version=refuse), inbound=True, handshake=False)
    remote.say(remote_version(), VerAck())
    assert (await peer.when_closed()).cause is CloseCause.REFUSED_BY_LISTENER
    assert await remote.hear() == [Reject(b"version", RejectCode.OBSOLETE, b"too old")]


@conversation
async def test_a_silent_remote_is_closed(world: World) -> None:
    """The handshake has a limit of time."""
    peer, _ = await world.scripted(handshake=False)
    await world.sleep(29)
    assert not peer.is_closing
    await world.sleep(2)
    assert peer.close_reason.cause is CloseCause.NEGOTIATION_TIMEOUT
    with pytest.raises(HandshakeFailed):
        await peer.when_ready()


@conversation
async def test_a_process_that_dials_itself_is_closed(world: World) -> None:
    """Unless the config allows it."""
    client, server = await world.pair(simnet(allow_self_connections=False), simnet(allow_self_connections=False))
    reasons = [await client.when_closed(), await server.when_closed()]
    assert CloseCause.SELF_CONNECTION in [each.cause for each in reasons]


@conversation
async def test_messages_sent_before_the_handshake_wait_for_it(world: World) -> None:
    """They come behind the verack, in order; what is not encodable is refused at once."""
    peer, remote = await world.scripted(handshake=False)
    done = [peer.send(Ping(1)), peer.send(SendHeaders())]
    assert [type(each) for each in await remote.hear()] == [Version]
    remote.say(remote_version(), VerAck())
    for each in done:
        await each
    assert await remote.hear() == [VerAck(), Ping(1), SendHeaders()]
    with pytest.raises(LocalError):
        peer.send(Ping(-1))


# -- messages ----------------------------------------------------------------------------------


@conversation
async def test_every_message_reaches_its_listener(world: World) -> None:
    """And arrives as it was sent."""
    heard: list[Message] = []
    names = [f"on_{each.command}" for each in AFTER_HANDSHAKE if each.command != "block"]
    hooks: dict[str, Callable[..., Any]] = {name: lambda peer, message: heard.append(message) for name in names}
    hooks["on_block"] = lambda peer, block, payload: heard.append(block)
    hooks["on_unknown"] = lambda peer, message: heard.append(message)
    client, server = await world.pair(simnet(), simnet(services=4, **hooks))
    await client.when_ready()
    # pings and pongs of their own come between
    sent = [*[each for each in AFTER_HANDSHAKE if not isinstance(each, Pong)], Unknown("hello", b"there")]
    for message in sent:
        await client.send(message)
    await world.sleep(1)
    assert heard == sent
    assert server.stats().received["ping"].messages == 1
    assert client.stats().sent["getdata"].messages == 1
    assert server.stats().bytes_received == client.stats().bytes_sent


@conversation
async def test_listeners_by_class_and_observers(world: World) -> None:
    """``on_message`` has what was listened to by class; ``on_read`` and ``on_write`` see everything with its size."""
    by_class: list[Message] = []
    read: list[tuple[int, Any, Any]] = []
    written: list[tuple[int, Any, Any]] = []
    config = simnet(
        on_message={SendHeaders: lambda peer, message: by_class.append(message)},
        on_read=lambda peer, *rest: read.append(rest),
        on_write=lambda peer, *rest: written.append(rest),
    )
    _peer, remote = await world.scripted(config)
    remote.say(SendHeaders(), Ping(5))
    assert await remote.hear() == [Pong(5)]
    assert by_class == [SendHeaders()]
    assert [(size, type(message), error) for size, message, error in read[2:]] == [
        (24, SendHeaders, None),
        (32, Ping, None),
    ]
    assert [type(message) for _, message, _ in written] == [Version, VerAck, Pong]
    assert written[2] == (32, Pong(5), None)


@conversation
async def test_one_message_after_the_other(world: World) -> None:
    """The next waits until a coroutine is done; the order is that in which they came."""
    steps: list[str] = []

    async def slowly(peer: Any, ping: Ping) -> None:
        steps.append(f"begin {ping.nonce}")
        await world.sleep(3 - ping.nonce)
        steps.append(f"end {ping.nonce}")

    peer, remote = await world.scripted(
        simnet(on_ping=slowly, on_sendheaders=lambda peer, message: steps.append("sendheaders"))
    )
    remote.say(Ping(1), SendHeaders(), Ping(2))
    await world.sleep(1)
    assert steps == ["begin 1"]
    assert peer.stats().handling == "ping"
    await world.sleep(10)
    assert steps == ["begin 1", "end 1", "sendheaders", "begin 2", "end 2"]
    assert peer.stats().handling is None


@conversation
async def test_a_listener_that_fails_is_counted(world: World) -> None:
    """It is no fault of the remote's; with ``close_on_handler_error`` it ends the connection."""

    def fail(peer: Any, ping: Ping) -> None:
        raise ZeroDivisionError

    async def fail_later(peer: Any, message: SendHeaders) -> None:
        await world.sleep(1)
        raise ZeroDivisionError("later")

    peer, remote = await world.scripted(simnet(on_ping=fail, on_sendheaders=fail_later))
    remote.say(Ping(1), SendHeaders(), Ping(2))
    await world.sleep(2)
    assert await remote.hear() == [Pong(1), Pong(2)]
    assert (peer.stats().handler_errors, peer.state) == (3, State.READY)
    peer, remote = await world.scripted(simnet(on_sendheaders=fail_later, close_on_handler_error=True))
    remote.say(SendHeaders())
    reason = await peer.when_closed()
    assert (reason.cause, reason.command, reason.detail) == (CloseCause.HANDLER_FAILED, "sendheaders", "later")


@conversation
async def test_malformed_bytes_close(world: World) -> None:
    """The remote is told so, and ``on_read`` has the error."""
    read: list[Any] = []
    peer, remote = await world.scripted(simnet(on_read=lambda peer, size, message, error: read.append(error)))
    remote.say(framed(Ping(1))[:-1] + b"\xff")
    reason = await peer.when_closed()
    assert (reason.by, reason.cause, reason.command) == (ClosedBy.LOCAL, CloseCause.MALFORMED, "ping")
    assert isinstance(read[-1], MalformedMessage)
    [reject] = await remote.hear()
    assert isinstance(reject, Reject)
    assert reject.rejected == b"malformed"
    assert peer.stats().malformed == 1


@conversation
async def test_a_message_in_pieces(world: World) -> None:
    """Bytes may come one at a time."""
    heard: list[Message] = []
    _peer, remote = await world.scripted(simnet(on_ping=lambda peer, ping: heard.append(ping)))
    for byte in framed(Ping(77)):
        remote.say(bytes([byte]))
        await world.sleep(0.001)
    assert heard == [Ping(77)]
    assert await remote.hear() == [Pong(77)]


@conversation
async def test_bloom_commands_close_who_does_not_serve_them(world: World) -> None:
    """As the protocol has it from version 70011 on."""
    peer, remote = await world.scripted()
    remote.say(FilterLoad(b"\xff", 5, 15, 1))
    assert (await peer.when_closed()).cause is CloseCause.BLOOM_DISABLED


# -- requests ----------------------------------------------------------------------------------


@conversation
async def test_requests_have_their_answers(world: World) -> None:
    """By hash, by nonce, by class, by ``matching``."""
    first, second = blocks(2)

    def serve(peer: Any, question: GetData) -> None:
        for vector in question.vectors:
            found = [each for each in (first, second) if each.hash == vector.hash]
            peer.send(found[0] if found else NotFound([vector]))

    client, server = await world.pair(
        simnet(), simnet(on_getdata=serve, on_getblocks=lambda peer, question: peer.send(Inv([as_block(3)])))
    )
    await client.when_ready()
    questions = [
        client.request(GetData([InventoryVector(InventoryType.BLOCK, each.hash)]), Block) for each in (second, first)
    ]
    assert [await each for each in questions] == [second, first]
    assert await client.request(Ping(8), Pong) == Pong(8)
    assert (await client.request(GetBlocks(height=2), Inv)).vectors[0].height == 3
    with pytest.raises(RequestNotFound):
        await client.request(GetData([as_tx(5)]), Tx)
    chosen = client.request(GetBlocks(height=2), Inv, 5, lambda inv: len(inv.vectors) == 2)
    await server.send(Inv([as_tx(1), as_tx(2)]))
    assert len((await chosen).vectors) == 2


@conversation
async def test_requests_fail(world: World) -> None:
    """By a reject, by time, by the end of the connection; and when they cannot be asked at all."""
    peer, remote = await world.scripted(simnet(stall_timeout=None))
    rejected = peer.request(GetData([as_tx(9)]), Tx)
    remote.say(Reject(b"tx", 0x10, b"no such luck", hash_of(9)))
    with pytest.raises(RequestRejected, match="no such luck"):
        await rejected
    with pytest.raises(RequestTimedOut, match="within 3 s"):
        await peer.request(GetHeaders(height=1), Inv, timeout=3)
    with pytest.raises(FieldError):
        peer.request(GetData([]), Tx)
    last = peer.request(GetData([as_tx(9)]), Tx, timeout=None)
    await world.sleep(100)
    await remote.hear()
    remote.hang_up()
    with pytest.raises(RequestClosed) as failure:
        await last
    assert failure.value.reason.cause is CloseCause.REMOTE_CLOSED
    assert failure.value.reason == await peer.when_closed()
    with pytest.raises(RequestClosed):
        await peer.request(Ping(1), Pong)


@conversation
async def test_a_request_that_is_given_up_takes_no_answer(world: World) -> None:
    """The next who asks has it."""
    peer, remote = await world.scripted()
    given_up, waits = peer.request(GetBlocks(height=1), Inv), peer.request(GetBlocks(height=1), Inv)
    given_up.cancel()
    assert peer.stats().pending_requests == 1
    remote.say(Inv([as_block(4)]))
    assert (await waits).vectors[0].height == 4
    with pytest.raises((asyncio.CancelledError, CancelledError)):
        await given_up


@conversation
async def test_a_listener_may_ask_its_own_peer(world: World) -> None:
    """What came before the answer is handled behind it, in order."""
    steps: list[object] = []
    wanted = tx(1)

    async def fetch(peer: Any, inv: Inv) -> None:
        found = await peer.request(GetData(list(inv.vectors)), Tx)
        steps.append(found)

    _peer, remote = await world.scripted(
        simnet(on_inv=fetch, on_ping=lambda peer, ping: steps.append(ping), on_tx=lambda peer, tx: steps.append("tx"))
    )
    remote.say(Inv([InventoryVector(InventoryType.TX, wanted.txid)]), Ping(1))
    assert [type(each) for each in await remote.hear()] == [GetData]
    remote.say(Ping(2), wanted, Ping(3))
    await world.sleep(1)
    assert steps == [wanted, Ping(1), Ping(2), "tx", Ping(3)]


# -- sending -----------------------------------------------------------------------------------


@conversation
async def test_sending_waits_for_a_remote_that_does_not_read(world: World) -> None:
    """It goes on when that reads again, and nothing is lost."""
    peer, remote = await world.scripted(simnet(write_timeout=None))
    remote.stop_reading()
    sent = 0

    async def send_all() -> None:
        nonlocal sent
        for number in range(40):
            await peer.send(Unknown("filler", bytes([number]) * 100_000))
            sent += 1

    waits = peer.send(Ping(0))
    await waits
    over = world.start(send_all())
    await world.sleep(60)
    assert sent < 20
    assert peer.stats().queue_bytes < 200_000
    heard = await remote.hear()
    await over
    heard += await remote.hear()
    payloads = [each.payload[0] for each in heard if isinstance(each, Unknown)]
    assert (sent, payloads) == (40, list(range(40)))


@conversation
async def test_a_full_send_queue_refuses(world: World) -> None:
    """Past the hard limit a message is not sent; past the soft one nothing is read."""
    peer, remote = await world.scripted(simnet(soft_queue_limit=MIB, hard_queue_limit=2 * MIB, read_on_after=None))
    remote.stop_reading()
    filler = Unknown("filler", bytes(500_000))
    results = [peer.send(filler) for _ in range(8)]
    assert not peer.stats().is_reading
    heard = await remote.hear()
    await world.sleep(1)
    heard += await remote.hear()
    assert peer.stats().is_reading
    outcomes = []
    for each in results:
        try:
            outcomes.append(await each)
        except SendQueueFull:
            outcomes.append("refused")
    assert 3 <= len(heard) == outcomes.count(None)
    assert outcomes.count("refused") == 8 - len(heard) > 0
    assert peer.stats().queue_bytes == 0


@conversation
async def test_a_remote_that_takes_nothing_is_closed(world: World) -> None:
    """The write timeout; what waits fails."""
    peer, remote = await world.scripted()
    remote.stop_reading()
    results = [peer.send(Unknown("filler", bytes(400_000))) for _ in range(8)]
    reason = await peer.when_closed()
    assert reason.cause is CloseCause.WRITE_TIMEOUT
    with pytest.raises(ConnectionClosed):
        await results[-1]


# -- time --------------------------------------------------------------------------------------


@conversation
async def test_pings_go_out_and_are_measured(world: World) -> None:
    """One in two minutes; the pong's round trip is told."""
    trips: list[float] = []
    peer, remote = await world.scripted(simnet(on_round_trip=lambda peer, seconds: trips.append(seconds)))
    for _ in range(3):
        await world.sleep(121)
        [ping] = await remote.hear()
        assert isinstance(ping, Ping)
        remote.say(Pong(ping.nonce))
    await world.sleep(1)
    assert len(trips) == 3
    assert peer.stats().ping_micros is not None


@conversation
async def test_an_idle_remote_is_closed(world: World) -> None:
    """After five minutes without a message."""
    peer, _ = await world.scripted()
    await world.sleep(295)
    assert not peer.is_closing
    await world.sleep(10)
    assert peer.close_reason.cause is CloseCause.IDLE


@conversation
async def test_a_remote_that_owes_an_answer_is_closed(world: World) -> None:
    """Its stall is named by what was asked."""
    peer, _ = await world.scripted()
    await peer.send(GetBlocks(height=1))
    reason = await peer.when_closed()
    assert (reason.cause, reason.command) == (CloseCause.STALLED, "getblocks")


@conversation
async def test_a_remote_that_talks_too_fast_is_read_slowly(world: World) -> None:
    """Nothing is lost by that, and it is not closed."""
    heard: list[Message] = []
    _peer, remote = await world.scripted(
        simnet(on_ping=lambda peer, ping: heard.append(ping), max_messages_per_second=10)
    )
    remote.say(*[Ping(number) for number in range(100)])
    await world.sleep(2)
    assert 10 <= len(heard) < 50
    await world.sleep(20)
    assert heard == [Ping(number) for number in range(100)]


# -- announcing --------------------------------------------------------------------------------


@conversation
async def test_inventory_is_announced(world: World) -> None:
    """Blocks at once, all else together with the next trickle, nothing that the remote has."""
    peer, remote = await world.scripted()
    peer.add_known_inventory(as_tx(2))
    for number in (1, 2, 3, 3):
        peer.queue_inventory(as_tx(number))
    peer.queue_inventory(as_block(4))
    assert await remote.hear() == [Inv([as_block(4)])]
    await world.sleep(10)
    assert await remote.hear() == [Inv([as_tx(1), as_tx(3)])]
    peer.queue_inventory(as_tx(1))
    await world.sleep(20)
    assert await remote.hear() == []
    peer.queue_inventory(as_tx(1), force=True)
    await world.sleep(20)
    assert await remote.hear() == [Inv([as_tx(1)])]
    with pytest.raises(FieldError):
        peer.queue_inventory(("x", b"", 0))


@conversation
async def test_addresses_and_questions_are_pushed(world: World) -> None:
    """A repeated question is dropped, unless it asks for more."""
    peer, remote = await world.scripted(simnet(stall_timeout=None))
    address = NetAddress(1, "192.0.2.7", 18555, 1234)
    assert peer.push_addresses([]) == []
    assert peer.push_addresses([address]) == [address]
    assert len(peer.push_address_cache([address], [], [address])) == 1
    await peer.push_get_headers(5)
    await peer.push_get_headers(5)
    await peer.push_get_blocks(5, hash_of(1))
    await peer.push_get_blocks(5, hash_of(1))
    await peer.push_get_blocks(5)
    await peer.push_get_blocks(5)
    commands = [each.command for each in await remote.hear()]
    assert commands == ["addr", "addrcache", "getheaders", "getblocks", "getblocks", "getblocks"]
    peer.update_height(9)
    peer.update_height(3)
    peer.update_announced_block(hash_of(9))
    assert (peer.stats().max_height, peer.stats().last_announced_block) == (9, hash_of(9))


@conversation
async def test_rejects_are_pushed(world: World) -> None:
    """Of text or bytes; not to a remote too old to know them."""
    peer, remote = await world.scripted()
    await peer.push_reject("inv", 0x10, "why not")
    await peer.push_reject(b"tx", 0x12, b"spent", hash_of(1))
    assert await remote.hear() == [Reject(b"inv", 0x10, b"why not"), Reject(b"tx", 0x12, b"spent", hash_of(1))]
    with pytest.raises(FieldError):
        peer.push_reject(5, 0x10, "")
    old, remote = await world.scripted(simnet(protocol_version=209), handshake=False)
    remote.say(remote_version(), VerAck())
    await old.when_ready()
    await remote.hear()
    await old.push_reject("inv", 0x10, "why not")
    assert await remote.hear() == []


# -- the end -----------------------------------------------------------------------------------


@conversation
async def test_both_sides_know_why(world: World) -> None:
    """We by the reason that was given, the remote by ours having closed; calls after the first change nothing."""
    client, server = await world.pair()
    await client.when_ready()
    await server.when_ready()
    reason = await client.disconnect("enough")
    assert (reason.by, reason.cause, reason.detail) == (ClosedBy.LOCAL, CloseCause.DISCONNECT, "enough")
    assert await client.disconnect("again") is reason is client.close_reason
    theirs = await server.when_closed()
    assert (theirs.by, theirs.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)
    for peer in (client, server):
        assert peer.is_closing
        with pytest.raises(ConnectionClosed):
            await peer.when_ready()
        with pytest.raises(ConnectionClosed):
            await peer.send(Ping(1))
        peer.queue_inventory(as_block(1))


@conversation
async def test_a_message_sent_just_before_the_end_arrives(world: World) -> None:
    """What the transport takes at once still goes out."""
    peer, remote = await world.scripted()
    peer.send(Ping(1))
    peer.disconnect()
    assert await remote.hear() == [Ping(1)]
    assert await remote.is_closed()


@conversation
async def test_a_listener_may_end_the_connection(world: World) -> None:
    """And wait for the end; the messages behind are not handled."""
    steps: list[object] = []

    async def end(peer: Any, ping: Ping) -> None:
        steps.append((await peer.disconnect("seen enough")).detail)

    peer, remote = await world.scripted(
        simnet(
            on_ping=end,
            on_sendheaders=lambda peer, message: steps.append(message),
            on_closed=lambda peer, reason: steps.append("closed"),
        )
    )
    remote.say(Ping(1), SendHeaders())
    await peer.when_closed()
    await world.sleep(1)
    assert steps == ["closed", "seen enough"]


@conversation
async def test_a_listener_that_awaits_its_peer_fails_with_it(world: World) -> None:
    """It is told by the error, and that is no fault of its own."""
    ends: list[str] = []

    async def ask(peer: Any, inv: Inv) -> None:
        try:
            await peer.request(GetData(list(inv.vectors)), Tx, timeout=None)
        except RequestClosed as error:
            ends.append(error.command)
            raise

    peer, remote = await world.scripted(simnet(on_inv=ask))
    remote.say(Inv([as_tx(1)]))
    await remote.hear()
    remote.hang_up()
    await peer.when_closed()
    await world.sleep(1)
    assert ends == ["getdata"]
    assert peer.stats().handler_errors == 0


@conversation
async def test_the_remotes_reject_explains_the_end(world: World) -> None:
    """Its last words are part of the reason."""
    peer, remote = await world.scripted(inbound=True, handshake=False)
    remote.say(remote_version())
    remote.say(Reject(b"version", RejectCode.OBSOLETE, b"go away"))
    await remote.hear()
    remote.hang_up()
    reason = await peer.when_closed()
    assert (reason.cause, reason.code, reason.reject_reason) == (CloseCause.REJECTED, RejectCode.OBSOLETE, "go away")
