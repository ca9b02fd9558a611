"""A network, its programs, what goes wrong, and how it ends: all of it from one seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from txsoter import SIMNET
from txsoter.core.state import State
from txsoter.test.simulation import properties
from txsoter.test.simulation.hosts import Host, Mail
from txsoter.test.simulation.ledger import Ledger
from txsoter.test.simulation.protocols import ProtocolHost
from txsoter.testing import Faults, SimulatedNetwork
from txsoter.wire import InventoryType, NetAddress, RejectCode, Services

__all__ = ["Scenario"]

KIB = 1024
LONGEST_END = 700.0
"""Seconds of simulated time in which everything must have ended: the longest idle timeout, twice."""

ADDRESSES = [NetAddress(1, bytes(16), port) for port in range(1500)]


class Scenario:
    """One simulation."""

    def __init__(self, seed: int, scale: int | None = None, make_host: type[Host] = ProtocolHost) -> None:
        """
        :param scale: how many nodes, instead of what the seed says.
        :param make_host: makes them: with protocols as peers, or with cores.
        """
        self.seed = seed
        self._make_host = make_host
        self.network = network = SimulatedNetwork(seed, beat=make_host.beat)
        self.random = random = network.random
        self.ledger = Ledger(network.clock)
        network.tap = self.ledger.tap
        # in a fair one nothing goes wrong, and so everything must arrive everywhere
        self.fair = random.random() < 0.15
        self.mail = Mail(random, heavy=not self.fair and random.random() < 0.4)
        if scale is None:
            scale = random.choice([2, 3, 4, 5, 6, 8]) if random.random() < 0.99 else 25
        network.chop = random.choice([0.0, 0.2, 0.9])
        network.overrun = random.choice([0.0, 0.3])
        if random.random() < 0.3:
            network.latency = (0.001, 0.01 if self.fair else random.choice([0.01, 2.0]))
        if not self.fair and random.random() < 0.3:
            # bytes take their time, and senders feel it
            network.window = (500, 8 * KIB)
        self.hosts = [self._host() for _ in range(scale)]
        self.over = False
        self.until = random.uniform(10, 60)
        self.actions = random.randint(10, 70)

    def live(self) -> bool:
        """All of it; True when something was raised in the middle."""
        try:
            self.start()
            self.network.run(self.until)
            self.finish()
        except Exception as error:
            self.ledger.complain(f"was raised: {error!r}")
            return True
        return False

    # -- beginning -----------------------------------------------------------------------------

    def _host(self) -> Host:
        pick = self.random.choice
        soft = pick([2 * KIB, 64 * KIB, 1024 * KIB])
        fields: dict[str, Any] = {
            "network": SIMNET,
            "services": pick([0, Services.NETWORK, Services.NETWORK | Services.WITNESS]),
            "trickle_interval": pick([None, 0.5, 2.0, 10.0]),
            "ping_interval": pick([None, 5.0, 30.0, 120.0]),
            "max_known_inventory": 50_000 if self.fair else pick([0, 3, 20, 50_000, 50_000]),
            "max_trickle_queue": 50_000 if self.fair else pick([2, 50_000, 50_000]),
            "soft_queue_limit": soft,
            "hard_queue_limit": 32 * 1024 * KIB if self.fair else soft * pick([1, 4, 100]),
            "lookahead_limit": 8 * 1024 * KIB if self.fair else pick([0, 4 * KIB, 8 * 1024 * KIB]),
            "read_on_after": pick([0.5, 5.0]),
        }
        if not self.fair:
            fields |= {
                "protocol_version": pick([70013, 70013, 70013, 70012, 70002, 70001, 60001]),
                "idle_timeout": pick([20.0, 60.0, 300.0]),
                "negotiate_timeout": pick([3.0, 30.0]),
                "stall_interval": pick([None, 1.0, 15.0]),
                "stall_timeout": pick([None, 3.0, 30.0]),
                "stall_headers": pick([False, True]),
                "request_timeout": pick([None, 1.0, 30.0]),
                "write_timeout": pick([2.0, 10.0, 60.0]),
                "close_timeout": pick([0.5, 3.0, 10.0]),
                "close_on_handler_error": self.random.random() < 0.1,
                "answer_pings": self.random.random() < 0.95,
                "max_messages_per_second": pick([None, None, None, None, 5.0, 50.0]),
                "max_bytes_per_second": pick([None, None, None, None, 2000.0, 100_000.0]),
                "memory_budget": pick([10_000, 500_000, None, None]),
                "max_connections": pick([3, 125, None]),
                "max_connections_per_address": pick([1, 8, None]),
            }
        return self._make_host(self.network, self.ledger, self.mail, fields, self.fair, self._redial)

    def start(self) -> None:
        """Open the ports, dial, and let things go wrong."""
        for host in self.hosts:
            host.listen()
            if self.random.random() < 0.15:
                host.serve(self.hosts)
        # a ring, so that everybody is reached, and more
        for host, after in zip(self.hosts, self.hosts[1:] + self.hosts[:1], strict=True):
            self.dial(host, after)
        for _ in range(self.random.randint(0, len(self.hosts))):
            self.dial(self.random.choice(self.hosts), self.random.choice(self.hosts))
        if not self.fair:
            often = self.random.choice([3.0, 10.0, 50.0])
            pick = self.random.choice
            self.network.disturb(
                Faults(
                    reset=pick([None, often * 3]),
                    hold=pick([None, often]),
                    hold_seconds=(0.1, pick([3.0, 40.0])),
                    partition=pick([None, often * 5]),
                    partition_seconds=(0.5, pick([5.0, 100.0])),
                )
            )
        self._act_later()
        self._sample_later()

    def dial(self, host: Host, to: Host, refused: bool = False, impatient: bool = False) -> None:
        """Dial; what comes of it is nobody's concern."""
        connecting, is_over = host.dial(to, refused, self.random.choice([2.0, 30.0]))
        what = f"connect() from {host.node} to {to.node}"
        self.ledger.forget(connecting, what)
        if impatient:
            self._later(self.random.random(), lambda: self._cancel(connecting, is_over, what))

    def _cancel(self, connecting: Deferred[Any], is_over: Callable[[], bool], what: str) -> None:
        decided = connecting.called
        connecting.cancel()
        if not decided and not is_over():
            self.ledger.complain(f"{what} was cancelled, and is still there")

    def _redial(self, host: Host) -> None:
        if not self.over:
            self._later(self.random.random() * 10, lambda: self.dial(host, self.random.choice(self.hosts)))

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something, unless it is over by then."""
        self.ledger.call_later(seconds, lambda: None if self.over else action())

    # -- what happens --------------------------------------------------------------------------

    def _act_later(self) -> None:
        self._later(self.random.expovariate(self.actions / self.until), self._act)

    def _act(self) -> None:
        self._act_later()
        fair = {"talk": 6, "ask": 3, "announce": 3, "push": 1, "wait": 1, "dial": 0.5, "flood": 1}
        foul = {**fair, "hang up": 0.7, "give up": 0.5, "cut": 0.7, "close": 0.2}
        weights = fair if self.fair else foul
        [action] = self.random.choices(list(weights), list(weights.values()))
        host = self.random.choice(self.hosts)
        getattr(self, f"_{action.replace(' ', '_')}")(host)

    def _some_peer(self, host: Host) -> Any:
        return self.random.choice(list(host.live)) if host.live else None

    def _talk(self, host: Host) -> None:
        peer = self._some_peer(host)
        for _ in range(self.random.choice([1, 3, 20]) if peer is not None else 0):
            assert peer is not None
            draw = self.random.random()
            if draw < 0.4:
                self.ledger.forget(peer.send(self.mail.any(peer.pver)), f"send() of {peer.side}")
            elif draw < 0.6:
                peer.send_and_look_later(self.mail.any(peer.pver))
            elif draw < 0.9 or self.fair:
                # a full queue would be told to nobody, and so be logged
                if peer.unsent()[1] + 1000 < peer.config.hard_queue_limit:
                    peer.send_and_forget(self.mail.filler(self.random.randrange(200)))
            else:
                # of one that was given up nobody hears whether it was refused later: of a kind that never is
                sent = peer.send(self.mail.filler(self.random.randrange(3000)))
                self.ledger.forget(sent, f"send() of {peer.side}, given up")
                self._later(self.random.random(), sent.cancel)

    def _flood(self, host: Host) -> None:
        peer = self._some_peer(host)
        for _ in range(self.random.randint(2, 10) if peer is not None else 0):
            assert peer is not None
            size = self.random.choice([1000, 30_000, 30_000 if self.fair else 200_000])
            self.ledger.forget(peer.send(self.mail.filler(size)), f"send() of {peer.side} in a flood")

    def _ask(self, host: Host) -> None:
        peer = self._some_peer(host)
        if peer is not None and peer.state is not State.CONNECTING:
            answer = host.request(peer, self.random.choice([0.2, 5.0, 100.0]))
            self.ledger.forget(answer, f"request() of {peer.side}")
            if self.random.random() < 0.1:
                self._later(self.random.random(), answer.cancel)

    def _announce(self, host: Host) -> None:
        kind = self.random.choice([InventoryType.TX, InventoryType.TX, InventoryType.BLOCK])
        vectors = [self.mail.vector(kind) for _ in range(self.random.choice([1, 2, 10]))]
        for vector in vectors:
            host.spread(vector)
        peer = self._some_peer(host)
        if peer is None:
            return
        # some again, some that are known, some by force
        for vector in self.random.choices([*vectors, *self.random.sample(list(host.have), 1)], k=5):
            # in a fair simulation nobody claims what is not so
            if not self.fair and self.random.random() < 0.3:
                peer.add_known_inventory(vector)
            peer.queue_inventory(vector, force=self.random.random() < 0.1)

    def _push(self, host: Host) -> None:
        peer = self._some_peer(host)
        if peer is None:
            return
        addresses = ADDRESSES[: self.random.choice([0, 3, 1500])]
        number = self.mail.number()
        peer.push_addresses(addresses)
        peer.push_address_cache(addresses[:2], (), addresses)
        self.ledger.forget(peer.push_get_blocks(number), f"push_get_blocks() of {peer.side}")
        self.ledger.forget(peer.push_get_headers(number), f"push_get_headers() of {peer.side}")
        self.ledger.forget(peer.push_reject("tx", RejectCode.DUST, "small"), f"push_reject() of {peer.side}")

    def _wait(self, host: Host) -> None:
        peer = self._some_peer(host)
        if peer is None:
            return
        peer.side.owes_ready += 1
        ready = peer.when_ready().addBoth(peer.side.fulfil)
        for waiting, what in ((ready, "when_ready"), (peer.when_closed(), "when_closed")):
            self.ledger.forget(waiting, f"{what}() of {peer.side}")
            if self.random.random() < 0.3:
                self._later(self.random.random() * 3, waiting.cancel)

    def _dial(self, host: Host) -> None:
        to = self.random.choice(self.hosts)
        impatient = not self.fair and self.random.random() < 0.5
        self.dial(host, to, self.random.random() < 0.25, impatient)

    def _hang_up(self, host: Host) -> None:
        peer = self._some_peer(host)
        if peer is not None:
            for _ in range(self.random.randint(1, 2)):
                self.ledger.forget(peer.disconnect("enough"), f"disconnect() of {peer.side}")

    def _give_up(self, host: Host) -> None:
        """Somebody else's program ends a connection, or half of it."""
        host.disrupt()

    def _cut(self, host: Host) -> None:
        links = self.network.links
        if links:
            self.random.choice(links).reset()

    def _close(self, host: Host) -> None:
        host.hang_up("closing time", outbound=False)

    # -- looking -------------------------------------------------------------------------------

    def _sample_later(self) -> None:
        self._later(self.random.uniform(1, 15), self._sample)

    def _sample(self) -> None:
        self._sample_later()
        self.look()

    def look(self) -> None:
        """What must hold at any time."""
        for host in self.hosts:
            sides = {peer.side: peer.stats() for peer in host.live}
            for side, stats in sides.items():
                if side.peer.state is not State.CONNECTING:
                    for holds in (properties.bounds, properties.liveness, properties.confirmation):
                        for wrong in holds(side, stats):
                            self.ledger.complain(wrong)
            for config in host.configs:
                for wrong in properties.budget(config, {side: sides[side] for side in sides if side.config is config}):
                    self.ledger.complain(f"{host.node} {wrong}")

    # -- the end -------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let it end, in one of several ways, and look at what is left."""
        self.over = True
        network, ledger = self.network, self.ledger
        heals = self.fair or self.random.random() < 0.7
        if heals:
            network.calm()
        else:
            # nobody hears of anybody's end before their own patience does
            network.disturb(Faults(reset=None, hold=None, partition=None))
            network.partition(self.random.sample([host.node for host in self.hosts], len(self.hosts) // 2))
        if self.fair:
            network.run(120)
        self.look()
        self._look_at_announcements()
        if self.fair:
            self._look_at_gossip()
        for host in self.hosts:
            host.stop()
        self._hang_up_all(both_sides=heals or self.random.random() < 0.5)
        network.run_until(lambda: not any(host.live for host in self.hosts) and not network.links, LONGEST_END)
        # at once, not some time after
        for call in ledger.timers():
            ledger.complain(f"is left when all connections have ended: {call}")
        for what in ledger.unfired():
            ledger.complain(f"has not fired when all connections have ended: {what}")
        # listeners that sleep wake up, and find that it is over
        network.run_until(lambda: not network.clock.getDelayedCalls(), LONGEST_END)
        self.look_back()

    def _hang_up_all(self, both_sides: bool) -> None:
        for host in self.hosts:
            host.over = True
            host.hang_up("the end", inbound=both_sides)
        if self.random.random() < 0.2:
            for link in self.network.links:
                link.reset()

    def _look_at_gossip(self) -> None:
        everything = dict.fromkeys(vector for host in self.hosts for vector in host.have)
        for host in self.hosts:
            if host.have.keys() != everything.keys():
                self.ledger.complain(f"{host.node} has heard of {len(host.have)} of {len(everything)} things")

    def _look_at_announcements(self) -> None:
        for host in self.hosts:
            for peer in host.live:
                for wrong in properties.completeness(peer.side):
                    self.ledger.complain(wrong)

    def look_back(self) -> None:
        """What must hold after the end."""
        ledger = self.ledger
        ledger.look()
        for side in ledger.sides:
            for wrong in (*properties.order(side), *properties.announcements(side)):
                ledger.complain(wrong)
        for what in self.network.leftovers():
            ledger.complain(f"is left: {what}")
        for host in self.hosts:
            for what in host.leftovers():
                ledger.complain(f"is left of {host.node}: {what}")
            for config in host.configs:
                for wrong in properties.budget(config, {}):
                    ledger.complain(f"{host.node} {wrong}")
