"""A handful of the attacks over real TCP, on loopback, beside a bystander."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from txsoter import (
    SIMNET,
    CloseCause,
    ClosedBy,
    CloseReason,
    Listeners,
    PeerConfig,
    SoterPeerProtocol,
    SoterServerFactory,
    connect,
)
from txsoter.test.attacks.support import RejectOf
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.testing import ScriptedPeer, remote_version
from txsoter.wire import Message, Ping, Pong, Reject, RejectCode, VerAck
from txsoter.wire.message import MAX_PAYLOAD


class Attacker(ScriptedPeer):
    """A scripted remote that one can wait for.

    :ivar ended: fires when its connection has.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[None] = Deferred()
        self._hears: dict[str, Deferred[None]] = {}

    def hears(self, command: str) -> Deferred[None]:
        """Fires when it hears such a message, of which it has heard none yet."""
        assert command not in self.commands
        return self._hears.setdefault(command, Deferred())

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        for command in self.commands:
            if command in self._hears:
                self._hears.pop(command).callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.ended.callback(None)


class Field(NamedTuple):
    """A server that listens, and its bystander.

    :param address: what to dial.
    :param reasons: why those who dialled were closed, in turn.
    :param ponged: the answers to the bystander's pings.
    """

    address: str
    factory: SoterServerFactory
    bystander: SoterPeerProtocol
    reasons: DeferredQueue[CloseReason]
    ponged: list[Pong]

    async def dial(self) -> Attacker:
        """An attacker, connected."""
        attacker: Attacker = await connectProtocol(clientFromString(real_reactor(), self.address), Attacker())
        return attacker


@asynccontextmanager
async def attacked(**fields: Any) -> AsyncIterator[Field]:
    """A server with a bystander that asks for pongs all the time; in the end only it must be left, none missing."""
    reasons: DeferredQueue[CloseReason] = DeferredQueue()
    listeners = Listeners(on_closed=lambda peer, reason: reasons.put(reason))
    factory = SoterServerFactory(PeerConfig(network=SIMNET, allow_self_connections=True, listeners=listeners, **fields))
    port = await serverFromString(real_reactor(), "tcp:0:interface=127.0.0.1").listen(factory)
    try:
        address = f"tcp:127.0.0.1:{port.getHost().port}"
        config = PeerConfig(network=SIMNET, allow_self_connections=True)
        bystander = await connect(clientFromString(real_reactor(), address), config)
        ponged: list[Pong] = []

        async def ask() -> None:
            ponged.append(await bystander.request(Ping(len(ponged)), Pong, timeout=5))

        asking = LoopingCall(lambda: Deferred.fromCoroutine(ask()))
        asked = asking.start(0.01)
        yield Field(address, factory, bystander, reasons, ponged)
        asking.stop()
        await asked
        await ask()
        assert [each.nonce for each in ponged] == list(range(len(ponged)))
        [left] = factory.peers
        assert left.stats().received["ping"].messages == len(ponged)
        await bystander.disconnect()
        await left.when_closed()
        assert (await reasons.get()).cause is CloseCause.REMOTE_CLOSED
        assert (factory.peers, reasons.pending) == (set(), [])
    finally:
        await port.stopListening()
        await factory.disconnect_all()


def heard(attacker: Attacker) -> list[Message]:
    """What it was sent back, all of it whole."""
    assert attacker.unread == 0
    return attacker.heard


@over_sockets()
async def test_silent_after_connecting_over_tcp() -> None:
    """Attack: 6 remotes connect and say nothing; each hears nothing, and is closed when its time is up."""
    async with attacked(negotiate_timeout=1.0) as field:
        attackers = [await field.dial() for _ in range(6)]
        for each in attackers:
            await each.ended
            assert each.raw == b""
            reason = await field.reasons.get()
            assert (reason.by, reason.cause) == (ClosedBy.LOCAL, CloseCause.NEGOTIATION_TIMEOUT)


@over_sockets()
async def test_header_announces_32_mib_over_tcp() -> None:
    """Attack: a header that announces 32 MiB, after the handshake; a reject comes back, and the end."""
    async with attacked() as field:
        attacker = await field.dial()
        attacker.say(remote_version(), VerAck())
        attacker.say(SIMNET.magic.to_bytes(4, "little") + b"block".ljust(12, b"\0"))
        attacker.say(MAX_PAYLOAD.to_bytes(4, "little") + bytes(4))
        await attacker.ended
        version, verack, reject = heard(attacker)
        assert (version.command, verack.command) == ("version", "verack")
        assert isinstance(reject, Reject)
        expected = RejectOf(b"malformed", RejectCode.MALFORMED, "announces 33554432 bytes, at most 4000000")
        assert (reject.rejected, reject.code) == expected[:2]
        assert expected.containing in reject.reason.decode()
        reason = await field.reasons.get()
        assert (reason.by, reason.cause, reason.command) == (ClosedBy.LOCAL, CloseCause.MALFORMED, "block")


@over_sockets()
async def test_rubbish_over_tcp() -> None:
    """Attack: bytes of another protocol, a megabyte of them; nothing is written to one that gave no version."""
    async with attacked() as field:
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", bytes(1 << 20)):
            attacker = await field.dial()
            attacker.say(rubbish)
            await attacker.ended
            assert attacker.raw == b""
            reason = await field.reasons.get()
            assert (reason.by, reason.cause) == (ClosedBy.LOCAL, CloseCause.MALFORMED)


@over_sockets()
async def test_reset_over_tcp() -> None:
    """Attack: the connection is reset in the middle of a message, before its verack and behind it."""
    async with attacked() as field:
        for said, answer in (([remote_version()], "verack"), ([remote_version(), VerAck(), Ping(1)], "pong")):
            attacker = await field.dial()
            answered = attacker.hears(answer)
            attacker.say(*said, SIMNET.magic.to_bytes(4, "little"))
            await answered
            attacker.transport.abortConnection()
            await attacker.ended
            reason = await field.reasons.get()
            assert (reason.by, reason.cause) == (ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
