"""Both sides of a connection full."""

from __future__ import annotations

from itertools import cycle, islice

from twisted.internet.defer import Deferred, gatherResults

from txsoter import Listeners, SoterPeerProtocol
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import Dag, dial, live, simnet, within
from txsoter.testing.soterd import SoterdFactory, eventually
from txsoter.wire import Addr, Block, GetData, Hash, InventoryType, InventoryVector, NetAddress, Ping, Pong

ASKED = 40_000
"""Blocks asked for: 1.6 MB of questions, 15 MB of answers."""

QUEUED = 500
"""Messages of 30 KB queued behind them, which a simnet node ignores: 15 MB, of which the sockets hold up to 10."""


@live(240)
async def test_both_sides_full(soterds: SoterdFactory, fed: Fed) -> None:
    """It reads nothing while it serves us, and we stop reading while too much waits: all arrives, nobody is closed."""
    from twisted.internet import reactor

    node = await soterds.start("--nobanning", data=fed.data)
    heard: list[Hash] = []
    all_heard: Deferred[None] = Deferred()

    def on_block(peer: SoterPeerProtocol, block: Block, payload: bytes) -> None:
        heard.append(block.hash)
        if len(heard) == ASKED:
            all_heard.callback(None)

    peer = await dial(node, simnet(listeners=Listeners(on_block=on_block)))
    asked = list(islice(cycle(Dag().vectors), ASKED))
    addresses = Addr([NetAddress(1, "192.0.2.1", 1, 1_700_000_000)] * 1000)
    began = reactor.seconds()
    sent = [peer.send(GetData([InventoryVector(InventoryType.BLOCK, each.hash, each.height) for each in asked]))]
    sent += [peer.send(addresses) for _ in range(QUEUED)]
    # all three have had enough: the node, the sockets, and we
    await eventually(lambda: peer.transport not in reactor.getReaders(), "we stop reading", 4)
    assert peer.stats().queue_bytes > peer.config.soft_queue_limit
    await within(120, all_heard)
    blocks_at = reactor.seconds() - began
    # neither side would have moved had we not read on
    assert peer.config.read_on_after is not None and blocks_at > peer.config.read_on_after
    await within(60, gatherResults(sent))
    pong = await peer.request(Ping(7), Pong)
    took = reactor.seconds() - began
    assert pong.nonce == 7
    assert heard == [each.hash for each in asked]
    (seen,) = await node.peers()
    stats = peer.stats()
    assert stats.sent["addr"].messages == QUEUED
    assert seen["bytesrecv"] == stats.bytes_sent
    assert stats.queue_bytes == 0
    print(f"{ASKED} blocks in {blocks_at:.1f} s, all in {took:.1f} s, {stats.bytes_received} bytes received")
    await peer.disconnect()
