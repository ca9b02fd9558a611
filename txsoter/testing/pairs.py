"""Two peers of ours, connected in memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
from twisted.internet.task import Clock

from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.testing.memory import MemoryLink

__all__ = ["PeerPair", "connected_pair", "repeatable"]


@attrs.frozen
class PeerPair:
    """Two peers of ours, connected in memory.

    :ivar client: the one that dialled.
    :ivar server: the one that was dialled.
    """

    client: SoterPeerProtocol
    server: SoterPeerProtocol
    link: MemoryLink
    clock: Clock

    def pump(self, chunk: int | None = None) -> None:
        """As :meth:`MemoryLink.pump`."""
        self.link.pump(chunk)

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps, bytes moving after each."""
        self.link.advance(self.clock, seconds, step)


def repeatable(clock: Clock, config: PeerConfig | None = None) -> PeerConfig:
    """``config``, or simnet's defaults, made repeatable: on ``clock``, from a fixed seed, self connections allowed."""
    base = PeerConfig(network=SIMNET, random=Random(1)) if config is None else config
    return base.replace(clock=clock, allow_self_connections=True)


def connected_pair(
    client: PeerConfig | None = None,
    server: PeerConfig | None = None,
    *,
    handshake: bool = True,
    clock: Clock | None = None,
    protocol: Callable[[PeerConfig, bool], SoterPeerProtocol] = SoterPeerProtocol,
) -> PeerPair:
    """Return two peers on one ``Clock``, connected in memory; ready, unless ``handshake`` is False."""
    clock = Clock() if clock is None else clock
    dialler = protocol(repeatable(clock, client), False)
    listener = protocol(repeatable(clock, server), True)
    pair = PeerPair(dialler, listener, MemoryLink(dialler, listener), clock)
    if handshake:
        pair.pump()
    return pair
