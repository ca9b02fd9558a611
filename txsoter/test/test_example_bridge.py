"""examples/bridge.py, between a node and those who dial it, over real sockets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import deferLater

from txsoter import SIMNET, CloseCause, HandshakeFailed, Listeners, PeerConfig, SoterPeerProtocol, connect
from txsoter.test.node import FakeNode, NodePort, grown, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import Program
from txsoter.test.test_examples import assert_one_line, described, example, printed
from txsoter.wire import (
    Block,
    BlockHeader,
    FeeFilter,
    GetBlocks,
    GetData,
    Inv,
    InventoryType,
    InventoryVector,
    MemPool,
    Message,
    Ping,
    Pong,
    SendHeaders,
    Services,
    Tx,
    TxIn,
    Unknown,
    VerAck,
    Version,
)


class Bridge:
    """A bridge that runs, and the node behind it.

    :ivar port: where the node listens.
    :ivar endpoint: the endpoint string at which the bridge can be dialled.
    """

    def __init__(self, port: NodePort, program: Program) -> None:
        self.port = port
        self.node = port.node
        self.program = program
        found = re.search(r"port=(\d+)", program.out)
        assert found is not None
        self.endpoint = f"tcp:127.0.0.1:{found[1]}"

    def dial(self, **config: Any) -> Deferred[SoterPeerProtocol]:
        """Dial it, as a node would."""
        settings: dict[str, Any] = {"network": SIMNET, "user_agent_name": "dialler", **config}
        return connect(clientFromString(real_reactor(), self.endpoint), PeerConfig(**settings))


@asynccontextmanager
async def bridge(node: FakeNode, *options: str) -> AsyncIterator[Bridge]:
    """Run a bridge before ``node``, on loopback."""
    port = await node.listen(real_reactor())
    async with port, example("bridge", "tcp:0:interface=127.0.0.1", port.endpoint, *options) as program:
        await program.says("listening")
        yield Bridge(port, program)


class Ear:
    """Notes what one side hears, up to sendheaders."""

    def __init__(self) -> None:
        self.heard: list[Message | None] = []
        self.ended: Deferred[None] = Deferred()

    def hear(self, peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
        self.heard.append(message)

    def end(self, peer: SoterPeerProtocol, message: SendHeaders) -> None:
        self.ended.callback(None)


@over_sockets()
async def test_whole_dag() -> None:
    """What is fetched through it is what the node has, block for block, more than a list's worth."""
    node = FakeNode(grown(heights=420, width=3))
    async with bridge(node) as between, example("fetch_dag", between.endpoint) as program:
        assert await program.ended() == 0, program.err
    assert printed(program) == described(node)


@over_sockets()
async def test_versions() -> None:
    """Either side is told the height and services that let it sync, and no more height than there is."""
    versions = []
    node = FakeNode(recorded())
    hear = Listeners(on_version=lambda peer, version: versions.append(version))
    async with bridge(node) as between:
        await between.dial(listeners=hear, newest_block=lambda: 17)
        (to_dialler,), (to_node,) = versions, node.versions
        assert (to_dialler.last_block, to_node.last_block) == (node.height, 17)
        assert to_dialler.services == to_node.services == Services.NETWORK | Services.WITNESS
    async with bridge(node, "--services", "1") as between:
        await between.dial(listeners=hear)
        assert versions[1].services == node.versions[1].services == Services.NETWORK


@over_sockets()
async def test_both_ways_in_order() -> None:
    """Messages cross both ways in their order; pings, handshakes and unknown commands stay on their side."""
    spoken: list[Message] = []
    for number in range(200):
        spoken += [FeeFilter(number), Ping(number), Unknown("sotermagic", b"%d" % number)]
        spoken.append(Inv([InventoryVector(InventoryType.TX, bytes([number]) * 32)]))
    spoken.append(SendHeaders())
    at_node, at_dialler = Ear(), Ear()
    hooks: dict[str, Any] = {"on_read": at_node.hear, "on_sendheaders": at_node.end}
    async with bridge(FakeNode(hooks=hooks, strict=False, ping_interval=None)) as between:
        listeners = Listeners(on_read=at_dialler.hear, on_sendheaders=at_dialler.end)
        peer = await between.dial(listeners=listeners, ping_interval=None)
        (served,) = between.node.peers
        for message in spoken:
            peer.send(message)
            served.send(message)
        for ear in (at_node, at_dialler):
            await ear.ended
            kept = [each for each in ear.heard if not isinstance(each, Pong)]
            assert [type(each) for each in kept[:2]] == [Version, VerAck]
            assert kept[2:] == [each for each in spoken if not isinstance(each, (Ping, Unknown))]


@over_sockets()
async def test_witnesses() -> None:
    """Witnesses are relayed to those who ask for them, and left out for those who do not."""
    node = FakeNode()
    tx = Tx(inputs=[TxIn(SIMNET.genesis_hash, 0, witness=(b"proof",))])
    node.announce_transaction(tx)
    async with bridge(node) as between:
        peer = await between.dial()
        for kind, witness in ((InventoryType.WITNESS_TX, (b"proof",)), (InventoryType.TX, ())):
            answer = await peer.request(GetData([InventoryVector(kind, tx.txid)]), Tx)
            assert (answer.txid, tuple(answer.inputs[0].witness)) == (tx.txid, witness)


def banned(times: Sequence[tuple[float, int]]) -> bool:
    """Whether a soterd bans who has earned so many points at these times, in seconds: past 100; halved each minute."""
    score, last = 0.0, 0.0
    for now, points in times:
        score, last = score * 0.5 ** ((now - last) / 60) + points, now
        if score > 100:
            return True
    return False


@over_sockets()
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param([MemPool()], id="mempool"),
        pytest.param([GetData([InventoryVector(InventoryType.TX, bytes(32))] * 20_000)], id="getdata"),
        pytest.param([MemPool(), GetData([InventoryVector(InventoryType.TX, bytes(32))] * 5_000)], id="both"),
    ],
)
async def test_nobody_gets_it_banned(asked: list[Message]) -> None:
    """Whoever asks for more than the node bears is closed; the node would ban the bridge, and all who come by it."""
    points: list[tuple[float, int]] = []

    def note(peer: SoterPeerProtocol, message: MemPool | GetData) -> None:
        cost = 33 if isinstance(message, MemPool) else len(message.vectors) * 99 // 50_000
        points.append((real_reactor().seconds() - started, cost))

    started = real_reactor().seconds()
    node = FakeNode(recorded(), hooks={"on_mempool": note, "on_getdata": note}, services=Services(13))
    async with bridge(node) as between:
        other = await between.dial()
        (to_other,) = node.peers
        peer = await between.dial()
        (to_peer,) = set(node.peers) - {to_other}
        for number in range(40):
            peer.send(asked[number % len(asked)])
        await to_peer.when_closed()
        # a reset, where it had not read all of what was sent
        assert (await peer.when_closed()).cause in (CloseCause.REMOTE_CLOSED, CloseCause.CONNECTION_LOST)
        assert 0 < len(points) < 10
        assert not banned(points)
        assert len((await other.request(GetBlocks(height=0), Inv)).vectors) == len(recorded())


def test_what_it_passes_on_in_time_bans_nobody() -> None:
    """Two at once and then as they are forgiven, or with rests between: what may be passed on is no ban."""
    for rest in (0, 20, 60, 90, 120, 600):
        paid_until, now, passed = 0.0, 0.0, []
        for step in range(2000):
            now += rest if step % 4 == 0 else 1
            if max(paid_until, now) + 60 <= now + 120:
                paid_until = max(paid_until, now) + 60
                passed.append((now, 33))
        assert len(passed) > 2
        assert not banned(passed)


@over_sockets()
async def test_back_pressure() -> None:
    """It takes no more from the node than the remote takes from it: what is on its way stays bounded."""
    big = Tx(inputs=[TxIn(SIMNET.genesis_hash, 0, bytes(900_000))])
    block = Block(header=BlockHeader(merkle_root=big.txid), transactions=[big])
    count, served, taken, most = 100, 0, 0, 0
    done: Deferred[None] = Deferred()

    async def flood(peer: SoterPeerProtocol, question: GetBlocks) -> None:
        nonlocal served
        for _ in range(count):
            await peer.send(block)
            served += 1

    async def take_slowly(peer: SoterPeerProtocol, message: Block, payload: bytes) -> None:
        nonlocal taken, most
        most = max(most, served - taken)
        await deferLater(real_reactor(), 0.02)
        taken += 1
        if taken == count:
            done.callback(None)

    async with bridge(FakeNode(hooks={"on_getblocks": flood})) as between:
        peer = await between.dial(listeners=Listeners(on_block=take_slowly))
        peer.push_get_blocks(0)
        await done
    # sockets hold some, in all of which there is far less than what is sent
    assert most < count / 2


@over_sockets()
async def test_ends_together() -> None:
    """When one side closes the other is closed, whichever it was; other connections live on."""
    node = FakeNode(recorded())
    async with bridge(node) as between:
        first = await between.dial()
        (to_first,) = node.peers
        second = await between.dial()
        (to_second,) = set(node.peers) - {to_first}
        await first.disconnect()
        assert (await to_first.when_closed()).cause is CloseCause.REMOTE_CLOSED
        assert len((await second.request(GetBlocks(height=0), Inv)).vectors) == len(recorded())
        await to_second.disconnect()
        assert (await second.when_closed()).cause is CloseCause.REMOTE_CLOSED
        assert between.program.code is None


@over_sockets()
async def test_no_node() -> None:
    """Without a node who dials is closed before the handshake is over; the bridge goes on, and dials again."""
    node = FakeNode(recorded())
    async with bridge(node) as between:
        await between.port.close()
        with pytest.raises(HandshakeFailed):
            await between.dial()
        await between.program.says("refused")
        assert between.program.err == ""
        assert between.program.code is None


@over_sockets()
async def test_refuses_what_cannot_be() -> None:
    """A port that is taken and a node that is no endpoint: one line each."""
    node = FakeNode()
    async with await node.listen(real_reactor()) as port:
        taken = f"tcp:{port.number}:interface=127.0.0.1"
        async with example("bridge", taken, port.endpoint) as program:
            await program.ended()
            assert_one_line(program, str(port.number), "in use")
        async with example("bridge", "tcp:0:interface=127.0.0.1", "carrier-pigeon:1") as program:
            await program.ended()
            assert_one_line(program, "carrier-pigeon")
