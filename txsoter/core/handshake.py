"""The handshake: our ``version``, the checks on the remote's, and what both agree on."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import Any, NamedTuple

from txsoter.core.agents import SemanticVersion, agent_versions
from txsoter.core.config import ConnectionConfig
from txsoter.errors import CloseCause
from txsoter.networks import Network
from txsoter.wire import Encoding, Hash, Message, NetAddress, RejectCode, Services, VerAck, Version, write_message
from txsoter.wire.control import VersionTemplate

__all__ = [
    "LIVE_NONCES",
    "MIN_PROTOCOL_VERSION",
    "EarlyMessages",
    "Handshake",
    "LiveNonces",
    "Refusal",
    "check_protocol_version",
    "check_version",
    "own_version",
    "verack_frame",
]

MIN_PROTOCOL_VERSION = 209
"""The lowest protocol version that a remote may advertise."""


SELF_CONNECTIONS = "allow_self_connections of PeerConfig lets a process talk to itself"


class Refusal(NamedTuple):
    """A reason not to accept a remote's ``version``.

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
    """Return the first check that the remote's ``version`` fails, in soterd's order; None when it passes all.

    The protocol version is checked later, by :func:`check_protocol_version`, after the ``on_version`` listener.

    :param own_nonces: what this process has sent on connections that live; empty to allow self connections.
    """
    if version.nonce in own_nonces:
        return Refusal(CloseCause.SELF_CONNECTION, SELF_CONNECTIONS, None)
    if version.genesis_hash != network.genesis_hash:
        detail = f"peer genesis block {version.genesis_hash} is not ours, {network.genesis_hash}"
        return Refusal(CloseCause.WRONG_GENESIS, detail, RejectCode.INVALID)
    # names are compared by their bytes: agent_versions() reads them as Latin-1, whatever they are
    theirs = agent_versions(version.user_agent).get(agent_name.encode().decode("latin-1"))
    if theirs is not None and theirs.major != agent_version.major:
        detail = f"peer version {theirs} is incompatible with our version {agent_version}"
        return Refusal(CloseCause.INCOMPATIBLE_AGENT, detail, RejectCode.INVALID)
    return None


def check_protocol_version(pver: int) -> Refusal | None:
    """Return the failure of a remote whose protocol version soter does not speak any more; None for others.

    Without a reject: ``reject`` is younger than the lowest version.
    """
    if pver < MIN_PROTOCOL_VERSION:
        detail = f"protocol version {pver}, must be {MIN_PROTOCOL_VERSION} or greater"
        return Refusal(CloseCause.OBSOLETE_VERSION, detail, None)
    return None


def own_version(config: ConnectionConfig, receiver: NetAddress, height: int, nonce: int, wall: float) -> Version:
    """Return our ``version``. Its version field is always our own maximum; the negotiated one decides the encoding.

    :param receiver: the remote's address, as we name it.
    :param wall: seconds since 1970.
    """
    relay = not config.disable_relay_tx
    template = _template(
        config.protocol_version, config.services, config.user_agent, config.network.genesis_hash, relay
    )
    return template.fill(int(wall), receiver, nonce, height)


@lru_cache(maxsize=64)
def _template(pver: int, services: int, user_agent: bytes, genesis_hash: Hash, relay: bool) -> VersionTemplate:
    """Return the part of our ``version`` that is the same on all connections of a config."""
    return VersionTemplate(
        Version(
            protocol_version=pver,
            services=services,
            addr_me=NetAddress(services),
            user_agent=user_agent,
            genesis_hash=genesis_hash,
            relay=relay,
        )
    )


@lru_cache(maxsize=16)
def verack_frame(magic: int) -> bytes:
    """Return the frame of a ``verack``, which is the same at all protocol versions."""
    return write_message(VerAck(), magic)


class LiveNonces:
    """The nonces that a process has sent in its versions, one for each live connection.

    A remote that names one of them is this process itself. (The reference remembers the last 50, which a
    process with more connections overflows.)
    """

    def __init__(self) -> None:
        self._nonces: dict[int, int] = {}
        # those that a connection of this process was refused for at its other end
        self._refused: set[int] = set()

    def add(self, nonce: int) -> None:
        """Add the nonce of a connection that begins."""
        self._nonces[nonce] = self._nonces.get(nonce, 0) + 1

    def discard(self, nonce: int) -> None:
        """Remove the nonce of a connection that has ended."""
        left = self._nonces.get(nonce, 0) - 1
        if left > 0:
            self._nonces[nonce] = left
        else:
            self._nonces.pop(nonce, None)
            self._refused.discard(nonce)

    def refuse(self, nonce: int) -> None:
        """Note that a remote was refused for naming a nonce of a live connection."""
        if nonce in self._nonces:
            self._refused.add(nonce)

    def is_refused(self, nonce: int) -> bool:
        """Tell whether the other end of a live connection is this process, which refused it."""
        return nonce in self._refused

    def __contains__(self, nonce: object) -> bool:
        return nonce in self._nonces

    def __len__(self) -> int:
        return len(self._nonces)


LIVE_NONCES = LiveNonces()
"""Those of this process."""


class EarlyMessages:
    """Messages that the application sent before the handshake lets them go. They are encoded only then.

    :ivar size: bytes of their frames, as encoded at our own version.
    """

    __slots__ = ("_entries", "size")

    def __init__(self) -> None:
        self._entries: list[tuple[Message, Encoding, Any]] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, message: Message, encoding: Encoding, token: Any, size: int) -> None:
        """Let a message wait."""
        self._entries.append((message, encoding, token))
        self.size += size

    def forget(self, token: Any) -> bool:
        """Let the message of ``token`` wait on, but tell nobody; return False if there is none."""
        for index, (message, encoding, each) in enumerate(self._entries):
            if each is token:
                self._entries[index] = (message, encoding, None)
                return True
        return False

    def take(self) -> list[tuple[Message, Encoding, Any]]:
        """Remove and return all, in order."""
        entries, self._entries = self._entries, []
        self.size = 0
        return entries


class RemoteVersion(NamedTuple):
    """The fields of a remote's ``version`` that are asked for later."""

    protocol_version: int
    services: int
    user_agent: bytes
    last_block: int
    relay: bool


class Handshake:
    """The statements of both sides about themselves, and what follows from them.

    :ivar nonce: of our ``version``, or None before it is sent.
    :ivar remote: of the remote's ``version`` what is asked for later, or None before it came.
    :ivar pver: the protocol version in use: our own until one is negotiated.
    :ivar encoding: how the remote writes transactions.
    :ivar time_offset: the remote's clock less ours, in whole seconds.
    :ivar complete: both veracks have crossed.
    :ivar early: what waits for our ``verack``, or None once that is sent.
    """

    __slots__ = ("complete", "early", "encoding", "nonce", "pver", "remote", "time_offset")

    def __init__(self, pver: int) -> None:
        self.complete = False
        self.nonce: int | None = None
        self.remote: RemoteVersion | None = None
        self.pver = pver
        self.encoding = Encoding.BASE
        self.time_offset = 0
        self.early: EarlyMessages | None = EarlyMessages()

    def version_received(self, version: Version, wall: float) -> None:
        """Keep what the remote says of itself.

        :param wall: seconds since 1970.
        """
        # not all of it: ten thousand peers keep one each
        self.remote = RemoteVersion(
            version.protocol_version, version.services, version.user_agent, version.last_block, version.relay
        )
        self.time_offset = version.timestamp - int(wall)

    def negotiate(self, own_pver: int) -> None:
        """Settle on the lower of both protocol versions, and on witnesses if the remote has them."""
        remote = self.remote
        assert remote is not None
        self.pver = min(own_pver, remote.protocol_version)
        self.encoding = Encoding.WITNESS if remote.services & _WITNESS else Encoding.BASE

    def end_before_version(self, network: Network) -> str:
        """Return why a remote may have closed that was sent our ``version`` and has not said its own; may be empty."""
        if self.remote is not None or self.nonce is None:
            return ""
        if LIVE_NONCES.is_refused(self.nonce):
            return f"its other end is this process: {SELF_CONNECTIONS}"
        return f"it may be on another network, we speak {network.name}"

    def forget_nonce(self) -> None:
        """Remove our nonce from those of live connections."""
        if self.nonce is not None:
            LIVE_NONCES.discard(self.nonce)
            self.nonce = None


_WITNESS = int(Services.WITNESS)
