"""What the tests of the peer's parts share: typed assertions, and pairs that must leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txsoter.core.listeners import Listeners
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, CloseReason, ConnectionClosed
from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.testing import PeerPair, ScriptedPair, connected_pair, scripted
from txsoter.wire import Message, Unknown, write_message

T = TypeVar("T")

if TYPE_CHECKING:
    from unittest import TestCase

    class TrialCase(TestCase):
        """Trial's assertions carry no types; unittest's, which mean the same, do."""

        def successResultOf(self, deferred: Deferred[T]) -> T: ...
        def failureResultOf(self, deferred: Deferred[Any], *expected: type[Exception]) -> Failure: ...
        def assertNoResult(self, deferred: Deferred[Any]) -> None: ...
        def flushLoggedErrors(self, *types: type[Exception]) -> list[Failure]: ...

else:
    TrialCase = SynchronousTestCase


KIB = 1024


def filler(size: int) -> Unknown:
    """A message whose frame has ``size`` bytes."""
    return Unknown("filler", bytes(size - 24))


def frame(message: Message, magic: int = SIMNET.magic) -> bytes:
    """The bytes of a message, on simnet."""
    return write_message(message, magic)


def simnet(**fields: Any) -> PeerConfig:
    """A config for simnet, from a fixed seed, with some fields changed; ``on_…`` fields are its listeners."""
    hooks = {name: fields.pop(name) for name in list(fields) if name.startswith("on_")}
    return PeerConfig(**{"network": SIMNET, "random": Random(1), "listeners": Listeners(**hooks), **fields})


class PeerTestCase(TrialCase):
    """Peers in memory; each must leave no delayed call behind once it has been closed."""

    def scripted(
        self,
        *,
        inbound: bool = False,
        handshake: bool = True,
        remote_address: IAddress | None = None,
        protocol: Callable[[PeerConfig, bool], SoterPeerProtocol] = SoterPeerProtocol,
        **fields: Any,
    ) -> ScriptedPair:
        """A peer of ours with a scripted remote; other arguments are fields of its config, or listeners."""
        pair = scripted(
            simnet(**fields), inbound=inbound, handshake=handshake, remote_address=remote_address, protocol=protocol
        )
        self.addCleanup(self.assert_leaves_nothing, pair.clock, pair.peer)
        if handshake:
            self.assertIs(pair.peer.state, State.READY)
        return pair

    def connected(
        self, client: PeerConfig | None = None, server: PeerConfig | None = None, handshake: bool = True
    ) -> PeerPair:
        """Two peers of ours."""
        pair = connected_pair(client, server, handshake=handshake)
        self.addCleanup(self.assert_leaves_nothing, pair.clock, pair.client, pair.server)
        return pair

    def assert_leaves_nothing(self, clock: Clock, *peers: SoterPeerProtocol) -> None:
        """Close what is not closed yet: no timer is left then, and everybody has been told."""
        for peer in peers:
            told = [peer.when_closed(), peer.disconnect("the test is over")]
            if peer.state is State.CLOSING:
                peer.connectionLost()
            for each in told:
                self.assertIsInstance(self.successResultOf(each), CloseReason)
        self.assertEqual(clock.getDelayedCalls(), [])

    def assert_closed(self, pair: ScriptedPair, cause: CloseCause, by: ClosedBy = ClosedBy.LOCAL) -> CloseReason:
        """The connection has ended, for that cause."""
        pair.pump()
        self.assertIs(pair.peer.state, State.CLOSED)
        reason = self.successResultOf(pair.peer.when_closed())
        self.assertEqual((reason.cause, reason.by), (cause, by))
        return reason

    def assert_fails_closed(self, deferred: Deferred[Any], cause: CloseCause) -> ConnectionClosed:
        """``deferred`` has failed because the connection ended for that cause."""
        failure = self.failureResultOf(deferred, ConnectionClosed)
        error = failure.value
        assert isinstance(error, ConnectionClosed)
        self.assertIs(error.reason.cause, cause)
        return error
