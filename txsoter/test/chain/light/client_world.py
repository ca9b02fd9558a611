"""Light clients in simulated networks, among nodes of which some lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import maybeDeferred

from txsoter import SIMNET, ClosedBy, CloseReason, Listeners, PeerConfig
from txsoter.chain import LightClient
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.chain.light.dags import GENESIS, START, heights_of
from txsoter.test.node import FakeNode
from txsoter.testing import SimulatedNetwork, SimulatedNode
from txsoter.wire import Block, Inv, InventoryType, InventoryVector

__all__ = ["ClientWorld", "DagNode"]


class DagNode:
    """A node of a network that serves a DAG.

    :param blocks: above the genesis, parents before children.
    :param hooks: listeners, some of them instead of those that serve.
    """

    def __init__(
        self, network: SimulatedNetwork, blocks: Sequence[Block], hooks: dict[str, Callable[..., Any]] | None = None
    ) -> None:
        self.fake = FakeNode(heights_of(blocks), hooks=hooks)
        self.at: SimulatedNode = network.node(self.fake.factory.config)
        self.at.listen()

    @property
    def peers(self) -> list[SoterPeerProtocol]:
        """Those that are connected to it."""
        return self.at.peers

    def announce(self, block: Block) -> None:
        """Take a block, and announce it to all that are connected."""
        height = 1 + max(self.fake.blocks[each.hash][0] for each in block.parents)
        self.fake.blocks[block.hash] = (height, block)
        for peer in self.peers:
            peer.send(Inv([InventoryVector(InventoryType.BLOCK, block.hash, height)]))


class ClientWorld:
    """A simulated network with a light client.

    :param arguments: of the client.
    :ivar dropped: hosts of those with whom the client ended the connection, and why.
    """

    def __init__(self, seed: int = 1, beat: float | None = None, **arguments: Any) -> None:
        self.network = SimulatedNetwork(seed, beat=beat)
        self.network.clock.advance(START + 10_000_000)
        self.dropped: dict[str, CloseReason] = {}
        self.here = self.network.node(PeerConfig(network=SIMNET, listeners=Listeners(on_closed=self._closed)))
        settings: dict[str, Any] = {"check_proofs": False, "retry_policy": lambda failures: 5.0, **arguments}
        self.client = LightClient(self.here.config, **settings)

    def _closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        if reason.by is ClosedBy.LOCAL:
            self.dropped[str(peer.host)] = reason

    def node(self, blocks: Sequence[Block], **hooks: Callable[..., Any]) -> DagNode:
        """Add a node that serves blocks."""
        return DagNode(self.network, blocks, hooks)

    def dial(self, *nodes: DagNode) -> None:
        """Let the client keep connections to nodes."""
        for node in nodes:
            self.client.peers.dial(self.here.client_endpoint(node.at), node.at.host)

    def has(self, blocks: Sequence[Block]) -> bool:
        """Tell whether the client has the genesis and exactly these blocks, with their parents."""
        expected = {block.hash: tuple(each.hash for each in block.parents) for block in (GENESIS, *blocks)}
        return {record.hash: record.parents for record in self.client.index} == expected

    def hosts(self) -> set[str]:
        """Return the hosts of those to whom the client is connected."""
        return {str(peer.host) for peer in self.here.peers}

    def end(self) -> None:
        """Stop the client, close the network, and check that nothing is left behind."""
        self.network.wait_for(maybeDeferred(self.client.stopService))
        if self.here.peers:
            raise AssertionError(f"left after the client was stopped: {self.here.peers}")
        self.network.close()
