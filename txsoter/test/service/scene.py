"""A network to look at: simulated peers with plausible agents, heights, blocks and faults, and our own node among them.

``python -m txsoter.test.service.scene`` serves its status page until it is interrupted; with ``--screenshot FILE`` it
takes the picture that stands in the README.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, react
from twisted.internet.threads import deferToThread

from txsoter import MAINNET, PeerConfig, SoterPeerProtocol
from txsoter.capture import CaptureState
from txsoter.service import PeerService, having_nothing
from txsoter.service.status import Ban, Dialled, StatusParts, StatusService
from txsoter.test.peer.cases import tx
from txsoter.testing import ScriptedPeer, SimulatedNetwork, SimulatedNode
from txsoter.testing.links import SimulatedLink
from txsoter.testing.transports import SimulatedTransport
from txsoter.wire import Hash, InventoryType, InventoryVector, Message, Services

__all__ = ["Scene"]

FULL = Services.NETWORK | Services.WITNESS | Services.CF
HEIGHT = 412_861

DIALLED: tuple[tuple[str, str, int], ...] = (
    ("203.0.113.17", "soterd:4.2.0", FULL | Services.BLOOM),
    ("198.51.100.204", "soterd:4.2.0", FULL | Services.BLOOM),
    ("203.0.113.96", "soterd:4.1.3", FULL),
    ("192.0.2.33", "soterd:4.2.0(tor)", FULL),
    ("198.51.100.61", "soter-relay:1.3.0", Services.NETWORK | Services.WITNESS),
    ("192.0.2.148", "soterd:4.2.1", FULL | Services.BLOOM),
    ("203.0.113.230", "soterd:4.0.0", Services.NETWORK | Services.WITNESS),
)
INBOUND: tuple[tuple[str, str, int], ...] = (
    ("198.51.100.9", "soterwallet:0.12.4", 0),
    ("203.0.113.71", "soterdash:2.0.1", Services.WITNESS),
    ("192.0.2.201", "soterd:4.2.0", FULL),
    ("198.51.100.130", "soter-crawler:0.9.0(+https:; bot)", 0),
)


def _transports(link: SimulatedLink) -> list[SimulatedTransport]:
    """Return the ends of a link between protocols."""
    return [end for end in link.ends if isinstance(end, SimulatedTransport)]


class Scene:
    """Our node, some whom it has dialled, some who have dialled it, and nobody on the way who is real.

    :param remotes: whether there are any at first.
    :param past: seconds that have gone by when the page is served.
    :param port: of the page; 0 for any.
    :ivar service: our node's peers.
    :ivar status: the page.
    :ivar capture: what it shows of a capture.
    """

    def __init__(self, reactor: Any, *, seed: int = 5, remotes: bool = True, past: float = 0.0, port: int = 0) -> None:
        self.network = SimulatedNetwork(seed, latency=(0.004, 0.06))
        self.clock = self.network.clock
        self.clock.rightNow = time.time() - past
        self._past = past
        self.random = self.network.random
        self.height = HEIGHT
        self._number = 0
        self._pace = LoopingCall(self._advance)
        self._pace.clock = reactor
        self._beat: float | None = None
        self.remotes: dict[str, list[SoterPeerProtocol]] = {}
        ours = PeerConfig(
            network=MAINNET,
            user_agent_name="watcher",
            user_agent_version="1.4.0",
            user_agent_comments=["lisbon-2"],
            services=int(Services.NETWORK | Services.WITNESS),
            newest_block=lambda: self.height,
            listeners=having_nothing(),
            ping_interval=20.0,
        )
        self.ours = self._node("192.0.2.5", ours)
        self.names: dict[str, str] = {}
        self.capture = CaptureState(None, 412_300_000, 20_480, 0, 0)
        parts = StatusParts(
            book=lambda: {"tried and good": 184, "heard of": 2316},
            bans=lambda: [Ban("198.51.100.77", self.clock.seconds() + 1380, "malformed messages: score 112")],
            listening=lambda: ["192.0.2.5:8333"],
            dialled=self._dialled,
            capture=lambda: self.capture,
        )
        self.status = StatusService(
            serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1"),
            lambda: self.service.peers,
            self.ours.config,
            parts=parts if remotes else None,
            clock=self.clock,
        )
        self.service = PeerService(
            self.ours.config, self.clock, lambda failures: 30.0, observers=[self.status.observer]
        )
        self.service.listen(self.ours.server_endpoint(), "tcp:8333")
        if remotes:
            self._people()

    # -- who is there --------------------------------------------------------------------------

    def _node(self, host: str, config: PeerConfig) -> SimulatedNode:
        node = self.network.node(config)
        node.host = host
        return node

    def remote(self, host: str, agent: str, services: int = 0, **fields: Any) -> SimulatedNode:
        """A node that is nobody's peer yet."""
        name, _, rest = agent.partition(":")
        version, _, comments = rest.partition("(")
        config = PeerConfig(
            network=MAINNET,
            user_agent_name=name.replace("soterd", "soterx"),
            user_agent_version=version,
            user_agent_comments=[each for each in comments.rstrip(")").split("; ") if each],
            services=services,
            newest_block=lambda: self.height,
            listeners=having_nothing(),
            trickle_interval=1.0,
            ping_interval=45.0,
        ).replace(**fields)
        node = self._node(host, config)
        # a config does not take the name of its nodes
        object.__setattr__(node.config, "user_agent", node.config.user_agent.replace(b"soterx", b"soterd"))
        return node

    def join(self, host: str, agent: str, services: int = 0, **fields: Any) -> None:
        """Somebody dials us."""
        node = self.remote(host, agent, services, **fields)
        peers = self.remotes.setdefault(host, [])
        connecting = node.connect(self.ours)
        connecting.addCallbacks(peers.append, lambda failure: None)

    def intrude(self, host: str, *messages: Message) -> None:
        """Somebody dials us who keeps to no rules."""
        node = self._node(host, PeerConfig(network=MAINNET))
        factory = Factory.forProtocol(partial(ScriptedPeer, MAINNET.magic))
        connecting: Deferred[Any] = node.client_endpoint(self.ours).connect(factory)
        connecting.addCallback(lambda remote: remote.say(*messages))

    def leave(self, host: str) -> None:
        """Somebody who has dialled us goes."""
        for peer in self.remotes.pop(host):
            peer.disconnect("")

    def _people(self) -> None:
        for host, agent, services in DIALLED:
            node = self.remote(host, agent, services)
            node.listen()
            self.names[host] = f"tcp:{host}:8333"
            self.service.dial(self.ours.client_endpoint(node), self.names[host])
        self.names["198.51.100.250"] = "tcp:198.51.100.250:8333"
        self.service.dial(self.ours.client_endpoint(self.remote("198.51.100.250", "soterd:4.2.0")), "tcp:gone")
        for index, (host, agent, services) in enumerate(INBOUND):
            self._later(40 + 170 * index, self.join, host, agent, services)
        # what goes wrong
        self._later(500, self.join, "203.0.113.180", "watcher:2.0.0")
        self._later(650, self.join, "198.51.100.44", "soterwallet:0.11.9", 0, ping_interval=None, answer_pings=False)
        self._later(900, self.join, "203.0.113.12", "soterwallet:0.12.4")
        self._later(1130, self.leave, "203.0.113.12")
        self._later(1210, self._break, "203.0.113.96")
        self._later(21, self._block)
        self._later(3, self._transaction)
        self._later(1, self._chatter)

    def _break(self, host: str) -> None:
        for link in self.network.links:
            if host in (end.getHost().host for end in _transports(link)):
                link.reset()

    def _dialled(self) -> list[Dialled]:
        ready = {stats.address for stats in (peer.stats() for peer in self.service.peers) if stats.state == "ready"}
        gone = self.clock.seconds() // 30 * 30 + 30
        return [
            Dialled(name, "connected")
            if f"{host}:8333" in ready
            else Dialled(name, "waiting", gone, "refused, 41 times in a row")
            for host, name in self.names.items()
        ]

    # -- what they say -------------------------------------------------------------------------

    def _later(self, seconds: float, do: Callable[..., object], *arguments: Any, **keywords: Any) -> None:
        self.clock.callLater(seconds, partial(do, *arguments, **keywords))

    def _speakers(self) -> list[SoterPeerProtocol]:
        """The remotes' ends of all connections that are ready."""
        ours = self.ours.host
        ends = [end for link in self.network.links for end in _transports(link)]
        others = [end for end in ends if end.connected and end.getHost().host != ours]
        peers = [end.protocol for end in others if isinstance(end.protocol, SoterPeerProtocol)]
        return [peer for peer in peers if peer.state.value == "ready"]

    def announce(self, kind: InventoryType, hash: Hash, height: int = -1, spread: float = 1.5) -> None:
        """Most of those who are there announce something, one soon after the other."""
        for peer in self._speakers():
            if self.random.random() < 0.85:
                vector = InventoryVector(kind, hash, height)
                self._later(self.random.expovariate(1 / spread), peer.queue_inventory, vector)

    def _block(self) -> None:
        self.height += 1
        self.announce(InventoryType.BLOCK, Hash(self.random.randbytes(27) + bytes(5)), self.height, 0.35)
        self._later(self.random.expovariate(1 / 30), self._block)

    def _transaction(self) -> None:
        self.announce(InventoryType.TX, Hash(self.random.randbytes(32)))
        self._later(self.random.expovariate(1 / 4), self._transaction)

    def _chatter(self) -> None:
        """Data both ways, now more and now less."""
        for index, peer in enumerate(self._speakers()):
            for _ in range(self.random.randrange(1 + (index * 5) % 7)):
                self._number += 1
                peer.send(tx(self._number))
        for peer in self.service.peers:
            if peer.state.value == "ready" and self.random.random() < 0.4:
                self._number += 1
                peer.send(tx(self._number))
        self._later(self.random.uniform(0.3, 1.7), self._chatter)

    # -- time ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve the page; from then on time goes on as it does."""
        self.service.startService()
        self.status.startService()
        self.clock.advance(self._past)
        self._pace.start(0.05)

    def _advance(self) -> None:
        clock: IReactorTime = self._pace.clock
        now = clock.seconds()
        if self._beat is not None:
            self.clock.advance(max(0.0, now - self._beat))
        self._beat = now

    def stop(self) -> Deferred[None]:
        """End everything but what is simulated, which ends by itself."""
        if self._pace.running:
            self._pace.stop()
        stopping = maybeDeferred(self.status.stopService)
        self.service.stopService()
        return stopping

    @property
    def url(self) -> str:
        """Where the page is."""
        assert self.status.url is not None
        return self.status.url


async def _show(reactor: Any, screenshot: str | None, port: int) -> None:
    scene = Scene(reactor, past=1260.0, port=port)
    scene.start()
    try:
        if screenshot is None:
            print(scene.url, flush=True)
            await Deferred()
        else:
            from txsoter.test.service.browser import Browser

            browser = await deferToThread(Browser)
            try:
                await deferToThread(browser.picture, scene.url, Path(screenshot))
            finally:
                await deferToThread(browser.quit)
    finally:
        await scene.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m txsoter.test.service.scene", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--screenshot", metavar="FILE")
    given = parser.parse_args()
    react(lambda reactor: ensureDeferred(_show(reactor, given.screenshot, given.port)))
