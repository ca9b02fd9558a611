"""Parts of a service that look on: at connections that begin and end, and at messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from txsoter.core.listeners import Listeners
from txsoter.errors import CloseReason, TxsoterError
from txsoter.wire import Message

if TYPE_CHECKING:
    from txsoter.peer.protocol import SoterPeerProtocol

__all__ = ["Observer", "observed"]

_log = Logger()


class Observer:
    """Overrides what it wants to hear of; the rest costs nothing.

    Methods named as in :class:`~txsoter.Listeners` (``on_inv(peer, message)`` and so on) are called before the
    application's listener of that name. Nothing is waited for, and what a method raises is logged.
    """

    def on_ready(self, peer: SoterPeerProtocol) -> None:
        """Both veracks have crossed."""

    def on_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        """A connection has ended, ready or not."""

    def on_read(self, peer: SoterPeerProtocol, size: int, message: Message | None, error: TxsoterError | None) -> None:
        """A message was read, or could not be; ``size`` is the frame's, in bytes."""

    def on_write(self, peer: SoterPeerProtocol, size: int, message: Message | None, error: TxsoterError | None) -> None:
        """A message was written, or could not be."""


def observed(listeners: Listeners, observers: Iterable[Observer]) -> Listeners:
    """``listeners``, with observers that are told before them."""
    observers = tuple(observers)
    changes: dict[str, Any] = {}
    for name in (each.name for each in attrs.fields(Listeners)):
        told = [method for method in (_method(each, name) for each in observers) if method is not None]
        if told:
            changes[name] = _telling(told, getattr(listeners, name))
    return attrs.evolve(listeners, **changes)


def _method(observer: Observer, name: str) -> Callable[..., object] | None:
    """What ``observer`` does about ``name``; None when it does not override it."""
    method = getattr(observer, name, None)
    if method is None or getattr(method, "__func__", None) is getattr(Observer, name, _log):
        return None
    found: Callable[..., object] = method
    return found


def _telling(told: list[Callable[..., object]], listener: Callable[..., Any] | None) -> Callable[..., Any]:
    def tell(*args: Any) -> Any:
        for each in told:
            try:
                each(*args)
            except Exception:
                _log.failure("an observer failed: {observer!r}", observer=repr(each))
        return None if listener is None else listener(*args)

    return tell if listener is None else update_wrapper(tell, listener, assigned=(), updated=())
