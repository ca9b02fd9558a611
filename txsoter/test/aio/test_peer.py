"""What is asyncio's alone: cancellation, futures that nobody awaits, tasks, transports that fail, log lines."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import weakref
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from txsoter.aio import Peer, connect
from txsoter.core.log_text import MessageLog
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, ConnectionClosed, RequestClosed
from txsoter.test.aio.worlds import AsyncioWorld, simnet, simulated
from txsoter.test.peer.cases import as_tx, framed
from txsoter.testing import remote_version
from txsoter.wire import GetData, Inv, Ping, Pong, SendHeaders, Tx, Unknown, VerAck

MIB = 1024 * 1024


# -- cancellation ------------------------------------------------------------------------------


@simulated
async def test_cancelling_connect_closes(world: AsyncioWorld) -> None:
    """While the handshake lasts."""
    ours, theirs = world.sockets()
    dialling = asyncio.ensure_future(connect(None, None, simnet(), sock=ours))
    await world.sleep(1)
    assert theirs.recv(4) == simnet().network.magic.to_bytes(4, "little")
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    await world.sleep(0.001)
    while theirs.recv(1 << 16):
        pass


@simulated
async def test_a_send_that_is_cancelled_is_sent(world: AsyncioWorld) -> None:
    """Only the waiting ends; so it is with those who wait for the end."""
    peer, remote = await world.scripted()
    remote.stop_reading()
    waits = [peer.send(Unknown("filler", bytes(MIB))), peer.send(Ping(1)), peer.when_closed(), peer.when_ready()]
    for each in waits:
        each.cancel()
    await world.sleep(0.1)
    heard = await remote.hear()
    assert [type(each) for each in heard] == [Unknown, Ping]
    remote.hang_up()
    await peer.when_closed()


@simulated
async def test_a_future_that_is_cancelled_is_not_kept(world: AsyncioWorld) -> None:
    """Who waits again and again, each time for a while, leaves nothing until the end."""
    peer, _ = await world.scripted(handshake=False)
    waits: list[Any] = [peer.when_closed(), peer.when_ready(), peer.request(Ping(1), Pong)]
    kept = [weakref.ref(each) for each in waits]
    for each in waits:
        each.cancel()
    await world.sleep(0.001)
    waits.clear()
    del each
    gc.collect()
    assert [each() for each in kept[:2]] == [None, None]


@simulated
async def test_a_request_that_times_out_outside_is_given_up(world: AsyncioWorld) -> None:
    """By ``wait_for()``: the answer goes to the next who asks."""
    peer, remote = await world.scripted()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(peer.request(SendHeaders(), Inv), 1)
    assert peer.stats().pending_requests == 0
    remote.say(Inv([as_tx(1)]))
    await remote.hear()


@simulated
async def test_a_listener_that_is_cancelled_closes(world: AsyncioWorld) -> None:
    """No further listener is called; most often the loop is about to close."""
    tasks: list[Any] = []
    heard: list[int] = []

    async def listen(peer: Peer, ping: Ping) -> None:
        heard.append(ping.nonce)
        tasks.append(asyncio.current_task())
        await asyncio.sleep(1000)

    peer, remote = await world.scripted(simnet(on_ping=listen))
    remote.say(Ping(1), Ping(2))
    await world.sleep(1)
    tasks[0].cancel()
    reason = await peer.when_closed()
    assert (reason.by, reason.cause, reason.detail) == (
        ClosedBy.LOCAL,
        CloseCause.DISCONNECT,
        "a handler was cancelled",
    )
    await world.sleep(1)
    assert heard == [1]
    assert peer.stats().handler_errors == 0


@simulated
async def test_a_listener_runs_on_when_the_connection_ends(world: AsyncioWorld) -> None:
    """It is not cancelled: what it was about to store is stored."""
    steps: list[str] = []

    async def listen(peer: Peer, ping: Ping) -> None:
        await asyncio.sleep(5)
        steps.append(peer.state.value)

    peer, remote = await world.scripted(simnet(on_ping=listen))
    remote.say(Ping(1))
    await remote.hear()
    remote.hang_up()
    # a peer that handles a message is not read: it says so when somebody writes to it, or closes it
    await peer.disconnect()
    assert steps == []
    await world.sleep(6)
    assert steps == ["closed"]


# -- futures -----------------------------------------------------------------------------------


@simulated
async def test_futures_that_nobody_awaits_are_no_error_in_the_log(world: AsyncioWorld) -> None:
    """What they would say is said once, by the end of the connection. (The loop's faults are looked at in the end.)"""
    peer, remote = await world.scripted()
    remote.stop_reading()
    for _ in range(3):
        peer.send(Unknown("filler", bytes(MIB)))
    peer.request(Ping(1), Pong)
    peer.when_closed()
    peer.disconnect()
    peer.when_ready()
    peer.send(Ping(1))
    peer.request(Ping(1), Pong)
    await peer.when_closed()
    peer, _ = await world.scripted(handshake=False)
    peer.when_ready()
    peer.send(Ping(1))
    await peer.disconnect()


@simulated
async def test_a_listener_may_return_any_awaitable(world: AsyncioWorld) -> None:
    """A future is waited for; another loop's, and a Deferred, are a fault of the listener's."""
    loop = asyncio.get_running_loop()
    other = asyncio.new_event_loop()
    results: list[Any] = [loop.create_future(), other.create_future(), Deferred(), None, 5]
    steps: list[int] = []

    def listen(peer: Peer, ping: Ping) -> Any:
        steps.append(ping.nonce)
        return results[ping.nonce]

    peer, remote = await world.scripted(simnet(on_ping=listen))
    remote.say(*[Ping(number) for number in range(5)])
    await world.sleep(1)
    assert steps == [0]
    results[0].set_result(None)
    await world.sleep(1)
    assert steps == [0, 1, 2, 3, 4]
    assert peer.stats().handler_errors == 2
    other.close()


# -- transports --------------------------------------------------------------------------------


@simulated
async def test_half_a_close_is_a_close(world: AsyncioWorld) -> None:
    """A remote that says nothing more, and reads nothing, does not keep the transport."""
    ours, theirs = world.sockets()
    peer = await world.peer(simnet(), False, ours)
    theirs.sendall(framed(remote_version()) + framed(VerAck()))
    await peer.when_ready()
    peer.send(Unknown("filler", bytes(900_000)))
    await world.sleep(0.1)
    theirs.shutdown(socket.SHUT_WR)
    await world.sleep(0.1)
    assert peer.state is State.CLOSED
    reason = peer.close_reason
    assert reason is not None
    assert (reason.by, reason.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)


def test_a_transport_that_fails_is_not_written_to(caplog: pytest.LogCaptureFixture) -> None:
    """It would warn of each write; what was still to be sent fails with the connection."""

    async def main(world: AsyncioWorld) -> None:
        peer, remote = await world.scripted(simnet(hard_queue_limit=64 * MIB, on_ping=burst))
        remote.say(Ping(1))
        remote.hang_up()
        reason = await peer.when_closed()
        assert reason.cause is CloseCause.CONNECTION_LOST
        for each in waits:
            with pytest.raises(ConnectionClosed):
                await each

    def burst(peer: Peer, ping: Ping) -> None:
        waits.extend(peer.send(Unknown("filler", bytes(MIB))) for _ in range(30))

    waits: list[Any] = []
    world = AsyncioWorld()
    world.run(main(world))
    assert len(waits) == 30
    assert [each.message for each in caplog.records if each.name == "asyncio" and each.levelno >= logging.WARNING] == []


@simulated
async def test_a_last_message_that_is_not_taken_is_given_up(world: AsyncioWorld) -> None:
    """The close timeout; the transport is aborted then."""
    peer, remote = await world.scripted()
    remote.stop_reading()
    for _ in range(4):
        peer.send(Unknown("filler", bytes(MIB)))
    closed = peer.disconnect()
    await world.sleep(9)
    assert peer.state is State.CLOSING
    await world.sleep(2)
    assert closed.done()


@simulated
async def test_abort_does_not_wait(world: AsyncioWorld) -> None:
    """What the remote has not taken is dropped."""
    peer, remote = await world.scripted()
    remote.stop_reading()
    for _ in range(4):
        peer.send(Unknown("filler", bytes(MIB)))
    peer.abort("no time")
    await world.sleep(0.001)
    assert peer.state is State.CLOSED
    assert peer.close_reason is not None
    assert peer.close_reason.detail == "no time"


@simulated
async def test_async_with_ends_the_connection(world: AsyncioWorld) -> None:
    """Also by an error."""
    peer, remote = await world.scripted()
    with pytest.raises(ZeroDivisionError):
        async with peer as same:
            assert same is peer
            raise ZeroDivisionError
    assert peer.state is State.CLOSED
    assert await remote.is_closed()


# -- log lines ---------------------------------------------------------------------------------


def test_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Of the logger ``txsoter``: connections and messages as the config says, and every listener that fails."""

    async def fail(peer: Peer, inv: Inv) -> None:
        raise ZeroDivisionError("no {braces} either")

    async def ask(peer: Peer, message: SendHeaders) -> None:
        with pytest.raises(RequestClosed):
            await peer.request(GetData([as_tx(1)]), Tx)
        raise ConnectionClosed(peer.close_reason)  # type: ignore[arg-type]

    async def main(world: AsyncioWorld) -> None:
        peer, remote = await world.scripted(
            simnet(on_inv=fail, on_sendheaders=ask, log_connections=True, log_messages=MessageLog.SUMMARY)
        )
        remote.say(Inv([as_tx(1)]), SendHeaders())
        await remote.hear()
        await peer.disconnect("{enough}")
        await world.sleep(1)

    caplog.set_level(logging.DEBUG, "txsoter")
    world = AsyncioWorld()
    world.run(main(world))
    lines = [(each.levelname, each.message) for each in caplog.records if each.name == "txsoter"]
    assert ("INFO", "unix: (outbound): ready, protocol version 70013, /soterwire:0.6.0/scripted:1.0.0/") in lines
    assert ("INFO", "unix: (outbound): closed by us: disconnect() was called: {enough}") in lines
    assert ("ERROR", "unix: (outbound): the handler of inv failed") in lines
    assert ("DEBUG", "unix: (outbound): the handler of sendheaders was cut short") in lines
    assert any(text.startswith("Received inv (tx ") for level, text in lines if level == "DEBUG")
    assert any(text.startswith("Sending version (agent ") for level, text in lines if level == "DEBUG")
    assert "ZeroDivisionError: no {braces} either" in caplog.text


def test_a_library_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that begins and ends without a fault leaves no line; one that ends by a fault leaves one."""

    async def main(world: AsyncioWorld) -> None:
        peer, _ = await world.scripted()
        await peer.disconnect()
        peer, remote = await world.scripted()
        remote.say(VerAck())
        await peer.when_closed()

    caplog.set_level(logging.DEBUG)
    world = AsyncioWorld()
    world.run(main(world))
    lines = [(each.levelname, each.message) for each in caplog.records if each.name == "txsoter"]
    assert lines == [("INFO", "unix: (outbound): closed by us: a second verack came")]


@simulated
async def test_a_remote_version_in_its_own_time(world: AsyncioWorld) -> None:
    """Its clock is compared with ours, that of the wall."""
    peer, remote = await world.scripted(handshake=False)
    remote.say(remote_version(timestamp=0), VerAck())
    await peer.when_ready()
    stats = peer.stats()
    assert stats.time_offset < -1_700_000_000
    assert stats.connected_at is not None
    assert stats.connected_at > 1_700_000_000
