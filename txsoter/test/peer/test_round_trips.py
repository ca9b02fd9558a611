"""The hook for round trips, and the public face that listeners and observers use instead of private state."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress

from txsoter import CloseCause, Listeners, SoterPeerProtocol
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.wire import Ping, Pong


class RoundTripTests(WholePeerTestCase):
    def test_each_answered_ping_is_told_in_seconds(self) -> None:
        told: list[tuple[object, float]] = []
        listeners = Listeners(on_round_trip=lambda peer, seconds: told.append((peer, seconds)))
        pair = self.scripted(config(listeners=listeners))
        pair.peer.send(Ping(1))
        pair.peer.send(Ping(2))
        pair.clock.advance(0.25)
        pair.say(Pong(2), Pong(3), Pong(2))
        pair.clock.advance(0.25)
        pair.say(Pong(1))
        self.assertEqual(told, [(pair.peer, 0.25), (pair.peer, 0.5)])

    def test_one_that_fails_is_logged_and_the_connection_goes_on(self) -> None:
        pair = self.scripted(config(listeners=Listeners(on_round_trip=lambda peer, seconds: 1 // 0)))
        pair.peer.send(Ping(1))
        pair.say(Pong(1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_ready(pair)


class AddressTests(WholePeerTestCase):
    def test_host_and_port_of_the_remote(self) -> None:
        pair = self.scripted(remote_address=IPv4Address("TCP", "192.0.2.7", 5))
        self.assertEqual((pair.peer.host, pair.peer.port), ("192.0.2.7", 5))
        self.assertEqual(pair.peer.remote_address, IPv4Address("TCP", "192.0.2.7", 5))

    def test_without_a_connection_or_an_ip_there_are_none(self) -> None:
        peer = SoterPeerProtocol(config())
        self.assertEqual((peer.host, peer.port, peer.remote_address, peer.address), (None, None, None, "nowhere"))
        pair = self.scripted(remote_address=UNIXAddress("/run/soter.sock"))
        self.assertEqual((pair.peer.host, pair.peer.port), (None, None))

    def test_the_close_reason_is_there_from_the_beginning_of_the_end(self) -> None:
        pair = self.scripted()
        self.assertIsNone(pair.peer.close_reason)
        told = pair.peer.disconnect("enough")
        assert pair.peer.close_reason is not None
        self.assertIs(pair.peer.close_reason.cause, CloseCause.DISCONNECT)
        pair.pump()
        self.assertIs(self.successResultOf(told), pair.peer.close_reason)
