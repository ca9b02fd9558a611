"""A peer of the soter network for Twisted.

The public names, each loaded when it is first used: ``txsoter.wire`` alone does not load Twisted.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from txsoter.compiled_modules import compiled
    from txsoter.core.listeners import Listeners
    from txsoter.core.log_text import MessageLog
    from txsoter.core.stats import PeerStats
    from txsoter.core.walk import walk_blocks
    from txsoter.errors import CloseCause, ClosedBy, CloseReason, ConnectionClosed, HandshakeFailed, TxsoterError
    from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1, Network
    from txsoter.peer.config import PeerConfig
    from txsoter.peer.factory import SoterClientFactory, SoterServerFactory, connect, listen
    from txsoter.peer.protocol import SoterPeerProtocol

if os.environ.get("TXSOTER_PURE") == "1":
    # before any module that may be compiled: it has their sources imported
    import_module("txsoter.compiled_modules")

_HOMES = {
    "txsoter.compiled_modules": ("compiled",),
    "txsoter.errors": (
        "CloseCause",
        "CloseReason",
        "ClosedBy",
        "ConnectionClosed",
        "HandshakeFailed",
        "TxsoterError",
    ),
    "txsoter.networks": ("MAINNET", "REGTEST", "SIMNET", "TESTNET1", "Network"),
    "txsoter.peer.config": ("PeerConfig",),
    "txsoter.peer.factory": ("SoterClientFactory", "SoterServerFactory", "connect", "listen"),
    "txsoter.core.listeners": ("Listeners",),
    "txsoter.core.log_text": ("MessageLog",),
    "txsoter.peer.protocol": ("SoterPeerProtocol",),
    "txsoter.core.stats": ("PeerStats",),
    "txsoter.core.walk": ("walk_blocks",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MAINNET",
    "REGTEST",
    "SIMNET",
    "TESTNET1",
    "CloseCause",
    "CloseReason",
    "ClosedBy",
    "ConnectionClosed",
    "HandshakeFailed",
    "Listeners",
    "MessageLog",
    "Network",
    "PeerConfig",
    "PeerStats",
    "SoterClientFactory",
    "SoterPeerProtocol",
    "SoterServerFactory",
    "TxsoterError",
    "compiled",
    "connect",
    "listen",
    "walk_blocks",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
