"""The states of a connection, and the checks on the remote's ``version``."""

from __future__ import annotations

import enum
from collections.abc import Container
from typing import TYPE_CHECKING, NamedTuple

from txsoter.errors import CloseCause, IllegalTransition
from txsoter.networks import Network
from txsoter.peer.agents import SemanticVersion, agent_versions
from txsoter.wire import NetAddress, RejectCode, Version

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

__all__ = [
    "LIVE_NONCES",
    "MIN_PROTOCOL_VERSION",
    "TRANSITIONS",
    "LiveNonces",
    "Refusal",
    "State",
    "check_protocol_version",
    "check_version",
    "move",
    "own_version",
]

MIN_PROTOCOL_VERSION = 209
"""The lowest protocol version that a remote may advertise."""


class State(enum.Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    NEGOTIATING = "negotiating"
    VERSION_KNOWN = "version known"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.CONNECTING: frozenset({State.NEGOTIATING, State.CLOSED}),
    State.NEGOTIATING: frozenset({State.VERSION_KNOWN, State.CLOSING, State.CLOSED}),
    State.VERSION_KNOWN: frozenset({State.READY, State.CLOSING, State.CLOSED}),
    State.READY: frozenset({State.CLOSING, State.CLOSED}),
    State.CLOSING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
"""Every legal move: a connection only goes forward."""

# members of an enum are slow to look up, their values are not
_SUCCESSORS = {state.value: tuple(successors) for state, successors in TRANSITIONS.items()}


def move(current: State, to: State) -> State:
    """The state after a move.

    :raises IllegalTransition: for a move that is not in :data:`TRANSITIONS`.
    """
    if to not in _SUCCESSORS[current.value]:
        raise IllegalTransition(f"a connection that is {current.value} cannot become {to.value}")
    return to


class Refusal(NamedTuple):
    """Why a remote's ``version`` is not acceptable.

    :param cause: which check failed.
    :param detail: the two values that do not agree, for people.
    :param code: of the ``reject`` to send, or None to send none.
    """

    cause: CloseCause
    detail: str
    code: RejectCode | None


def check_version(
    version: Version, network: Network, agent_name: str, agent_version: SemanticVersion, own_nonces: Container[int]
) -> Refusal | None:
    """The first check that the remote's ``version`` fails, in soterd's order; None when it passes all.

    The protocol version is checked later, by :func:`check_protocol_version`, after the ``on_version`` listener.

    :param own_nonces: what this process has sent on connections that live; empty to allow self connections.
    """
    if version.nonce in own_nonces:
        return Refusal(CloseCause.SELF_CONNECTION, "", None)
    if version.genesis_hash != network.genesis_hash:
        detail = f"peer genesis block {version.genesis_hash} is not ours, {network.genesis_hash}"
        return Refusal(CloseCause.WRONG_GENESIS, detail, RejectCode.INVALID)
    # names are compared by their bytes: agent_versions() reads them as Latin-1, whatever they are
    theirs = agent_versions(version.user_agent).get(agent_name.encode().decode("latin-1"))
    if theirs is not None and theirs.major != agent_version.major:
        detail = f"peer version {theirs} is incompatible with our version {agent_version}"
        return Refusal(CloseCause.INCOMPATIBLE_AGENT, detail, RejectCode.INVALID)
    return None


def check_protocol_version(version: Version) -> Refusal | None:
    """Whether the remote's protocol version is one that soter still speaks.

    No reject: ``reject`` is younger than the least version.
    """
    if version.protocol_version < MIN_PROTOCOL_VERSION:
        detail = f"protocol version {version.protocol_version}, must be {MIN_PROTOCOL_VERSION} or greater"
        return Refusal(CloseCause.OBSOLETE_VERSION, detail, None)
    return None


def own_version(config: PeerConfig, receiver: NetAddress, height: int, nonce: int, now: float) -> Version:
    """Our ``version``. The version field is always our own maximum; what is negotiated only decides the encoding.

    :param receiver: what we say of the remote's address.
    :param now: seconds since 1970.
    """
    return Version(
        protocol_version=config.protocol_version,
        services=config.services,
        timestamp=int(now),
        addr_you=receiver,
        addr_me=NetAddress(config.services),
        nonce=nonce,
        user_agent=config.user_agent,
        genesis_hash=config.network.genesis_hash,
        last_block=height,
        relay=not config.disable_relay_tx,
    )


class LiveNonces:
    """The nonces that a process has sent in its versions, one for each connection that lives.

    A remote that names one of them is this process itself. (The reference remembers the last 50, which a
    process with more connections overflows.)
    """

    def __init__(self) -> None:
        self._nonces: dict[int, int] = {}

    def add(self, nonce: int) -> None:
        """Remember the nonce of a connection that begins."""
        self._nonces[nonce] = self._nonces.get(nonce, 0) + 1

    def discard(self, nonce: int) -> None:
        """Forget the nonce of a connection that has ended."""
        left = self._nonces.get(nonce, 0) - 1
        if left > 0:
            self._nonces[nonce] = left
        else:
            self._nonces.pop(nonce, None)

    def __contains__(self, nonce: object) -> bool:
        return nonce in self._nonces

    def __len__(self) -> int:
        return len(self._nonces)


LIVE_NONCES = LiveNonces()
"""Those of this process."""
