"""Liars of each kind, over sockets."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txsoter.clock import monotonic
from txsoter.errors import CloseCause, HandshakeFailed
from txsoter.networks import SIMNET
from txsoter.test.loopback.visitor import running, visit
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.testing.loopback import LoopbackNetwork
from txsoter.testing.loopback.liars import BANNER, FAKES
from txsoter.testing.loopback.plan import BYSTANDER, Place


def only(network: LoopbackNetwork, kind: str) -> Place:
    """The one liar of the network."""
    (place,) = network.plan.of_kind(kind)
    return place


@over_sockets()
async def test_claims_all() -> None:
    """Both directions, with every honest node."""
    async with running(15, degree=2, liars={"claims-all": 1}) as network:
        nodes = network.truth()["nodes"]
        found = await visit(str(only(network, "claims-all")))
        assert (sorted(found.outbound), len(found.inbound)) == (sorted(nodes), 15 + 1)
        assert {each.partition(":")[0] for each in nodes} <= {each.partition(":")[0] for each in found.inbound}
        assert not {*found.inbound} & {*nodes}


@over_sockets()
async def test_fake_inbound() -> None:
    async with running(15, degree=2, liars={"fake-inbound": 1}) as network:
        found = await visit(str(only(network, "fake-inbound")))
        assert (len(found.inbound), found.outbound) == (min(FAKES, 15) + 1, [])
        # whereas no node says that it has dialled it
        for address in network.truth()["nodes"]:
            assert str(only(network, "fake-inbound")) not in (await visit(address)).outbound


@over_sockets()
async def test_flood() -> None:
    async with running(2, liars={"flood": 1}) as network:
        found = await visit(str(only(network, "flood")))
        assert (len({*found.addresses}), len({*found.known})) == (50_000, 50_000)
        assert found.messages >= 100
        assert not found.all & {*network.truth()["nodes"]}


@over_sockets()
async def test_echo() -> None:
    """The visitor's own address, as it dialled and as if it listened."""
    async with running(2, liars={"echo": 1}) as network:
        found = await visit(str(only(network, "echo")))
        own = {found.own, "127.0.0.1:18444"}
        assert ({*found.known}, {*found.outbound}, {*found.addresses}) == (own, own, own)


@over_sockets()
async def test_ipv6() -> None:
    async with running(2, liars={"ipv6": 1}) as network:
        found = await visit(str(only(network, "ipv6")))
        told = {f"2001:db8::{host:x}:18444" for host in range(1, FAKES + 1)}
        assert ({*found.known}, {*found.outbound}, {*found.addresses}) == (told, told, told)
        assert {*found.inbound} == {*told, found.own}


@over_sockets()
async def test_other_services() -> None:
    async with running(2, liars={"other-services": 1}) as network:
        found = await visit(str(only(network, "other-services")))
        bystanders = network.plan.of_kind(BYSTANDER)
        assert {*found.known} == {str(place) for place in bystanders}
        with pytest.raises(HandshakeFailed):
            await visit(found.known[0])
        connection = await plain(bystanders[0])
        connection.transport.write(b"version")
        await connection.ended
        assert connection.received == BANNER


@over_sockets()
async def test_other_network() -> None:
    async with running(2, liars={"other-network": 1}) as network:
        address = str(only(network, "other-network"))
        with pytest.raises(HandshakeFailed) as caught:
            await visit(address)
        assert caught.value.reason.cause is CloseCause.REMOTE_CLOSED
        assert (await visit(address, network=SIMNET)).own


@over_sockets()
async def test_tarpit() -> None:
    """Accepted, and never answered; the end of the network closes it."""
    async with running(2, liars={"tarpit": 1}) as network:
        place = only(network, "tarpit")
        with pytest.raises(HandshakeFailed) as caught:
            await visit(str(place), negotiate_timeout=0.2)
        assert caught.value.reason.cause is CloseCause.NEGOTIATION_TIMEOUT
        connection = await plain(place)
        connection.transport.write(bytes(100))
    await connection.ended
    assert connection.received == b""


@over_sockets()
async def test_slow() -> None:
    """The handshake and both answers take their time; whoever leaves meanwhile is not waited for."""
    async with running(2, liars={"slow": 1}, slow_seconds=0.2) as network:
        now = monotonic(real_reactor())
        began = now()
        found = await visit(str(only(network, "slow")))
        assert now() - began > 0.6
        assert found.inbound == [found.own]
        with pytest.raises(HandshakeFailed):
            await visit(str(only(network, "slow")), negotiate_timeout=0.05)


class Plain(Protocol):
    """A connection that notes what comes."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


async def plain(place: Place) -> Plain:
    """Dial without any protocol."""
    connection: Plain = await connectProtocol(TCP4ClientEndpoint(real_reactor(), place.host, place.port), Plain())
    return connection
