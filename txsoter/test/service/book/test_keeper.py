"""BookKeeper: who was connected to, and which addresses are our own."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from txsoter.networks import SIMNET
from txsoter.service.book.places import group_of
from txsoter.test.service.book.keeper_case import KeeperCase
from txsoter.test.service.book.support import DAY, HOUR, NOW, address, at, rival
from txsoter.wire import Addr, GetAddr, GetAddrCache


class ConnectionTests(KeeperCase):
    """Who was connected to."""

    def test_dialled(self) -> None:
        """One that we dialled has worked, has the services that it says, and was good until it went."""
        pair = self.peer(ready=False)
        self.assertEqual(len(self.book), 0)
        self.shake_hands(pair)
        known = self.book.get(at("77.7.7.7"))
        assert known is not None
        self.assertEqual((known.tried, known.services, known.succeeded), (True, 9, NOW))
        self.clock.advance(100)
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(known.succeeded, NOW + 100)

    def test_one_that_we_stay_connected_to_is_fresh_and_keeps_its_place(self) -> None:
        """After 31 days of one connection it is told to others with a recent time, and nobody takes its place."""
        self.peer()
        place = at("77.7.7.7")
        other = rival(place, lambda each: self.slots().of_tried(each, group_of(each)))
        for _ in range(31):
            self.clock.advance(DAY)
            self.book.succeeded(other, 1)
        known = self.book.get(place)
        assert known is not None
        self.assertFalse(known.is_stale(self.book.now()))
        self.assertTrue(known.tried)
        told = [each.timestamp for each in self.book.sample() if each.host == place.host]
        self.assertEqual([stamp > NOW + 29 * DAY for stamp in told], [True])
        # not to the hour: those whom we tell shall not see whom we are connected to
        self.clock.advance(HOUR)
        self.assertEqual([each.timestamp for each in self.book.sample() if each.host == place.host], told)

    def slots(self) -> Any:
        assert self.book._buckets is not None
        return self.book._buckets._slots

    def test_nothing_runs_without_connections_that_we_have_dialled(self) -> None:
        inbound, first, second = self.peer(inbound=True), self.peer(), self.peer()
        hourly = [call for call in self.clock.calls if call.getTime() - self.clock.seconds() == HOUR]
        self.assertEqual(len(hourly), 1)
        for pair in (first, second):
            self.assertTrue(hourly[0].active())
            pair.peer.disconnect()
            pair.pump()
        self.assertFalse(hourly[0].active())
        self.assertEqual(inbound.peer.state.value, "ready")

    def test_dialled_us(self) -> None:
        """Of one who dialled us we do not know where it listens."""
        pair = self.peer(inbound=True)
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(len(self.book), 0)
        # though it come from the port of one that we know
        self.book.hear([address("77.7.7.7")], at("1.1.1.1").ip)
        pair = self.peer(inbound=True)
        pair.peer.disconnect()
        pair.pump()
        known = self.book.get(at("77.7.7.7"))
        assert known is not None
        self.assertEqual(known.succeeded, 0)

    def test_never_ready(self) -> None:
        """One whose handshake fails has not worked."""
        self.book.hear([address("77.7.7.7")], at("1.1.1.1").ip)
        pair = self.peer(ready=False)
        self.shake_hands(pair, genesis_hash=SIMNET.genesis_hash)
        known = self.book.get(at("77.7.7.7"))
        assert known is not None
        self.assertEqual((known.tried, known.succeeded), (False, 0))

    def test_other_transports(self) -> None:
        """What has no IP is nowhere; IPv6 has one, its zone left out."""
        for remote in (UNIXAddress(b"/run/soter"), IPv4Address("TCP", "localhost", 5070)):
            pair = self.peer(remote=remote)
            self.assertIsNone(self.keeper.place_of(pair.peer))
        self.assertEqual(len(self.book), 0)
        self.peer(remote=IPv6Address("TCP", "2a00::7", 5070))
        self.assertEqual(len(self.book), 1)
        zoned = self.peer(remote=IPv6Address("TCP", "fe80::7%eth0", 5070))
        self.assertEqual(self.keeper.place_of(zoned.peer), at("fe80::7"))

    def test_behind_a_proxy(self) -> None:
        """A proxy's address is nobody's; where it leads to is known to who dialled."""
        pair = self.peer(proxy="77.7.7.7:9050", ready=False)
        self.assertIsNone(self.keeper.place_of(pair.peer))
        self.keeper.dialled(pair.peer, at("1.2.3.4", 6000))
        self.assertEqual(self.keeper.place_of(pair.peer), at("1.2.3.4", 6000))
        self.shake_hands(pair)
        self.assertEqual(dict(self.book.sizes()), {"tried": 1, "new": 0})
        self.assertIsNotNone(self.book.get(at("1.2.3.4", 6000)))
        self.peer(proxy="77.7.7.7:9050")
        self.assertEqual(len(self.book), 1)

    def test_dialled_and_gone(self) -> None:
        """Of one that has ended already nothing is noted."""
        pair = self.peer()
        pair.peer.disconnect()
        pair.pump()
        self.keeper.dialled(pair.peer, at("1.2.3.4"))

    def test_simnet(self) -> None:
        """On simnet nobody is learned, asked, or told."""
        self.network = SIMNET
        self.setUp()
        self.keeper = self.made([address("9.9.9.9")])
        outbound, inbound = self.peer(), self.peer(inbound=True)
        self.assertEqual([each.command for each in outbound.hear()], ["version", "verack"])
        self.book.name("1.2.3.4", 18555)
        told = [Addr([address("1.3.3.4")]), GetAddr(), GetAddrCache()]
        for pair in (outbound, inbound):
            self.assertEqual(self.answers(pair, *told), [])
        self.assertEqual(len(self.book), 1)


class SelfTests(KeeperCase):
    """A connection to ourselves."""

    def ours(self, *, dialled: bool = True) -> None:
        """We dial an address, and end up at our own port."""
        outbound = self.peer(remote=IPv4Address("TCP", "1.2.3.4", 5070), ready=False)
        if dialled:
            self.keeper.dialled(outbound.peer, at("1.2.3.4"))
        outbound.pump()
        (version,) = outbound.remote.heard
        inbound = self.peer(inbound=True, remote=outbound.transport.getHost(), ready=False)
        inbound.say(version)
        self.assertIsNotNone(inbound.remote.closed)

    def test_noticed_by_the_end_that_was_dialled(self) -> None:
        """It is the end that was dialled that notices; the address is ours from now on."""
        self.book.hear([address("1.2.3.4")], at("1.1.1.1").ip)
        self.ours()
        self.assertEqual(len(self.book), 0)
        self.book.hear([address("1.2.3.4")], at("1.1.1.1").ip)
        self.assertEqual(len(self.book), 0)

    def test_noticed_by_the_end_that_dialled(self) -> None:
        """So does what gives us back what we say."""
        pair = self.peer(ready=False)
        self.keeper.dialled(pair.peer, at("77.7.7.7"))
        pair.pump()
        pair.say(*pair.remote.heard)
        self.book.hear([address("77.7.7.7")], at("1.1.1.1").ip)
        self.assertEqual(len(self.book), 0)

    def test_from_elsewhere(self) -> None:
        """When it did not come from where we dialled, we do not know which address it was."""
        self.book.hear([address("1.2.3.4")], at("1.1.1.1").ip)
        self.ours(dialled=False)
        self.assertEqual(len(self.book), 1)

    def test_bounded(self) -> None:
        """From where the last 64 connections were made is remembered."""
        for number in range(70):
            pair = self.peer(ready=False)
            pair.transport._host = IPv4Address("TCP", "192.0.2.1", 1000 + number)
            self.keeper.dialled(pair.peer, at("1.2.3.4", 2000 + number))
        self.assertEqual(list(self.keeper._locals), [at("192.0.2.1", 1000 + number) for number in range(6, 70)])
