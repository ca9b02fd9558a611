"""A light client and the nodes that it follows, in a simulated network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime

from txsoter import SIMNET, CloseCause, PeerConfig, SoterPeerProtocol
from txsoter.chain.light.client import LightClient
from txsoter.service.misbehaviour import ScoreKeeper
from txsoter.service.scores import Scores
from txsoter.test.chain.served_dag import GENESIS, ServedDag
from txsoter.testing import SimulatedNetwork, SimulatedNode
from txsoter.wire import Block, Hash

__all__ = ["NOW", "LightScene", "Watcher"]

NOW = GENESIS.header.time + 1_000_000


class Watcher:
    """A loop over a watch.

    :ivar found: what has come.
    :ivar ended: fires when the loop ends.
    """

    def __init__(self, watch: Any) -> None:
        self.watch = watch
        self.found: list[Any] = []
        self.ended: Deferred[None] = ensureDeferred(self._loop())

    async def _loop(self) -> None:
        async for each in self.watch:
            self.found.append(each)

    @property
    def transactions(self) -> list[Hash]:
        """The ids of the transactions that have come, in order."""
        return [each.transaction.txid for each in self.found]


class _Notes(ScoreKeeper):
    """Tells of misbehaviour other than the end of a connection."""

    def __init__(self, note: Callable[[SoterPeerProtocol, float, str], None], clock: IReactorTime) -> None:
        super().__init__(Scores(whitelist=[]), clock=clock)
        self._note = note

    def add(self, peer: SoterPeerProtocol, points: float, reason: str) -> None:
        super().add(peer, points, reason)
        if reason not in {each.value for each in CloseCause}:
            self._note(peer, points, reason)


class LightScene:
    """A light client, which does not check proofs of work, and nodes that serve a DAG each.

    :param dags: of the nodes.
    :param fields: of the client.
    :ivar network: the network.
    :ivar client: the client, running; it is in step with all nodes.
    :ivar dropped: the hosts of those that it has dropped, with points and reason.
    """

    def __init__(self, dags: Iterable[ServedDag], *, seed: int = 1, start: bool = True, **fields: Any) -> None:
        self.network = SimulatedNetwork(seed, latency=(0.005, 0.05))
        self.network.clock.rightNow = NOW
        self.dags = list(dags)
        self.nodes: list[SimulatedNode] = []
        ours = self.network.node(PeerConfig(network=SIMNET))
        self.dropped: dict[int, tuple[float, str]] = {}
        self.client = LightClient(
            ours.config,
            check_proofs=False,
            scores=_Notes(self._note, self.network.clock),
            retry_policy=lambda failures: 1000.0,
            **fields,
        )
        self._ours = self.network.node(self.client.config)
        for dag in self.dags:
            self.add(dag)
        self.client.startService()
        if start:
            self.network.run_until(self._is_in_step)

    def add(self, dag: ServedDag) -> None:
        """Let the client dial a node more."""
        node = self.network.node(dag.config)
        node.listen()
        self.nodes.append(node)
        self.client.peers.dial(self._ours.client_endpoint(node), node.host)

    def _is_in_step(self) -> bool:
        return len(self.client.in_step) == len(self.nodes)

    def _note(self, peer: SoterPeerProtocol, points: float, reason: str) -> None:
        hosts = [node.host for node in self.nodes]
        self.dropped[hosts.index(str(peer.host))] = (points, reason)

    def filter_headers(self) -> dict[Hash, Hash | None]:
        """Return the filter headers that the client has."""
        return {each.hash: each.filter_header for each in self.client.index}

    def wait_for_filter_headers(self, of: ServedDag, timeout: float = 120.0, besides: Iterable[Block] = ()) -> None:
        """Run until the client has those of a DAG.

        :param besides: blocks that it has, too.
        """
        others = {each.hash for each in besides}

        def has_them() -> bool:
            if not self.client.store.is_open:
                return False
            known = {each: header for each, header in self.filter_headers().items() if each not in others}
            return known == of.filter_headers

        self.network.run_until(has_them, timeout)

    def announce(self, block: Block, *dags: ServedDag) -> None:
        """Let nodes announce a block, all if none is named."""
        for dag in dags or self.dags:
            dag.announce(block)

    def watch(self, *arguments: Any, **fields: Any) -> Watcher:
        """Begin a loop over a watch."""
        return Watcher(self.client.watch(*arguments, **fields))

    def close(self) -> None:
        """Stop the client, and check that nothing is left."""
        self.network.wait_for(self.client.stopService())
        self.network.close()
