"""Remotes that reach us through a proxy that names them by the PROXY protocol, as HAProxy does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

__all__ = ["Proxied", "header"]


def header(host: str, port: int = 5555) -> bytes:
    """The line by which a proxy names a remote."""
    family = "TCP6" if ":" in host else "TCP4"
    here = "2001:db8::1" if ":" in host else "192.0.2.1"
    return f"PROXY {family} {host} {here} {port} 18555\r\n".encode()


class _Named(ProtocolWrapper):
    factory: Any

    def makeConnection(self, transport: Any) -> None:
        transport.write(self.factory.header)
        super().makeConnection(transport)


class _Naming(WrappingFactory):
    protocol = _Named
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, header: bytes) -> None:
        super().__init__(wrapped)
        self.header = header


@implementer(IStreamClientEndpoint)
class Proxied:
    """An endpoint as a remote's behind a proxy: what it says comes after the proxy's header.

    :param endpoint: of the port that takes such headers.
    :param header: see :func:`header`.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, header: bytes) -> None:
        self._endpoint = endpoint
        self._header = header

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        connecting: Deferred[Any] = self._endpoint.connect(_Naming(protocolFactory, self._header))
        return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)
