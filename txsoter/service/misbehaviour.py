"""``ScoreKeeper``: remotes that misbehave are refused for a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from txsoter.clock import monotonic
from txsoter.core.config import hides, proxy_host
from txsoter.errors import CloseReason
from txsoter.ip import address_group
from txsoter.peer.addressing import host_and_port
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.observers import Observer
from txsoter.service.scores import UNKNOWN_COMMAND_WEIGHT, WEIGHTS, Entry, Scores
from txsoter.wire import Unknown

__all__ = ["ScoreKeeper"]


class ScoreKeeper(Observer):
    """Scores remotes by how their connections end, and says whose are refused.

    ::

        keeper = ScoreKeeper(Scores(), lambda: service.peers)
        service = PeerService(config, observers=[keeper], may_enter=keeper.may_enter)

    :param scores: where they are kept.
    :param peers: gives those that live: when an address comes to be refused, its connections are closed.
    :param clock: by default the reactor; setting its wall clock neither lengthens nor ends a refusal.
    """

    log = Logger()

    def __init__(
        self,
        scores: Scores,
        peers: Callable[[], Iterable[SoterPeerProtocol]] = tuple,
        clock: IReactorTime | None = None,
    ) -> None:
        if clock is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor

            clock = cast(IReactorTime, reactor)
        self.scores = scores
        self._peers = peers
        self._seconds = monotonic(clock)

    # -- as an observer ------------------------------------------------------------------------

    def on_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        """A connection has ended."""
        self.add(peer, WEIGHTS[reason.cause], reason.cause.value)

    def on_unknown(self, peer: SoterPeerProtocol, message: Unknown) -> None:
        """A message came that we do not know."""
        self.add(peer, UNKNOWN_COMMAND_WEIGHT, "a flood of unknown commands came")

    # -- for others ----------------------------------------------------------------------------

    def add(self, peer: SoterPeerProtocol, points: float, reason: str) -> None:
        """A peer has misbehaved: for what an application finds out itself, such as a block that is not valid.

        :param points: see :data:`~txsoter.service.scores.WEIGHTS`.
        :param reason: for people, and no text of the remote's.
        """
        host = _host_of(peer)
        if host is None or not self.scores.add(host, points, reason, self._seconds()):
            return
        group = address_group(host)
        self.log.info(
            "{group} is refused for {seconds:g} s: {reason}", group=group, seconds=self.scores.refusal, reason=reason
        )
        for each in list(self._peers()):
            if address_group(_host_of(each)) == group:
                each.disconnect("its address has misbehaved")

    def may_enter(self, address: IAddress | None) -> str | None:
        """Why one who dials us may not come in; None when it may."""
        return self.may_dial(host_and_port(address)[0])

    def may_dial(self, host: str | None) -> str | None:
        """Why ``host`` should not be dialled; None when it may be."""
        return self.scores.why_refused(host, self._seconds())

    def entries(self) -> list[Entry]:
        """Those that are refused, and those that have a score, the latest first."""
        return self.scores.entries(self._seconds())

    def refused(self) -> int:
        """How many addresses are refused."""
        return self.scores.refused(self._seconds())


def _host_of(peer: SoterPeerProtocol) -> str | None:
    """The remote's IP; None where there is none, or only a proxy of ours is known, behind which anybody may be."""
    host = peer.host
    group = address_group(host)
    config = peer.config
    if group is None or group == address_group(proxy_host(config)):
        return None
    # a proxy that is given by its name cannot be compared: all whom we dial are behind it
    return None if not peer.inbound and hides(config, host) else host
