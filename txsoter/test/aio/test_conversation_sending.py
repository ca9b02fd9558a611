"""Conversations of both adapters: send queues, announcements, pushed messages."""

from __future__ import annotations

import pytest

from txsoter.errors import (
    CloseCause,
    ConnectionClosed,
    FieldError,
    SendQueueFull,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import as_block, as_tx, hash_of
from txsoter.testing import remote_version
from txsoter.wire import (
    Inv,
    NetAddress,
    Ping,
    Reject,
    Unknown,
    VerAck,
)

MIB = 1024 * 1024


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
