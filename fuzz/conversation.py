"""Parts of the targets ``connection`` and ``peer``: the settings of a connection, its run, checks of what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from pieces import PROTOCOL_VERSIONS, Piece, parsed

from txsoter.core.handshake import LIVE_NONCES
from txsoter.errors import MalformedMessage, NeedMoreData
from txsoter.networks import REGTEST, SIMNET, Network
from txsoter.testing import remote_version
from txsoter.wire import PROTOCOL_VERSION, Services, VerAck, read_message, write_message

__all__ = [
    "FILLERS",
    "LARGE",
    "SETTINGS",
    "SMALL",
    "Scene",
    "check_written",
    "config_fields",
    "hello",
    "nonces_released",
    "run",
]

SETTINGS = 7
"""Bytes before the pieces: flags, more, limits, the version said first, the target's own, two of what handlers do."""

SMALL = 2000
"""Bytes that queues take, where the settings ask for small ones."""

LARGE = 4 << 20
"""Bytes that queues take otherwise."""

FILLERS = 20
"""Large messages that one connection sends at most: a fuzzer that finds out how would do nothing else."""


class Scene(Protocol):
    """One connection, and what is done to it."""

    def happens(self, piece: Piece) -> None:
        """Do one thing to it."""

    def end(self) -> object:
        """Close it, and look at what is left."""


S = TypeVar("S", bound=Scene)


def config_fields(settings: bytes, failing: Callable[[], int]) -> dict[str, Any]:
    """Return the fields of a ``ConnectionConfig`` that the settings choose.

    :param failing: a ``newest_block`` that raises.
    """
    flags, more, limits = settings[:3]
    small = bool(flags & 64)
    return {
        "network": REGTEST if flags & 2 else SIMNET,
        "strict": bool(flags & 8),
        "close_on_handler_error": bool(flags & 16),
        "services": int(Services.BLOOM if flags & 32 else 0),
        "soft_queue_limit": SMALL if small else LARGE // 4,
        "hard_queue_limit": 4 * SMALL if small else LARGE,
        "lookahead_limit": SMALL if small else 1 << 23,
        "max_known_inventory": 3 if small else 50_000,
        "max_trickle_queue": 3 if small else 50_000,
        "protocol_version": 209 if more & 1 else PROTOCOL_VERSION,
        "trickle_interval": None if more & 2 else 10.0,
        "stall_headers": bool(more & 4),
        "answer_pings": not more & 8,
        "newest_block": failing if more & 128 else None,
        "max_messages_per_second": 2 if limits & 1 else None,
        "max_bytes_per_second": 500 if limits & 2 else None,
    }


def hello(settings: bytes, network: Network) -> bytes:
    """Return the version and verack with which the remote begins; none where the settings ask for none."""
    chosen = settings[3]
    if not chosen:
        return b""
    version = remote_version(
        protocol_version=PROTOCOL_VERSIONS[chosen % len(PROTOCOL_VERSIONS)],
        services=Services.WITNESS if chosen & 128 else 0,
        genesis_hash=network.genesis_hash,
    )
    return write_message(version, network.magic) + write_message(VerAck(), network.magic)


def run(begin: Callable[[bytes], S], data: bytes) -> S:
    """Bring a scene from its beginning to its end; return it."""
    settings, pieces = parsed(data, SETTINGS)
    scene = begin(settings)
    for piece in pieces:
        scene.happens(piece)
    scene.end()
    return scene


@contextmanager
def nonces_released() -> Iterator[None]:
    """Check that no nonce is taken for one of a living connection afterwards that was not before."""
    nonces = len(LIVE_NONCES)
    yield
    assert len(LIVE_NONCES) == nonces, "its nonce is still taken for one that lives"


def check_written(raw: bytes, magic: int, protocol_version: int) -> None:
    """Check that ``raw`` is whole messages of that version; the end may have cut off the last one."""
    at = 0
    try:
        while at < len(raw):
            at += read_message(raw[at:], magic, protocol_version)[1]
    except NeedMoreData:
        pass
    except MalformedMessage as error:
        raise AssertionError(f"wrote what is malformed: {error}") from error
