"""The errors that a newcomer meets first: each says what it may be, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter import (
    MAINNET,
    SIMNET,
    CloseCause,
    ClosedBy,
    PeerConfig,
    SoterClientFactory,
    SoterPeerProtocol,
    SoterServerFactory,
    connect,
    listen,
)
from txsoter.errors import FieldError
from txsoter.service import PeerService
from txsoter.test.peer.cases import WholePeerTestCase, config, wrong
from txsoter.testing import MemoryLink, remote_version
from txsoter.wire import Reject, RejectCode


class ClosedBeforeVersionTests(WholePeerTestCase):
    """The remote closes before it has said who it is."""

    def dial(self, dials: PeerConfig, listens: PeerConfig) -> tuple[SoterPeerProtocol, SoterPeerProtocol]:
        """Let two peers of this process meet."""
        dialler, listener = SoterPeerProtocol(dials), SoterPeerProtocol(listens, inbound=True)
        MemoryLink(dialler, listener).pump()
        return dialler, listener

    def test_another_network(self) -> None:
        clock = Clock()
        for allows in (True, False):
            dials = config(clock=clock, network=MAINNET, allow_self_connections=allows)
            dialler, _ = self.dial(dials, config(clock=clock, allow_self_connections=allows))
            reason = self.successResultOf(dialler.when_closed())
            self.assertEqual((reason.by, reason.cause), (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED))
            self.assertEqual(reason.detail, "it may be on another network, we speak mainnet")

    def test_this_process_itself(self) -> None:
        clock = Clock()
        dialler, listener = self.dial(config(clock=clock), config(clock=clock))
        theirs, ours = (self.successResultOf(each.when_closed()) for each in (listener, dialler))
        self.assertEqual((ours.by, ours.cause), (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED))
        self.assertIn("its other end is this process: allow_self_connections of PeerConfig", ours.detail)
        self.assertEqual(theirs.cause, CloseCause.SELF_CONNECTION)
        self.assertIn("allow_self_connections", theirs.detail)

    def test_a_lost_connection_keeps_its_own_words(self) -> None:
        """A node that closes with our version unread resets the connection."""
        pair = self.fresh(config())
        pair.peer.connectionLost(Failure(ConnectionLost()))
        reason = self.successResultOf(pair.peer.when_closed())
        self.assertIs(reason.cause, CloseCause.CONNECTION_LOST)
        self.assertIn("lost", reason.detail)
        self.assertTrue(reason.detail.endswith("; it may be on another network, we speak simnet"), reason.detail)

    def test_no_guess_where_the_reason_is_known(self) -> None:
        """The remote's own version or reject has come, we have closed, or we have not said anything yet."""

        def accepted() -> Any:
            pair = self.fresh(config())
            pair.say(remote_version())
            wrong(pair.remote.transport).loseConnection()
            return pair

        def refused() -> Any:
            pair = self.fresh(config())
            pair.say(Reject(b"version", RejectCode.INVALID, b"go away"))
            return pair

        def silent() -> Any:
            pair = self.fresh(config(), inbound=True)
            wrong(pair.remote.transport).loseConnection()
            return pair

        def ours() -> Any:
            pair = self.fresh(config())
            pair.peer.disconnect()
            return pair

        endings: list[Callable[[], Any]] = [accepted, refused, silent, ours]
        for end in endings:
            self.assertEqual(self.reason_of(end()).detail, "", end.__name__)


class WrongArgumentTests(WholePeerTestCase):
    """A FieldError at the call, naming what to give."""

    def refused(self, words: str, call: Callable[..., object], *arguments: object) -> None:
        """Check that a call is refused with these words."""
        with self.assertRaises(FieldError) as caught:
            call(*arguments)
        self.assertIn(words, str(caught.exception))

    def test_endpoints(self) -> None:
        self.refused('clientFromString(reactor, "tcp:127.0.0.1:18555")', connect, "tcp:127.0.0.1:18555", PeerConfig())
        self.refused('serverFromString(reactor, "tcp:18555")', listen, "tcp:18555", PeerConfig())
        for endpoint in (None, 5, SIMNET, PeerConfig(), ("127.0.0.1", 18555), "127.0.0.1"):
            self.refused("clientFromString(reactor, ", connect, endpoint, PeerConfig())
            self.refused("serverFromString(reactor, ", listen, endpoint, PeerConfig())

    def test_configs(self) -> None:
        class Endpoint:
            """Dials and listens, if it came to that."""

            def connect(self, factory: object) -> None:
                """Do nothing."""

            listen = connect

        endpoint = Endpoint()
        for bad in (SIMNET, None, "simnet", PeerConfig, {"network": SIMNET}):
            for make in (SoterPeerProtocol, SoterClientFactory, SoterServerFactory, PeerService):
                self.refused("PeerConfig(network=SIMNET)", make, bad)
            for call in (wrong(connect), listen):
                self.refused("PeerConfig(network=SIMNET)", call, endpoint, bad)

    def test_what_makes_peers(self) -> None:
        for factory in (SoterClientFactory, SoterServerFactory):
            self.refused("SoterPeerProtocol, a subclass", factory, PeerConfig(), "SoterPeerProtocol")
        self.refused("callable with an address", SoterServerFactory, PeerConfig(), SoterPeerProtocol, 5)

    def test_services(self) -> None:
        service: Any = PeerService(config(), Clock())
        self.refused('clientFromString(reactor, "tcp:127.0.0.1:1")', service.dial, "tcp:127.0.0.1:1", "there")
        self.refused('serverFromString(reactor, "tcp:1")', service.listen, "tcp:1", "here")
        self.assertEqual((service.dialled, list(service)), ((), []))

    def test_the_name_of_its_nodes(self) -> None:
        self.refused("soterd nodes refuse", lambda: PeerConfig(user_agent_name="soterd"))
        self.refused("PeerConfig.user_agent_name", lambda: PeerConfig(user_agent_name="soterd"))
