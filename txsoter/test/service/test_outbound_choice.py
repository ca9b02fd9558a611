"""OutboundService: whom it dials, and by what road."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint

from txsoter.errors import FieldError
from txsoter.networks import TESTNET1
from txsoter.service.outbound import endpoint_place, endpoints_like
from txsoter.test.service.book.support import LoggingCase, at, world
from txsoter.test.service.dialling import HERE, OutboundCase
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import VerAck


class NeverTwoTests(OutboundCase):
    """Never two connections to one address, nor to two of one network."""

    def test_groups(self) -> None:
        """Never two in one network of 16 bits (IPv4) or 32 bits (IPv6)."""
        outbound = self.begin(8, 0)
        self.know("11.1.1.1", "11.1.2.2", "11.1.1.1", "12.1.1.1", "2a00:1::1", "2a00:1::2", "2a00:1:ffff::1")
        self.wait(100, 1)
        self.assertEqual(len(outbound.ready), 3)
        self.assertEqual(len({str(place)[:7] for place in outbound.ready.values()}), 3)

    def test_attempts_count(self) -> None:
        """One that is being dialled counts as well."""
        self.begin(8, 0)
        places = self.know("11.1.1.1", "11.1.2.2")
        self.world.hanging = dict.fromkeys(places)
        self.wait(40, 1)
        self.assertEqual(len(self.world.dialled), 1)

    def test_those_that_dialled_us(self) -> None:
        """One that dialled us is not dialled, on whatever port; others of its network are."""
        self.begin(8, 0)
        self.come("11.1.1.1")
        self.know("11.1.1.1", "11.1.1.2")
        self.wait(60, 1)
        self.assertEqual(self.world.dialled, [at("11.1.1.2")])

    def come(self, host: str) -> tuple[ScriptedPeer, MemoryLink]:
        """Let somebody dial us."""
        address = IPv4Address("TCP", host, 40000)
        remote = ScriptedPeer(TESTNET1.magic)
        peer = self.peers._inbound.buildProtocol(address)
        link = MemoryLink(remote, peer, address, HERE)
        remote.say(remote_version(genesis_hash=TESTNET1.genesis_hash), VerAck())
        link.pump()
        self.world.links[at(host, 40000)] = remote, link
        return remote, link

    def test_those_that_others_keep(self) -> None:
        """One that somebody else keeps is not dialled, nor its network, whether or not it is there now."""
        self.begin(8, 0, reserved=[at("11.1.1.1", 7000), at("127.0.0.1", 7000)])
        self.know("11.1.1.1", "11.1.2.2", "12.1.1.1")
        self.peers.dial(self.world.endpoint_for("12.1.1.1", 5070), "kept")
        self.world.pump()
        self.assertEqual(len(self.peers.peers), 1)
        self.wait(60, 1)
        self.assertEqual(self.world.dialled, [at("12.1.1.1")])

    def test_those_that_may_not_be_dialled(self) -> None:
        """One that somebody says should not be dialled is not."""
        self.begin(8, 0, may_dial=lambda host: "it is refused" if host == "11.1.1.1" else None)
        self.know("11.1.1.1", "12.1.1.1")
        self.wait(60, 1)
        self.assertEqual(self.world.dialled, [at("12.1.1.1")])

    def test_come_meanwhile(self) -> None:
        """When the address that is being dialled has dialled us meanwhile, ours goes; it has not failed."""
        self.world.silent = True
        outbound = self.begin(1, 1)
        self.wait(2)
        self.come("11.1.1.1")
        self.world.accept(self.places[0])
        self.wait(1)
        (peer,) = self.peers.peers
        self.assertTrue(peer.inbound)
        self.assertEqual((outbound.ready, outbound.attempts), ({}, {}))
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual(known.attempts, 0)

    def test_coming_meanwhile(self) -> None:
        """One that has only begun to dial us does not count: both would go, and none be left."""
        self.world.silent = True
        outbound = self.begin(1, 1)
        self.wait(2)
        address = IPv4Address("TCP", "11.1.1.1", 40000)
        remote = ScriptedPeer(TESTNET1.magic)
        link = MemoryLink(remote, self.peers._inbound.buildProtocol(address), address, HERE)
        self.world.links[at("11.1.1.1", 40000)] = remote, link
        self.world.accept(self.places[0])
        self.wait(1)
        self.assertEqual(len(outbound.ready), 1)

    def test_loopback(self) -> None:
        """Where loopback is allowed, each port there is somebody else, and never dialled twice."""
        self.allow_unroutable = True
        outbound = self.begin(8, 0)
        for port in range(2000, 2005):
            self.know("127.0.0.1", port=port)
        self.come("127.0.0.1")
        self.wait(100, 1)
        self.assertEqual({place.port for place in outbound.ready.values()}, set(range(2000, 2005)))
        self.assertEqual(len(self.world.dialled), 5)


class EndpointTests(LoggingCase):
    """endpoints_like and endpoint_place."""

    def test_tcp(self) -> None:
        """By default plain TCP, IPv6 too."""
        endpoint_for = endpoints_like(world())
        endpoint: Any = endpoint_for("192.0.2.7", 5070)
        self.assertIsInstance(endpoint, TCP4ClientEndpoint | HostnameEndpoint)
        self.assertIn("192.0.2.7", str(vars(endpoint)))
        self.assertIn("2a00::1", str(vars(endpoint_for("2a00::1", 5070))))

    def test_template(self) -> None:
        """Any endpoint that Twisted knows."""
        endpoint_for = endpoints_like(world(), "unix:/run/{host}/{port}")
        self.assertIn("/run/192.0.2.7/5070", str(vars(endpoint_for("192.0.2.7", 5070))))

    def test_no_template(self) -> None:
        """What is none is refused, and told what is allowed."""
        for template in ("", "tcp:{host}", "tcp:192.0.2.7:{port}", "nonsense:{host}:{port}", "{host}:{port}"):
            error = self.assertRaises(FieldError, endpoints_like, world(), template)
            self.assertIn("such as tcp:{host}:{port}", str(error))

    def test_places(self) -> None:
        """Where a tcp: endpoint goes, if that is an IP."""
        for text, place in (
            ("tcp:192.0.2.7:5070", at("192.0.2.7", 5070)),
            ("tcp:192.0.2.7:5070:timeout=10", at("192.0.2.7", 5070)),
            ("tcp:host=192.0.2.7:port=5070", at("192.0.2.7", 5070)),
            (r"tcp:2a00\:\:1:5070", at("2a00::1", 5070)),
            ("tcp:example.org:5070", None),
            ("tcp:192.0.2.7:0", None),
            ("tls:192.0.2.7:5070", None),
            ("tcp:192.0.2.7", None),
        ):
            self.assertEqual(endpoint_place(text), place, text)
