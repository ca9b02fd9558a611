"""Handshakes with a soterd: those that succeed, and those that one side refuses."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from txsoter import SIMNET, ConnectionClosed, HandshakeFailed, Network, SoterPeerProtocol
from txsoter.errors import CloseCause, ClosedBy, RequestClosed
from txsoter.test.live.peers import FULL, Harbour, Tape, dial, live, simnet, within
from txsoter.testing.soterd import SoterdFactory
from txsoter.wire import GetBlocks, Hash, Inv, Ping, Pong, RejectCode

ELSEWHERE = Network("elsewhere", SIMNET.magic, SIMNET.default_port, Hash(bytes(31) + b"\x01"))
"""Simnet in all but its genesis block."""


async def _be_dialled(soterds: SoterdFactory) -> str:
    """Be dialled by a fresh node, once; which of getblocks and verack it said first."""
    tape, asked = Tape(), Deferred[None]()

    def on_getblocks(peer: SoterPeerProtocol, question: GetBlocks) -> None:
        peer.send(Inv()).chainDeferred(asked)

    harbour = await Harbour(simnet(services=FULL, listeners=tape.listeners(on_getblocks=on_getblocks))).open()
    arrival = harbour.next_peer()
    node = soterds.launch(f"--connect={harbour.address}")
    try:
        peer = await within(30, (await arrival).when_ready())
        await within(30, asked)
        # the node goes on, so it liked the answer
        await peer.request(Ping(1), Pong)
    finally:
        node.terminate()
        await harbour.close()
    assert tape.commands("wrote")[:3] == ["version", "verack", "inv"]
    assert tape.failures == []
    assert tape.commands("read")[0] == "version"
    return "getblocks" if tape.index("read", "getblocks") < tape.index("read", "verack") else "verack"


@live(300)
async def test_dialled_by_it(soterds: SoterdFactory) -> None:
    """It dials us 50 times: whether getblocks comes before its verack or after, we get ready, and answer after ours."""
    first: list[str] = []
    # the rarer order comes once in 5 dials on some machines, once in 50 on others
    while len(first) < 50 or (len(set(first)) < 2 and len(first) < 500):
        first += await gatherResults([within(60, _be_dialled(soterds)) for _ in range(5)])
    print(f"first of the two: getblocks {first.count('getblocks')} times, verack {first.count('verack')}")
    assert set(first) == {"getblocks", "verack"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"network": ELSEWHERE}, "genesis"),
        ({"user_agent_name": "soterx", "user_agent_version": "1.0.0"}, "incompatible"),
    ],
    ids=["wrong genesis", "user agent"],
)
@live(30)
async def test_refused_as_dialler(soterds: SoterdFactory, fields: dict[str, Any], says: str) -> None:
    """It refuses our version: when_ready() fails with its code and reason, and nothing follows our version."""
    node, tape = await soterds.start(), Tape()
    config = simnet(listeners=tape.listeners()).replace(**fields)
    # a config does not take the name of its nodes
    object.__setattr__(config, "user_agent", config.user_agent.replace(b"soterx", b"soterd"))
    with pytest.raises(HandshakeFailed) as failed:
        await dial(node, config)
    reason = failed.value.reason
    assert (reason.by, reason.cause, reason.command) == (ClosedBy.REMOTE, CloseCause.REJECTED, "version")
    assert reason.code == RejectCode.INVALID
    assert reason.reject_reason is not None and says in reason.reject_reason
    assert tape.commands("wrote") == ["version"]
    assert tape.commands("read") == ["reject"]
    assert await node.peers() == []


@live(60)
async def test_refused_as_listener(soterds: SoterdFactory) -> None:
    """It dials us and refuses our version: its reject is why we closed, and every Deferred has fired."""
    tape = Tape()
    config = simnet(services=FULL, listeners=tape.listeners()).replace(user_agent_name="soterx")
    # a config does not take the name of its nodes
    object.__setattr__(config, "user_agent", config.user_agent.replace(b"soterx", b"soterd"))
    harbour = await Harbour(config).open()
    arrival = harbour.next_peer()
    soterds.launch(f"--connect={harbour.address}")
    try:
        peer = await arrival
        ready, closed = peer.when_ready(), peer.when_closed()
        sent, asked = peer.send(Ping(1)), peer.request(Ping(2), Pong)
        reason = await closed
        with pytest.raises(HandshakeFailed) as failed:
            await ready
        assert failed.value.reason is reason
        with pytest.raises(RequestClosed):
            await asked
        # it may have been with the transport before the refusal came
        assert sent.called
        sent.addErrback(lambda failure: failure.trap(ConnectionClosed))
    finally:
        await harbour.close()
    assert (reason.by, reason.cause, reason.command) == (ClosedBy.REMOTE, CloseCause.REJECTED, "version")
    assert reason.code == RejectCode.INVALID
    assert reason.reject_reason is not None and "incompatible" in reason.reject_reason
    assert tape.commands("read") == ["version", "reject"]
    assert tape.commands("wrote")[:2] == ["version", "verack"]
