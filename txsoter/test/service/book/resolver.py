"""A resolver of host names that answers when it is told to."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress, IHostnameResolver
from zope.interface import implementer

__all__ = ["Resolver", "v4"]


@implementer(IHostnameResolver)
class Resolver:
    """Answers when it is told to.

    :ivar asked: the names, in the order in which they were asked for.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._receivers: dict[str, list[Any]] = {}

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append(hostName)
        self._receivers.setdefault(hostName, []).append(resolutionReceiver)
        resolutionReceiver.resolutionBegan(None)

    def answer(self, name: str, *addresses: IAddress) -> None:
        """Answer the one who has waited longest."""
        receiver = self._receivers[name].pop(0)
        for address in addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


def v4(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 0)
