"""Endpoints and configs as arguments: their types, and checks that name what to give instead."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from txsoter.errors import FieldError
from txsoter.peer.config import PeerConfig

__all__ = ["ClientEndpoint", "ServerEndpoint", "check_client_endpoint", "check_config", "check_server_endpoint"]


class _Connects(Protocol):
    """A class of endpoints for type checkers that do not know zope's interfaces."""

    def connect(self, protocolFactory: Any, /) -> Deferred[Any]:
        """See :meth:`twisted.internet.interfaces.IStreamClientEndpoint.connect`."""
        ...


class _Listens(Protocol):
    """A class of endpoints for type checkers that do not know zope's interfaces."""

    def listen(self, protocolFactory: Any, /) -> Deferred[Any]:
        """See :meth:`twisted.internet.interfaces.IStreamServerEndpoint.listen`."""
        ...


ClientEndpoint = IStreamClientEndpoint | _Connects
"""An endpoint that dials."""

ServerEndpoint = IStreamServerEndpoint | _Listens
"""An endpoint that listens."""


def check_client_endpoint(endpoint: object) -> None:
    """Check that ``endpoint`` dials.

    :raises FieldError: if not.
    """
    if not callable(getattr(endpoint, "connect", None)):
        example = _quoted(endpoint, "tcp:127.0.0.1:18555")
        limit = f"an endpoint that dials, such as clientFromString(reactor, {example})"
        raise FieldError("endpoint", endpoint, limit)


def check_server_endpoint(endpoint: object) -> None:
    """Check that ``endpoint`` listens.

    :raises FieldError: if not.
    """
    if not callable(getattr(endpoint, "listen", None)):
        example = _quoted(endpoint, "tcp:18555:interface=127.0.0.1")
        limit = f"an endpoint that listens, such as serverFromString(reactor, {example})"
        raise FieldError("endpoint", endpoint, limit)


def _quoted(endpoint: object, otherwise: str) -> str:
    is_string = isinstance(endpoint, str) and ":" in endpoint and len(endpoint) <= 80
    return f'"{endpoint if is_string else otherwise}"'


def check_config(config: object) -> None:
    """Check that ``config`` is one of a peer.

    :raises FieldError: if not.
    """
    if not isinstance(config, PeerConfig):
        raise FieldError("config", config, "a PeerConfig, such as PeerConfig(network=SIMNET)")
