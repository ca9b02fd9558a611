"""What the attacks share: a process under attack with a bystander, and what must hold when the attack is over."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txsoter import (
    SIMNET,
    CloseCause,
    ClosedBy,
    CloseReason,
    Listeners,
    PeerConfig,
    SoterClientFactory,
    SoterPeerProtocol,
    SoterServerFactory,
)
from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.state import State
from txsoter.test.peer.cases import as_tx
from txsoter.test.peer.support import TrialCase
from txsoter.testing import CLIENT, SERVER, MemoryLink, MemoryTransport, ScriptedPeer, remote_version
from txsoter.wire import Inv, Message, Ping, Pong, Reject, VerAck, Version
from txsoter.wire.framing import frame
from txsoter.wire.message import command_bytes

__all__ = [
    "BOTH",
    "BYSTANDER",
    "KIB",
    "MIB",
    "READ",
    "Attack",
    "AttackTestCase",
    "Bystander",
    "RejectOf",
    "SentBack",
    "raw_frame",
]

KIB = 1024
MIB = 1024 * KIB

BOTH = (True, False)
"""The attacker has dialled us, and we the attacker: values of ``inbound``."""

READ = 64 * KIB
"""The most that a socket gives to one ``dataReceived``."""

BYSTANDER = IPv4Address("TCP", "192.0.2.99", 50000)
"""Where the bystander is: tells it from the attacker in listeners that both share."""


def raw_frame(command: str, payload: bytes) -> bytes:
    """A frame on simnet whose payload may be anything, of any size."""
    return frame(SIMNET.magic, command_bytes(command), payload)


class RejectOf(NamedTuple):
    """A ``reject`` that is expected: its command and code, and what its reason contains."""

    rejected: bytes
    code: int
    containing: str


SentBack = str | Message | RejectOf
"""What is expected to be sent back: a command, a whole message, or a reject."""


class Bystander:
    """A well-behaved remote of the process under attack.

    :ivar peer: our end.
    :ivar remote: its end.
    :ivar version: the ``version`` it was sent.
    :ivar rounds: how many exchanges there have been.
    """

    def __init__(self, factory: SoterServerFactory) -> None:
        self.peer = factory.buildProtocol(BYSTANDER)
        self.remote = ScriptedPeer(factory.config.network.magic)
        self.link = MemoryLink(self.remote, self.peer, BYSTANDER, SERVER)
        self.rounds = 0
        self.remote.say(remote_version(genesis_hash=factory.config.network.genesis_hash), VerAck())
        self.link.pump()
        heard = self.remote.heard
        self._complaint = None if self.remote.commands == ["version", "verack"] else f"its handshake: {heard}"
        assert isinstance(heard[0], Version)
        self.version = heard[0]
        heard.clear()

    def exchange(self) -> None:
        """A ping and an inv each way: all must arrive, and the pings be answered, before it is over."""
        self.rounds += 1
        number, peer, remote = self.rounds, self.peer, self.remote
        inv, ours, theirs = Inv([as_tx(number)]), Ping(1 << 32 | number), Ping(number)
        remote.say(theirs, inv)
        sent = [peer.send(ours), peer.send(inv)]
        self.link.pump()
        # pings of the peer's own, too
        remote.say(*[each.response() for each in remote.heard if isinstance(each, Ping)])
        self.link.pump()
        heard = [each for each in remote.heard if each != ours]
        stats = peer.stats()
        checks = {
            "its connection": peer.state is State.READY and remote.closed is None,
            "the ping and the inv it was sent": inv in heard and len(heard) < len(remote.heard),
            "the pong to its ping": [each for each in heard if isinstance(each, Pong)] == [theirs.response()],
            "anything else": all(isinstance(each, (Inv, Pong, Ping)) for each in heard),
            "the inv it sent": stats.received["inv"].messages == number,
            "the pong it sent": stats.received["pong"].messages >= number and stats.ping_micros == 0,
            "what was confirmed": all(each.called and each.result is None for each in sent),
            "what waits": (stats.queue_length, stats.queue_bytes, self.link.server.waiting) == (0, 0, 0),
        }
        for what, held in checks.items():
            if not held and self._complaint is None:
                self._complaint = f"in round {number}: {what}; it has heard {remote.heard}"
        # so that what is measured around an attack is the attack's
        remote.heard.clear()
        remote.raw = b""

    @property
    def complaint(self) -> str | None:
        """What has gone wrong first, if anything."""
        return self._complaint


class Attack:
    """A process with two connections: the attacker's, and a bystander's that goes on all the while.

    :ivar server: the factory of those who dial us, the bystander among them.
    :ivar client: the factory of those whom we dial.
    :ivar peer: our end of the attacker's connection.
    :ivar attacker: the other end; notes what it hears.
    """

    peer: SoterPeerProtocol
    link: MemoryLink

    def __init__(self, config: PeerConfig, *, inbound: bool) -> None:
        self.clock = Clock()
        self.inbound = inbound
        config = config.replace(clock=self.clock)
        self.server = SoterServerFactory(config)
        self.client = SoterClientFactory(config)
        self.bystander = Bystander(self.server)
        self.attacker = ScriptedPeer(config.network.magic)
        self.peer = (self.server if inbound else self.client).buildProtocol(CLIENT if inbound else SERVER)
        self._alive = weakref.ref(self.peer)
        self.handed_out: list[Deferred[Any]] = []
        self.hand_out(self.peer.when_ready(), self.peer.when_closed())
        if inbound:
            self.link = MemoryLink(self.attacker, self.peer, CLIENT, SERVER)
        else:
            self.link = MemoryLink(self.peer, self.attacker, CLIENT, SERVER)
        self.pump()

    @property
    def greeting(self) -> list[SentBack]:
        """What we say before we have heard anything."""
        return [] if self.inbound else ["version"]

    @property
    def transport(self) -> MemoryTransport:
        """Our end's transport."""
        return self.link.server if self.inbound else self.link.client

    @property
    def reason(self) -> CloseReason:
        """Why our end has begun to close."""
        assert self.peer.close_reason is not None
        return self.peer.close_reason

    def hand_out(self, *deferreds: Deferred[Any]) -> None:
        """Note Deferreds that must have fired when all is over."""
        self.handed_out += deferreds

    def pump(self, chunk: int | None = None) -> None:
        """Move bytes, and let the bystander have its turn."""
        self.link.pump(chunk)
        self.bystander.exchange()

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps; after each, bytes move and the bystander has its turn."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(step, until - self.clock.seconds()))
            self.pump()

    def say(self, *messages: Message | bytes) -> None:
        """Let the attacker say something, and let it arrive."""
        self.attacker.say(*messages)
        self.pump()

    def stream(self, data: bytes, chunk: int = READ) -> None:
        """Let the attacker send many bytes, as a socket brings them, as long as the connection lasts."""
        for start in range(0, len(data), chunk):
            if self.attacker.closed is not None:
                return
            self.attacker.say(data[start : start + chunk])
            self.pump()

    def hang_up(self) -> None:
        """Let the attacker close its end, in good order."""
        assert self.attacker.transport is not None
        self.attacker.transport.loseConnection()
        self.pump()

    def handshake(self, version: Version | None = None) -> None:
        """Let the attacker behave until the connection is ready."""
        genesis = self.server.config.network.genesis_hash
        self.say(remote_version(genesis_hash=genesis) if version is None else version, VerAck())
        assert self.peer.state is State.READY, self.peer.state
        self.attacker.heard.clear()

    def held(self) -> int:
        """Bytes that wait on our side of the attacker's connection: read or to be written, in the transport too."""
        stats = self.peer.stats()
        in_transport = self.transport.waiting if self.transport.connected else 0
        return stats.buffered_bytes + stats.queue_bytes + in_transport

    def forget(self) -> weakref.ref[SoterPeerProtocol]:
        """Drop every reference to our end; it can be asked for nothing afterwards."""
        del self.peer, self.link
        self.attacker.transport = None
        return self._alive


class AttackTestCase(TrialCase):
    """Attacks on a process, each of which must leave nothing behind and nobody else disturbed."""

    def setUp(self) -> None:
        self._nonces_before = len(LIVE_NONCES)
        # what lives already need not be looked through each time that a peer must have died
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)

    def attack(self, *, inbound: bool = True, handshake: bool = True, **fields: Any) -> Attack:
        """A process that is about to be attacked.

        :param inbound: whether the attacker dialled us.
        :param handshake: whether it goes through the handshake first, so that the connection is ready.
        :param fields: of the config of all; ``on_…`` fields are listeners.
        """
        hooks = {name: fields.pop(name) for name in list(fields) if name.startswith("on_")}
        values = {"network": SIMNET, "random": Random(1), "listeners": Listeners(**hooks), **fields}
        attack = Attack(PeerConfig(**values), inbound=inbound)
        if handshake:
            attack.handshake()
        return attack

    @contextmanager
    def assert_bounded(self, limit: int, kept: int | None = None) -> Iterator[None]:
        """At no moment of the block did the process hold more than ``limit`` bytes beyond what it held before.

        All that Python allocates counts: both ends, what is decoded, what the attacker has heard. What the
        attacker sends should be made outside of the block.

        :param kept: the most that may be held when the block is over; ``limit``, if not given.
        """
        gc.collect()
        tracemalloc.start(1)
        try:
            before, _ = tracemalloc.get_traced_memory()
            yield
            _, most = tracemalloc.get_traced_memory()
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLessEqual(most - before, limit)
        self.assertLessEqual(left - before, limit if kept is None else kept)

    def assert_undisturbed(self, attack: Attack) -> None:
        """The bystander is ready, was answered at once, and neither it nor we have missed anything."""
        attack.bystander.exchange()
        self.assertGreater(attack.bystander.rounds, 1)
        self.assertIsNone(attack.bystander.complaint)

    def assert_sent_back(self, attack: Attack, expected: Sequence[SentBack]) -> None:
        """These are all the bytes that the attacker has heard, after the handshake if it went through one."""
        heard = attack.attacker.heard
        self.assertEqual(attack.attacker.unread, 0)
        shown = [each if isinstance(each, str) else getattr(each, "command", "reject") for each in expected]
        self.assertEqual([each.command for each in heard], shown)
        for message, wanted in zip(heard, expected, strict=True):
            if isinstance(wanted, RejectOf):
                assert isinstance(message, Reject)
                self.assertEqual((message.rejected, message.code), wanted[:2])
                self.assertIn(wanted.containing, message.reason.decode())
            elif isinstance(wanted, Message):
                self.assertEqual(message, wanted)

    def assert_refused(
        self,
        attack: Attack,
        cause: CloseCause,
        *,
        by: ClosedBy = ClosedBy.LOCAL,
        command: str | None = None,
        sent_back: Sequence[SentBack] = (),
    ) -> CloseReason:
        """The attacker's connection has ended, by whom and why; it has heard ``sent_back``, and nobody else noticed."""
        attack.pump()
        self.assertIs(attack.peer.state, State.CLOSED)
        self.assertIsNotNone(attack.attacker.closed)
        reason = self.successResultOf(attack.peer.when_closed())
        self.assertEqual((reason.by, reason.cause, reason.command), (by, cause, command))
        self.assert_sent_back(attack, sent_back)
        self.assertEqual(attack.held(), 0)
        self.assertNotIn(attack.peer, attack.server.peers | attack.client.peers)
        self.assert_undisturbed(attack)
        self.assert_nothing_left(attack)
        return reason

    def assert_went_on(self, attack: Attack, *, sent_back: Sequence[SentBack] = ()) -> None:
        """The connection is as good as ever, the attacker has heard ``sent_back``; then it ends without a trace."""
        self.assertIs(attack.peer.state, State.READY)
        self.assert_sent_back(attack, sent_back)
        attack.attacker.heard.clear()
        attack.say(Ping(404))
        self.assert_sent_back(attack, [Pong(404)])
        self.assertEqual(attack.held(), 0)
        self.assert_undisturbed(attack)
        attack.hand_out(attack.peer.disconnect("the attack is over"))
        attack.pump()
        self.assertIs(attack.peer.state, State.CLOSED)
        self.assert_nothing_left(attack)

    def assert_nothing_left(self, attack: Attack) -> None:
        """After close: no timer but the bystander's, no reference to the peer, no Deferred that has not fired."""
        self.assertEqual([each for each in attack.handed_out if not each.called], [])
        for each in attack.handed_out:
            # failures that nobody looks at would be logged
            each.addErrback(lambda failure: None)
        attack.handed_out.clear()
        alive = attack.forget()
        self.assertEqual(attack.server.peers, {attack.bystander.peer})
        attack.bystander.peer.disconnect()
        attack.bystander.link.pump()
        self.assertEqual((attack.server.peers, attack.client.peers), (set(), set()))
        self.assertEqual(attack.clock.getDelayedCalls(), [])
        self.assertEqual(len(LIVE_NONCES), self._nonces_before)
        gc.collect()
        self.assertIsNone(alive())
