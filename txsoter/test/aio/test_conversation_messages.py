"""Conversations of both adapters: listeners, one message after the other, malformed bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    MalformedMessage,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import AFTER_HANDSHAKE, framed
from txsoter.wire import (
    FilterLoad,
    Message,
    Ping,
    Pong,
    Reject,
    SendHeaders,
    Unknown,
    VerAck,
    Version,
)


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
