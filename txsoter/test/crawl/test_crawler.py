"""A crawl over connections, in memory: honest nodes, liars, and everything that ends a visit."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.logger import LogLevel, capturedLogs

from txsoter.core.sanitize import sanitize
from txsoter.crawl.network_map import MapNode, NetworkMap
from txsoter.crawl.visit_result import VisitResult
from txsoter.networks import REGTEST, SIMNET
from txsoter.service.book.places import Place
from txsoter.test.crawl.nodes import Land, Node, Silent, Slow, addresses
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import at
from txsoter.testing import Faults
from txsoter.wire import MAX_ADDRESSES, AddrCache, write_message


class CrawlCase(TrialCase):
    def setUp(self) -> None:
        self.land = Land()
        self.addCleanup(self.land.close)

    def node(self, found: NetworkMap, place: Place) -> MapNode:
        return found.by_name[str(place)]


class HonestTests(CrawlCase):
    def test_the_map_is_the_truth(self) -> None:
        """Nodes, edges, who claims them, and what nodes say of themselves; asked once for each, by who says what it
        is."""
        nodes = self.land.nodes(20)
        found = self.land.crawl([nodes[0].place])
        self.assertEqual({node.name for node in found.reachable}, {str(node.place) for node in nodes})
        self.assertEqual({(edge.source, edge.target) for edge in found.edges}, self.land.edges(nodes))
        self.assertTrue(all(edge.confirmed for edge in found.edges))
        self.assertEqual({tuple(node.asked) for node in nodes}, {(1, 1)})
        self.assertIn(b"(crawler)", nodes[3].agents[0])
        node = self.node(found, nodes[0].place)
        self.assertEqual((node.services, node.height, node.protocol_version), (9, 77, 70013))
        self.assertEqual(node.user_agent, "/soterwire:0.6.0/light:0.1.0/")
        assert node.latency is not None
        self.assertTrue(0 < node.latency < 1)

    def test_many_at_a_time(self) -> None:
        """Never more than may be."""
        nodes = self.land.nodes(40)
        service = self.land.begin([node.place for node in nodes], max_dials=7)
        most = 0
        while not service.atlas.is_finished:
            self.land.network.run(0.01)
            most = max(most, len(self.land.here.peers))
        self.assertEqual(most, 7)
        self.assertEqual(len(service.map().reachable), 40)

    def test_again_and_again(self) -> None:
        nodes = self.land.nodes(5)
        service = self.land.begin([nodes[0].place], once=False, revisit=600.0)
        self.land.network.run(3600)
        self.assertEqual(len(service.map().reachable), 5)
        self.assertTrue(all(5 <= node.asked[1] <= 8 for node in nodes))
        self.assertRegex(service.summary()[0], "crawl: [0-9]+ visits; 5 reachable, 5 addresses, 5 waiting")
        self.assertIn("it is listed", service.why(nodes[1].place.host, nodes[1].place.port))

    def test_stopped_in_the_middle(self) -> None:
        """Whatever is under way then: nothing is left, and what was not over does not count."""
        nodes = self.land.nodes(30)
        for pause in (0.0, 0.005, 0.01, 0.02, 0.04, 0.1, 0.5):
            service = self.land.begin([node.place for node in nodes])
            self.land.network.run(pause)
            self.land.stop()
            self.assertFalse([node for node in service.map().nodes if node.kind.value in ("down", "fake")])
            self.assertEqual(self.land.here.peers, [])

    def test_after_all_that_can_go_wrong(self) -> None:
        """Connections break, programs stop reading, the network falls in two; some time later the map is the truth."""
        nodes = self.land.nodes(10)
        service = self.land.begin([nodes[0].place], once=False, revisit=120.0)
        self.land.network.disturb(Faults(reset=2.0, hold=2.0, partition=60.0))
        self.land.network.run(1800)
        self.land.network.calm()
        self.land.network.run(7200)
        found = service.map()
        self.assertEqual(len(found.reachable), 10)
        self.assertEqual({(each.source, each.target) for each in found.edges if each.confirmed}, self.land.edges(nodes))

    def test_one_node_at_two_addresses(self) -> None:
        """It is listed once, under the address that answered first."""
        nodes = self.land.nodes(6)
        other = Node(self.land)
        twin = nodes[2]

        def cache(peer: Any, before: Any = twin.on_getaddrcache) -> None:
            here = [each for node in (twin, other) for each in node.at.peers if each.inbound]
            ends = [at(each.host or "", each.port or 0) for each in here]
            peer.push_address_cache(addresses([*twin.inbound, *ends]), addresses(twin.outbound), [])

        for each in (twin, other):
            each.on_getaddrcache = cache  # type: ignore[method-assign]
        nodes[0].told.append(other.place)
        found = self.land.crawl([nodes[0].place])
        self.assertEqual(len(found.reachable), 6)
        kinds = {self.node(found, place).kind.value for place in (twin.place, other.place)}
        self.assertEqual(kinds, {"reachable", "alias"})
        self.assertEqual(len(found.edges), 18)
        self.assertTrue(all(edge.confirmed for edge in found.edges))


class LiarTests(CrawlCase):
    """Each tells its lies in a network of honest nodes, of which everything is found and nothing wrong confirmed."""

    def setUp(self) -> None:
        super().setUp()
        self.nodes = self.land.nodes(10)

    def among(self, *liars: Place, seconds: float = 300.0, **rules: Any) -> NetworkMap:
        """The map of a crawl in which all honest nodes tell of these."""
        for node in self.nodes:
            node.told += liars
        found = self.land.crawl([self.nodes[0].place], seconds, **rules)
        names = {node.name for node in found.reachable}
        self.assertLessEqual({str(node.place) for node in self.nodes}, names)
        confirmed = {(edge.source, edge.target) for edge in found.edges if edge.confirmed}
        self.assertEqual(confirmed, self.land.edges(self.nodes))
        return found

    def test_fake_inbound(self) -> None:
        liar = Node(self.land)
        liar.inbound = [Place(node.place.ip, 50_000) for node in self.nodes]
        found = self.among(liar.place)
        claimed = [edge for edge in found.edges if edge.target == str(liar.place)]
        self.assertEqual([set(edge.claimed_by) for edge in claimed], [{"to"}] * 10)

    def test_claims_everything(self) -> None:
        liar = Node(self.land)
        liar.outbound = [node.place for node in self.nodes]
        liar.inbound = [Place(node.place.ip, 50_000) for node in self.nodes]
        found = self.among(liar.place)
        self.assertEqual(len([edge for edge in found.edges if str(liar.place) in (edge.source, edge.target)]), 20)

    def test_fifty_thousand_addresses(self) -> None:
        """In fifty messages: so many are looked at, and the rest is not even read; it is asked once more."""
        liar = Node(self.land)
        flood = addresses([at(f"10.{200 + n // 10_000}.{n // 200 % 50}.{n % 200 + 1}") for n in range(50_000)])

        def tell(peer: Any) -> None:
            for start in range(0, len(flood), MAX_ADDRESSES):
                peer.push_addresses(flood[start : start + MAX_ADDRESSES])
            peer.push_address_cache([], [], flood[:20_000])

        liar.on_getaddr = tell  # type: ignore[method-assign]
        found = self.among(liar.place, max_visit_bytes=1 << 20, max_told=300)
        self.assertIn(len(found.nodes), range(11 + 300, 11 + 601))
        self.assertTrue(self.node(found, liar.place).reachable)

    def test_addresses_of_others_services(self) -> None:
        """Servers that are no nodes: they close, or say something else."""
        web = self.land.listen(lambda: Silent(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100))
        liar = Node(self.land)
        liar.told = [web]
        found = self.among(liar.place)
        self.assertEqual(self.node(found, web).kind.value, "fake")
        self.assertIn("it broke the protocol during the handshake", self.node(found, web).reason)

    def test_tarpit(self) -> None:
        """It takes the connection and says nothing: given up after the handshake's time."""
        tarpit = self.land.listen(Silent)
        found = self.among(tarpit, handshake_timeout=5.0, retries=0)
        self.assertEqual(self.node(found, tarpit).kind.value, "seen")
        self.assertIn("did not complete the handshake in time", self.node(found, tarpit).reason)

    def test_one_byte_a_second(self) -> None:
        """After a good handshake: the node counts, and its answer is not waited for."""
        raw = write_message(AddrCache([], [], []), REGTEST.magic)[:16] + (20_000).to_bytes(4, "little") + bytes(4)
        slow = self.land.listen(lambda: Slow(self.land.network.clock, raw))
        found = self.among(slow, seconds=60.0)
        self.assertTrue(self.node(found, slow).reachable)

    def test_slow_answers(self) -> None:
        """An answer that takes seconds is waited for."""
        slow = Node(self.land)
        slow.outbound = [self.nodes[0].place]
        cache = slow.on_getaddrcache
        slow.on_getaddrcache = lambda peer: self.land.network.clock.callLater(5.0, cache, peer)  # type: ignore[method-assign]
        found = self.among(slow.place)
        self.assertEqual(
            [edge.target for edge in found.edges if edge.source == str(slow.place)], [str(self.nodes[0].place)]
        )

    def test_a_lone_self_address(self) -> None:
        """It comes first, unasked, and does not end the wait for the answer."""
        node = Node(self.land)
        node.told = []
        node.known = [self.nodes[0].place, at("10.99.0.1")]

        def cache(peer: Any, before: Any = node.on_getaddrcache) -> None:
            peer.push_addresses(addresses([node.place]))
            self.land.network.clock.callLater(3.0, before, peer)

        node.on_getaddrcache = cache  # type: ignore[method-assign]
        found = self.among(node.place)
        self.assertIn("10.99.0.1:5070", found.by_name)

    def test_another_network(self) -> None:
        """By its magic, and by the genesis block that it names."""
        simnet = Node(self.land, SIMNET)
        named = Node(self.land, attrs_evolved())
        found = self.among(simnet.place, named.place)
        for place in (simnet.place, named.place):
            self.assertFalse(self.node(found, place).reachable)
            self.assertRegex(self.node(found, place).reason, "on another network|rejected us .*genesis block")

    def test_our_own_address(self) -> None:
        """A node tells the address that it sees us at: not visited, not listed."""
        node = Node(self.land)

        def tell(peer: Any) -> None:
            peer.push_addresses(addresses([at(peer.host, peer.port)]))

        node.on_getaddr = tell  # type: ignore[method-assign]
        found = self.among(node.place)
        self.assertFalse([each for each in found.nodes if each.host == self.land.here.host])

    def test_closes_at_once(self) -> None:
        """As a node does that has banned us."""

        class Closes(Silent):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.loseConnection()

        closes = self.land.listen(Closes)
        found = self.among(closes)
        self.assertIn("it may have banned us", self.node(found, closes).reason)

    def test_private_addresses_behind_nat(self) -> None:
        """Nothing of them is taken where only the internet's count. Here, that is nothing at all."""
        self.nodes[0].outbound.append(at("192.168.7.7"))
        found = self.land.crawl([self.nodes[0].place], allow_unroutable=False)
        self.assertEqual([node.name for node in found.nodes], [str(self.nodes[0].place)])
        self.assertEqual(found.edges, ())

    def test_addrcache_of_ipv6(self) -> None:
        """Listed, and not dialled."""
        liar = Node(self.land)
        liar.known = [at("2a00:1::1"), at("2a00:1::2")]
        liar.outbound = [at("2a00:1::3")]
        liar.inbound = [at("2a00:1::4", 50_000)]
        found = self.among(liar.place)
        self.assertIn("never dialled: IPv6", self.node(found, at("2a00:1::1")).reason)
        self.assertEqual(self.node(found, at("2a00:1::3")).kind.value, "seen")

    def test_texts_are_fit_to_be_printed(self) -> None:
        """Reasons quote remotes; they hold nothing that is more than text."""
        liar = Node(self.land, SIMNET)
        found = self.among(liar.place)
        for node in found.nodes:
            self.assertEqual(sanitize(node.reason, 1000), node.reason)


def attrs_evolved() -> Any:
    """A network with regtest's magic and another genesis block."""
    return attrs.evolve(REGTEST, name="other", genesis_hash=SIMNET.genesis_hash, genesis_block=None)


class LimitTests(CrawlCase):
    def test_claims_of_one_visit_are_limited(self) -> None:
        liar = Node(self.land)
        liar.outbound = [at(f"10.50.{number // 200}.{number % 200 + 1}") for number in range(900)]
        found = self.land.crawl([liar.place], max_claims=100, max_told=50)
        self.assertEqual(len(found.edges), 100)
        self.assertEqual(len(found.nodes), 51)

    def test_several_messages(self) -> None:
        """What does not fit into one addrcache comes in others, which are waited for."""
        node = Node(self.land)
        node.outbound = [at(f"10.50.{number // 200}.{number % 200 + 1}") for number in range(900)]
        node.inbound = [at(f"10.51.{number // 200}.{number % 200 + 1}", 50_000) for number in range(600)]
        found = self.land.crawl([node.place])
        self.assertEqual(len(found.edges), 1500)

    def test_the_config_of_visits(self) -> None:
        """The comment of the user agent is there once, beside the operator's own."""
        node = Node(self.land)
        config = self.land.here.config.replace(user_agent_comments=("crawler", "example.org"))
        self.land.crawl([node.place], config=config)
        self.assertEqual(node.agents, [b"/soterwire:0.6.0/txsoter:0.1.0(crawler; example.org)/"])

    def test_visits_log_nothing(self) -> None:
        """Whatever the config says of peers: hundreds of visits a second end, for months."""
        nodes = self.land.nodes(5)
        with capturedLogs() as events:
            self.land.crawl([nodes[0].place], config=self.land.here.config.replace(log_connections=True))
        self.assertEqual([event for event in events if event["log_level"] is not LogLevel.debug], [])

    def test_whoever_is_told_may_fail(self) -> None:
        """The crawl goes on."""
        nodes = self.land.nodes(5)

        def fail(result: VisitResult) -> None:
            raise ValueError(str(result.place))

        found = self.land.crawl([nodes[0].place], visited=fail)
        self.assertEqual(len(found.reachable), 5)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ValueError)), 5)

    def test_an_endpoint_that_cannot_be(self) -> None:
        service_map = self.land.crawl([at("10.1.1.1")], endpoint_for=lambda host, port: 1 / 0)
        (node,) = service_map.nodes
        self.assertIn("could not be connected to (division by zero)", node.reason)

    def test_ourselves(self) -> None:
        """A node of this very process: the handshake comes back to it."""
        own = Node(self.land, allow_self_connections=False)
        config = self.land.here.config.replace(allow_self_connections=False)
        for refuses in (True, False):
            own.at.config = own.at.config.replace(allow_self_connections=not refuses)
            found = self.land.crawl([own.place], config=config)
            self.assertEqual([node.kind.value for node in found.nodes], ["ourselves"])
