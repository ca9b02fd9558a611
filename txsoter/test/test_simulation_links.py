"""``txsoter.testing``'s simulated links: they behave as Twisted's TCP does."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject

from txsoter.test.peer.cases import wrong
from txsoter.test.peer.support import TrialCase
from txsoter.test.simulation.plain import Counting, HalfNoting, Noting
from txsoter.testing import SimulatedNetwork, SimulatedTransport

KIB = 1024


class LinkCase(TrialCase):
    """Two plain protocols, and a link between them."""

    def connected(
        self, seed: int = 1, client: type[Noting] = Noting, server: type[Noting] = Noting, **settings: Any
    ) -> tuple[SimulatedNetwork, Noting, Noting]:
        network = SimulatedNetwork(seed, **settings)
        here, there = network.node(), network.node()
        listening, dialling = Counting(server), Counting(client)
        self.successResultOf(there.server_endpoint().listen(listening))
        network.wait_for(here.client_endpoint(there).connect(dialling))
        self.addCleanup(self.assert_nothing_left, network, dialling, listening)
        return network, dialling.made[0], listening.made[0]

    def assert_nothing_left(self, network: SimulatedNetwork, *factories: Counting) -> None:
        """All can be closed, and both ends hear of it once."""
        network.close()
        self.assertEqual((network.leftovers(), network.clock.getDelayedCalls()), ([], []))
        for factory in factories:
            self.assertEqual(factory.started, 0)
            self.assertEqual([len(made.lost) for made in factory.made], [1] * len(factory.made))


class LinkTests(LinkCase):
    def test_transports_are_what_they_say(self) -> None:
        _, client, server = self.connected()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, client.transport)
        self.assertEqual(client.transport.getHost(), server.transport.getPeer())
        self.assertEqual(client.transport.getPeer(), server.transport.getHost())
        self.assertEqual((client.transport.getPeer().host, client.transport.getPeer().port), ("10.0.0.2", 18555))
        self.assertIn("10.0.0.1:49153 to 10.0.0.2:18555", repr(client.transport))
        self.assertEqual(str(client.transport.link), "<link 1: 10.0.0.1 to 10.0.0.2>")
        for name in ("TcpNoDelay", "TcpKeepAlive"):
            self.assertFalse(getattr(client.transport, f"get{name}")())
            getattr(client.transport, f"set{name}")(True)
            self.assertTrue(getattr(client.transport, f"get{name}")())

    def test_bytes_arrive_in_order_within_their_latency(self) -> None:
        pieces = 0
        for seed in range(20):
            network, client, server = self.connected(seed, latency=(0.1, 0.4), chop=0.9)
            sent = [bytes([number]) * network.random.randrange(1, 3000) for number in range(20)]
            start = network.clock.seconds()
            for each in sent:
                client.transport.write(each)
            self.assertEqual(server.data, [])
            network.run(2)
            self.assertEqual(server.all, b"".join(sent))
            latency = client.transport.link.latency
            self.assertTrue(0.1 <= latency <= 0.4)
            self.assertGreaterEqual(server.times[0], start + latency)
            self.assertLessEqual(server.times[-1], start + 2 * latency)
            pieces += len(server.data)
        self.assertGreater(pieces, 40)

    def test_whole_when_nothing_is_chopped_and_never_more_than_is_read_at_once(self) -> None:
        network, client, server = self.connected(chop=0.0, window=(10**6, 10**6))
        client.transport.writeSequence([b"a" * 1000, b"b" * 1000])
        network.run(1)
        self.assertEqual([len(each) for each in server.data], [2000])
        server.data.clear()
        client.transport.write(bytes(300 * KIB))
        network.run(5)
        self.assertEqual((len(server.all), max(map(len, server.data))), (300 * KIB, 64 * KIB))

    def test_now_and_then_byte_by_byte(self) -> None:
        sizes = set()
        for seed in range(100):
            network, client, server = self.connected(seed, chop=1.0)
            client.transport.write(bytes(100))
            network.run(1)
            sizes.add(len(server.data))
            self.assertEqual(len(server.all), 100)
        self.assertIn(100, sizes)
        self.assertGreater(len(sizes), 3)

    def test_only_bytes_are_taken(self) -> None:
        _, client, _ = self.connected()
        for data in (bytearray(b"x"), memoryview(b"x"), "x"):
            with self.assertRaises(TypeError):
                client.transport.write(wrong(data))

    def test_what_is_on_its_way_and_not_read_is_bounded(self) -> None:
        """A side that reads nothing is felt by the one that writes, once the window is full."""
        network, client, server = self.connected(window=(10 * KIB, 10 * KIB))
        client.transport.registerProducer(wrong(client), True)
        server.transport.pauseProducing()
        client.transport.write(bytes(64 * KIB))
        self.assertEqual(client.calls, [])
        network.run(5)
        client.transport.write(bytes(20 * KIB))
        # it is told with each write, as by Twisted
        client.transport.write(b"x")
        self.assertEqual(client.calls, ["pause", "pause"])
        network.run(5)
        self.assertEqual((server.data, client.transport.waiting), ([], 74 * KIB + 1))
        server.transport.resumeProducing()
        network.run(30)
        self.assertEqual((len(server.all), client.calls), (84 * KIB + 1, ["pause", "pause", "resume"]))
        self.assertEqual((client.transport.written, client.transport.delivered), (84 * KIB + 1,) * 2)
        self.assertEqual(client.transport.waiting, 0)

    def test_a_hold_lets_what_is_sent_pile_up_for_a_while(self) -> None:
        network, client, server = self.connected()
        server.transport.hold(10)
        client.transport.write(b"hello")
        network.run(9)
        self.assertEqual(server.data, [])
        server.transport.hold(0.5)
        network.run(2)
        self.assertEqual(server.all, b"hello")

    def test_reading_may_be_overrun(self) -> None:
        """As by TLS: what has arrived together is given, although reading was paused at the first piece."""

        class Pausing(Noting):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        for overrun, given in ((0.0, 64 * KIB), (1.0, 200 * KIB)):
            network, client, server = self.connected(server=Pausing, chop=0.0, window=(10**6, 10**6), overrun=overrun)
            server.transport.hold(5)
            for size in (100 * KIB, 50 * KIB, 50 * KIB):
                client.transport.write(bytes(size))
                network.run(1)
            network.run(5)
            self.assertEqual((len(server.all), server.transport.reading), (given, False))

    def test_closing_waits_for_what_was_written_and_for_a_paused_producer(self) -> None:
        network, client, server = self.connected(window=(10 * KIB, 10 * KIB))
        client.transport.registerProducer(wrong(client), True)
        with self.assertRaises(RuntimeError):
            client.transport.registerProducer(wrong(server), True)
        client.transport.write(bytes(100 * KIB))
        client.transport.loseConnection()
        self.assertTrue(client.transport.disconnecting)
        network.run(60)
        self.assertEqual((len(server.all), server.lost, client.calls), (100 * KIB, [], ["pause", "resume"]))
        client.transport.unregisterProducer()
        network.run(1)
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], [ConnectionDone]))
        client.transport.registerProducer(wrong(client), True)
        self.assertEqual(client.calls, ["pause", "resume", "stop"])
        client.transport.write(b"too late")
        self.assertEqual(client.transport.written, 100 * KIB)

    def test_a_pull_producer_is_asked_whenever_there_is_room(self) -> None:
        network, client, server = self.connected()
        pieces = [b"one", b"two", b"three"]

        class Puller:
            def resumeProducing(self) -> None:
                if pieces:
                    client.transport.write(pieces.pop(0))
                else:
                    client.transport.unregisterProducer()

            def stopProducing(self) -> None: ...

        client.transport.registerProducer(wrong(Puller()), False)
        network.run(2)
        self.assertEqual((server.all, pieces), (b"onetwothree", []))

    def test_nothing_is_told_from_inside_a_call(self) -> None:
        """As in a reactor: all news come from the clock."""
        network, client, server = self.connected()
        for call in (client.transport.loseConnection, server.transport.abortConnection, client.transport.link.reset):
            call()
            self.assertEqual((client.lost, server.lost), ([], []))
        network.run(1)
        self.assertEqual((len(client.lost), len(server.lost)), (1, 1))

    def test_aborting_loses_what_waits(self) -> None:
        network, client, server = self.connected()
        client.transport.write(b"never")
        client.transport.abortConnection()
        network.run(1)
        self.assertEqual((server.data, client.lost, server.lost), ([], [ConnectionAborted], [ConnectionLost]))

    def test_a_reset_loses_what_is_on_its_way(self) -> None:
        network, client, server = self.connected()
        client.transport.write(b"never")
        network.run(0.001)
        client.transport.link.reset()
        client.transport.link.reset()
        client.transport.write(b"neither")
        network.run(1)
        self.assertEqual((client.lost, server.lost, server.data), ([ConnectionLost], [ConnectionLost], []))
        self.assertEqual(network.links, [])

    def test_one_that_does_not_read_sees_no_end_but_a_reset(self) -> None:
        network, client, server = self.connected()
        server.transport.pauseProducing()
        client.transport.write(b"unread")
        client.transport.loseConnection()
        network.run(10)
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], []))
        # whoever writes to a closed end is told that it is one
        server.transport.write(b"hello?")
        network.run(2)
        self.assertEqual((server.lost, server.data), ([ConnectionLost], []))

    def test_to_close_with_bytes_unread_is_a_reset(self) -> None:
        network, client, server = self.connected()
        server.transport.pauseProducing()
        client.transport.write(b"unread")
        network.run(1)
        server.transport.loseConnection()
        network.run(1)
        self.assertEqual((client.lost, server.lost), ([ConnectionLost], [ConnectionDone]))

    def test_half_an_end_is_the_whole_end_to_most(self) -> None:
        network, client, server = self.connected()
        client.transport.write(b"bye")
        client.transport.loseWriteConnection()
        network.run(2)
        self.assertEqual((server.all, server.lost, client.lost), (b"bye", [ConnectionDone], [ConnectionDone]))

    def test_half_an_end_to_those_who_live_on_with_it(self) -> None:
        network, client, server = self.connected(client=HalfNoting, server=HalfNoting)
        client.transport.loseWriteConnection()
        network.run(1)
        client.transport.write(b"too late")
        server.transport.write(b"still here")
        network.run(1)
        self.assertEqual((client.calls, server.calls), (["write lost"], ["read lost"]))
        self.assertEqual((client.all, server.all), (b"still here", b""))
        self.assertEqual((client.transport.written, client.transport.delivered), (8, 0))
        server.transport.stopProducing()
        network.run(1)
        # one that hears of the end of the other half, too, has to hang up itself
        self.assertEqual((client.calls, client.lost), (["write lost", "read lost"], []))

    def test_what_a_protocol_raises_is_raised_by_the_run_and_stops_nobody(self) -> None:
        class Failing(Noting):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                if data == b"trouble":
                    raise ValueError("trouble")

        network, client, server = self.connected(server=Failing, chop=0.0)
        client.transport.write(b"trouble")
        with self.assertRaises(ValueError):
            network.run(1)
        client.transport.write(b"more")
        network.run(1)
        self.assertEqual(server.all, b"troublemore")

    def test_a_tap_sees_each_write(self) -> None:
        network, client, server = self.connected()
        seen: list[tuple[SimulatedTransport, bytes]] = []
        network.tap = lambda transport, data: seen.append((transport, data))
        client.transport.write(b"one")
        server.transport.write(b"two")
        client.transport.write(b"")
        self.assertEqual(seen, [(client.transport, b"one"), (server.transport, b"two")])
