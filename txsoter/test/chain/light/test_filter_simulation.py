"""A light client among honest peers and one that lies about filters, in simulated networks from many seeds."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from txsoter import SoterPeerProtocol
from txsoter.chain import GolombFilter
from txsoter.test.chain.light.light_scene import LightScene
from txsoter.test.chain.light.wide_dags import wide_dag
from txsoter.test.chain.served_dag import ServedDag, block_above
from txsoter.wire import CFHeaders, GetCFHeaders, GetCFilters, Hash

ALICE = b"\x14" + bytes([3]) * 20
"""Paid to by some blocks of each DAG."""


class Liar(ServedDag):
    """A node that tells several lies, some of them seldom.

    :ivar hides: whether it lies about what pays Alice.
    """

    def __init__(self, rng: Random, *arguments: Any, **fields: Any) -> None:
        self.rng = rng
        self.hides = rng.random() < 0.7
        hooks = {"on_getcfheaders": self.maybe_hashes, "on_getcfilters": self.maybe_filters}
        super().__init__(*arguments, hooks=hooks, **fields)
        self.silence, self.noise = rng.random() * 0.3, rng.random() * 0.2
        if self.hides:
            for block_hash, each in self.filters.items():
                if ALICE in each and rng.random() < 0.5:
                    self.filters[block_hash] = GolombFilter.build(block_hash[:16], [])

    def maybe_hashes(self, peer: SoterPeerProtocol, question: GetCFHeaders) -> None:
        """Answer, or not, or with anything."""
        if self.rng.random() < self.silence:
            return
        if self.rng.random() < self.noise:
            peer.send(CFHeaders(question.stop, filter_hashes=[Hash(self.rng.randbytes(32))] * self.rng.randint(0, 90)))
            return
        self.send_filter_hashes(peer, question)

    def maybe_filters(self, peer: SoterPeerProtocol, question: GetCFilters) -> None:
        """Answer, or not."""
        if self.rng.random() >= self.silence:
            self.send_filters(peer, question)


def run(seed: int) -> int:
    """Let a client sync and watch, with blocks that come meanwhile; return how many nodes it has dropped."""
    rng = Random(seed)
    blocks = wide_dag(rng.randint(5, 60), seed)
    at_first = rng.randint(1, len(blocks))
    honest = [ServedDag(blocks[:at_first]) for _ in range(2)]
    liar = Liar(rng, blocks[:at_first])
    dags = [*honest, liar]
    rng.shuffle(dags)
    scene = LightScene(dags, seed=seed, start=False)
    watcher = scene.watch([ALICE])
    for block in blocks[at_first:]:
        scene.network.run(rng.random() * 5)
        for dag in rng.sample(dags, 3):
            dag.announce(block)
            scene.network.run(rng.random() * rng.choice([0.1, 3]))
    late = block_above([blocks[0]], script=ALICE, number=5000)
    scene.announce(late)
    scene.wait_for_filter_headers(honest[0], 5000)
    paying = {each.hash for each in [*blocks, late] if each.transactions[0].outputs[0].script == ALICE}
    scene.network.run_until(lambda: {each.block_hash for each in watcher.found} >= paying, 1000)
    assert set(scene.dropped) <= {dags.index(liar)}, scene.dropped
    scene.close()
    return len(scene.dropped)


def test_two_honest_peers_and_a_liar() -> None:
    """The client ends with the honest filter headers, finds every payment, and has dropped nobody but the liar."""
    assert 2 < sum(run(seed) for seed in range(12)) <= 12


@pytest.mark.soak
def test_two_honest_peers_and_a_liar_often() -> None:
    """The same in 400 networks."""
    assert sum(run(seed) for seed in range(1000, 1400)) > 100
