"""Tests of :mod:`txsoter.service.misbehaviour`."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from txsoter import CloseCause, PeerConfig, SoterPeerProtocol, SoterServerFactory
from txsoter.core.state import State
from txsoter.service import observed
from txsoter.service.misbehaviour import ScoreKeeper
from txsoter.service.scores import WEIGHTS, Scores
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.testing import CLIENT, MemoryLink, ScriptedPair, ScriptedPeer, repeatable
from txsoter.wire import Unknown

RUBBISH = b"GET / HTTP/1.1\r\nHost: "


class ScoreKeeperTests(WholePeerTestCase):
    """ScoreKeeper."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1000)
        self.peers: list[SoterPeerProtocol] = []
        self.scores = Scores()
        self.keeper = ScoreKeeper(self.scores, lambda: self.peers, self.clock)

    def kept(self, **fields: Any) -> PeerConfig:
        whole = config(**fields)
        return whole.replace(listeners=observed(whole.listeners, [self.keeper]))

    def remote(self, host: str | IAddress = "192.0.2.7", inbound: bool = True, **fields: Any) -> ScriptedPair:
        """One that has shaken hands."""
        address = IPv4Address("TCP", host, 49152) if isinstance(host, str) else host
        pair = self.scripted(self.kept(**fields), inbound=inbound, remote_address=address)
        self.peers.append(pair.peer)
        return pair

    def score(self, host: str = "192.0.2.7") -> float:
        return self.scores.score(host, self.clock.seconds())

    def test_ends_are_weighed(self) -> None:
        """Each end counts as the table says, and what is ours not at all."""
        self.remote().peer.disconnect()
        self.assertEqual((self.score(), self.keeper.entries()), (0, []))
        pair = self.remote()
        pair.say(RUBBISH)
        self.assert_closed(pair, CloseCause.MALFORMED)
        self.assertEqual(self.score(), WEIGHTS[CloseCause.MALFORMED])
        self.remote().link.reset()
        self.assertEqual(self.score(), WEIGHTS[CloseCause.MALFORMED] + WEIGHTS[CloseCause.CONNECTION_LOST])
        (entry,) = self.keeper.entries()
        self.assertEqual((entry.address, entry.until, entry.reason), ("192.0.2.7", None, "the connection was lost"))
        self.clock.advance(60)
        self.assertEqual(self.score(), (WEIGHTS[CloseCause.MALFORMED] + WEIGHTS[CloseCause.CONNECTION_LOST]) / 2)

    def test_those_whom_we_dial(self) -> None:
        """They are weighed as well, and not dialled while they are refused."""
        for _ in range(2):
            self.assertIsNone(self.keeper.may_dial("2001:db8::5"))
            self.remote(IPv6Address("TCP", "2001:db8::5", 18555), inbound=False).say(RUBBISH)
        self.assertEqual(self.keeper.may_dial("2001:db8::9"), "misbehaved, for another 4 h: a malformed message came")
        self.clock.advance(self.scores.refusal)
        self.assertIsNone(self.keeper.may_dial("2001:db8::5"))

    def test_refused(self) -> None:
        """Past the threshold an address is refused, one line says so, and its other connections end; others stay."""
        lines = self.log_lines(LogLevel.info)
        others = [self.remote(), self.remote("192.0.2.8")]
        for _ in range(2):
            self.assertIsNone(self.keeper.may_enter(CLIENT))
            self.remote().say(RUBBISH)
        for pair in others:
            pair.pump()
        reason = self.assert_closed(others[0], CloseCause.DISCONNECT)
        self.assertEqual(reason.detail, "its address has misbehaved")
        self.assertIs(others[1].peer.state, State.READY)
        words = "misbehaved, for another 4 h: a malformed message came"
        self.assertEqual(self.keeper.may_enter(IPv4Address("TCP", "192.0.2.7", 1)), words)
        self.assertIsNone(self.keeper.may_enter(IPv4Address("TCP", "192.0.2.8", 1)))
        self.assertEqual(
            [line for line in lines if "refused" in line],
            ["192.0.2.7 is refused for 14400 s: a malformed message came"],
        )
        self.assertEqual((self.keeper.refused(), self.keeper.entries()[0].until), (1, 1000 + 14400))

    def test_at_the_door(self) -> None:
        """A factory that asks it lets nobody in who is refused."""
        factory = SoterServerFactory(repeatable(Clock(), self.kept()), may_enter=self.keeper.may_enter)
        self.scores.add("192.0.2.1", 100, "a malformed message came", self.clock.seconds())
        for host, let_in in (("192.0.2.1", False), ("192.0.2.2", True)):
            address, remote = IPv4Address("TCP", host, 49152), ScriptedPeer()
            link = MemoryLink(remote, factory.buildProtocol(address), address)
            link.pump()
            self.assertEqual(remote.closed is None, let_in)
            self.assertEqual(len(factory.peers), let_in)
            link.reset()
        self.assertEqual(factory.refused, 1)

    def test_flood_of_unknown_commands(self) -> None:
        """Some are borne, for they come of newer versions; a flood ends the connection."""
        pair = self.remote()
        pair.say(*(Unknown("novel", b"") for _ in range(900)))
        self.assertIs(pair.peer.state, State.READY)
        self.assertAlmostEqual(self.score(), 90)
        pair.say(*(Unknown("novel", b"") for _ in range(200)))
        self.assertEqual(self.assert_closed(pair, CloseCause.DISCONNECT).detail, "its address has misbehaved")
        self.assertIn("a flood of unknown commands came", self.keeper.may_dial("192.0.2.7") or "")
        self.assertLess(pair.peer.stats().received["unknown"].messages, 1010)

    def test_an_applications_own(self) -> None:
        """An application may add what it finds out."""
        pair = self.remote()
        self.keeper.add(pair.peer, 60, "an invalid block came")
        self.assertEqual(self.score(), 60)
        self.keeper.add(pair.peer, 0, "nothing came")
        self.assertEqual(self.keeper.entries()[0].reason, "an invalid block came")

    def test_no_address_no_score(self) -> None:
        """What has no IP is let be, and so is loopback."""
        tor = HostnameAddress(b"expyuzz4wqqyqhjn.onion", 18555)
        for address in (tor, UNIXAddress(b"/run/soter"), IPv4Address("TCP", "127.0.0.1", 49152)):
            for _ in range(4):
                self.remote(address).say(RUBBISH)
            self.assertIsNone(self.keeper.may_enter(address))
        self.assertIsNone(self.keeper.may_enter(None))
        self.assertEqual(self.keeper.entries(), [])

    def test_proxy(self) -> None:
        """A proxy's address is nobody's: whoever is behind it, it is not scored; who is not behind it is."""
        for proxy in ("198.51.100.9:9050", "proxy.example:9050"):
            by_name = not proxy[0].isdecimal()
            self.remote("198.51.100.9", inbound=False, proxy=proxy).say(RUBBISH)
            self.assertEqual(self.score("198.51.100.9"), 0)
            self.remote("192.0.2.9", inbound=True, proxy=proxy).say(RUBBISH)
            self.assertEqual(self.score("192.0.2.9"), WEIGHTS[CloseCause.MALFORMED] * (1 + by_name))
            # all whom we dial are behind one that cannot be compared
            self.remote("192.0.2.10", inbound=False, proxy=proxy).say(RUBBISH)
            self.assertEqual(self.score("192.0.2.10"), WEIGHTS[CloseCause.MALFORMED])
        self.remote("198.51.100.9", inbound=True, proxy="198.51.100.9:9050").say(RUBBISH)
        self.assertEqual(self.score("198.51.100.9"), 0)
