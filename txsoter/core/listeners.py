"""The application's listeners, and the handlers that follow from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any, TypeVar

import attrs

from txsoter import wire
from txsoter.core.dispatch_table import DispatchTable, Handler
from txsoter.core.rules import make_dispatch_table
from txsoter.errors import CloseReason, FieldError, TxsoterError
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["Listener", "Listeners", "table_of"]

M = TypeVar("M", bound=wire.Message)

# Any, for the peer: it is the adapter's, and a listener may name its own subclass
Listener = Callable[[Any, M], Any]
"""Called with the peer and a message. Its result is waited for, if it can be."""

Observer = Callable[[Any, int, "wire.Message | None", "TxsoterError | None"], Any]
"""Called with the peer, the bytes of the frame, and the message or the error."""

_ARGUMENTS = {
    "on_block": "the peer, the block and its payload",
    "on_read": "the peer, the size, the message or None, the error or None",
    "on_write": "the peer, the size, the message, the error or None",
    "on_ready": "the peer",
    "on_closed": "the peer and the reason",
    "on_round_trip": "the peer and the seconds",
}
_COUNTS = {"on_block": 3, "on_read": 4, "on_write": 4, "on_ready": 1}


def _check_listener(name: str, listener: object, arguments: str, count: int) -> None:
    """Check that ``listener`` can be called.

    :raises FieldError: if not.
    """
    limit = f"callable with {arguments}"
    if not callable(listener):
        raise FieldError(name, listener, f"{limit}, or None")
    try:
        signature = inspect.signature(listener)
    except (TypeError, ValueError):
        # some builtins do not tell
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        raise FieldError(name, listener, limit) from None


def _listener(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        arguments = _ARGUMENTS.get(attribute.name, "the peer and the message")
        _check_listener(f"Listeners.{attribute.name}", value, arguments, _COUNTS.get(attribute.name, 2))


def _listeners_by_class(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise FieldError("Listeners.on_message", value, "a mapping of message classes to listeners")
    for kind, listener in value.items():
        if not (isinstance(kind, type) and issubclass(kind, wire.Message)):
            raise FieldError("Listeners.on_message", kind, "message classes as keys, declared as those of txsoter.wire")
        name = f"Listeners.on_message[{kind.__name__}]"
        _check_listener(name, listener, "the peer and the message", 2)


@attrs.frozen(kw_only=True)
class Listeners:
    """An application's listeners; those that are None cost nothing.

    A listener may be a plain function, return a Deferred (or a future, with asyncio), or be a coroutine function: the
    next message waits until it is done. There is one for each message of soter, called after the peer has done its own
    part. They run strictly one after the other, in the order in which the messages came.

    :ivar on_message: listeners by message class, for messages that the application declares itself as well.
    :ivar on_version: may return a :class:`~txsoter.wire.Reject`, which refuses the remote.
    :ivar on_block: also gets the raw payload.
    :ivar on_unknown: gets :class:`~txsoter.wire.Unknown` for commands that are not declared.
    :ivar on_read: called for every message read and for every failure to read one, before the
        message's own listener: peer, bytes, message or None, error or None.
    :ivar on_write: called for every message when its last byte has been handed to the transport, and
        for every failure to write one; arguments as for ``on_read``. Not waited for. Do not send from it whenever a
        message failed: that fails again, and goes on for ever.
    :ivar on_ready: called with the peer once both veracks have crossed. Not waited for.
    :ivar on_round_trip: called with the peer and the seconds between a ping of ours and its pong. Not waited for.
    :ivar on_closed: called with the peer and the :class:`~txsoter.CloseReason`, after everything else has been
        cleaned up. Not waited for.
    """

    on_version: Callable[[Any, wire.Version], Any] | None = attrs.field(default=None, validator=_listener)
    on_verack: Listener[wire.VerAck] | None = attrs.field(default=None, validator=_listener)
    on_getaddr: Listener[wire.GetAddr] | None = attrs.field(default=None, validator=_listener)
    on_getaddrcache: Listener[wire.GetAddrCache] | None = attrs.field(default=None, validator=_listener)
    on_addr: Listener[wire.Addr] | None = attrs.field(default=None, validator=_listener)
    on_addrcache: Listener[wire.AddrCache] | None = attrs.field(default=None, validator=_listener)
    on_getblocks: Listener[wire.GetBlocks] | None = attrs.field(default=None, validator=_listener)
    on_inv: Listener[wire.Inv] | None = attrs.field(default=None, validator=_listener)
    on_getdata: Listener[wire.GetData] | None = attrs.field(default=None, validator=_listener)
    on_notfound: Listener[wire.NotFound] | None = attrs.field(default=None, validator=_listener)
    on_block: Callable[[Any, wire.Block, bytes], Any] | None = attrs.field(default=None, validator=_listener)
    on_tx: Listener[wire.Tx] | None = attrs.field(default=None, validator=_listener)
    on_getheaders: Listener[wire.GetHeaders] | None = attrs.field(default=None, validator=_listener)
    on_headers: Listener[wire.Headers] | None = attrs.field(default=None, validator=_listener)
    on_ping: Listener[wire.Ping] | None = attrs.field(default=None, validator=_listener)
    on_pong: Listener[wire.Pong] | None = attrs.field(default=None, validator=_listener)
    on_alert: Listener[wire.Alert] | None = attrs.field(default=None, validator=_listener)
    on_mempool: Listener[wire.MemPool] | None = attrs.field(default=None, validator=_listener)
    on_filteradd: Listener[wire.FilterAdd] | None = attrs.field(default=None, validator=_listener)
    on_filterclear: Listener[wire.FilterClear] | None = attrs.field(default=None, validator=_listener)
    on_filterload: Listener[wire.FilterLoad] | None = attrs.field(default=None, validator=_listener)
    on_merkleblock: Listener[wire.MerkleBlock] | None = attrs.field(default=None, validator=_listener)
    on_reject: Listener[wire.Reject] | None = attrs.field(default=None, validator=_listener)
    on_sendheaders: Listener[wire.SendHeaders] | None = attrs.field(default=None, validator=_listener)
    on_feefilter: Listener[wire.FeeFilter] | None = attrs.field(default=None, validator=_listener)
    on_getcfilters: Listener[wire.GetCFilters] | None = attrs.field(default=None, validator=_listener)
    on_getcfheaders: Listener[wire.GetCFHeaders] | None = attrs.field(default=None, validator=_listener)
    on_getcfcheckpt: Listener[wire.GetCFCheckpt] | None = attrs.field(default=None, validator=_listener)
    on_cfilter: Listener[wire.CFilter] | None = attrs.field(default=None, validator=_listener)
    on_cfheaders: Listener[wire.CFHeaders] | None = attrs.field(default=None, validator=_listener)
    on_cfcheckpt: Listener[wire.CFCheckpt] | None = attrs.field(default=None, validator=_listener)
    on_message: Mapping[type[wire.Message], Listener[Any]] = attrs.field(factory=dict, validator=_listeners_by_class)
    on_unknown: Listener[wire.Unknown] | None = attrs.field(default=None, validator=_listener)
    on_read: Observer | None = attrs.field(default=None, validator=_listener)
    on_write: Observer | None = attrs.field(default=None, validator=_listener)
    on_ready: Callable[[Any], Any] | None = attrs.field(default=None, validator=_listener)
    on_round_trip: Callable[[Any, float], Any] | None = attrs.field(default=None, validator=_listener)
    on_closed: Callable[[Any, CloseReason], Any] | None = attrs.field(default=None, validator=_listener)


# a command that an application declares may be called "read"
_OF_MESSAGES = frozenset(name for name in attrs.fields_dict(Listeners) if name[3:] in wire.messages())


def table_of(
    listeners: Listeners,
    before: tuple[Handler, ...] = (),
    after: Callable[[type[wire.Message]], tuple[Handler, ...]] = lambda kind: (),
) -> DispatchTable:
    """Return the dispatch table of an application's listeners.

    No handler of it may refer to one peer: all connections of a config share it.

    :param before: handlers of every message, called first.
    :param after: gives the handlers of a message class that are called last.
    """
    on_read = listeners.on_read

    def find(kind: type[wire.Message]) -> tuple[Handler, ...]:
        handlers = [*before]
        if on_read is not None:
            handlers.append(lambda peer, message, payload: on_read(peer, HEADER_SIZE + len(payload), message, None))
        name = "on_unknown" if kind is wire.Unknown else f"on_{kind.command}"
        listener = getattr(listeners, name) if name == "on_unknown" or name in _OF_MESSAGES else None
        if listener is not None:
            handlers.append(listener if name == "on_block" else _without_payload(listener))
        by_class = listeners.on_message.get(kind)
        if by_class is not None:
            handlers.append(_without_payload(by_class))
        return (*handlers, *after(kind))

    return make_dispatch_table(
        find,
        observes_reads=on_read is not None or bool(before),
        observes_writes=listeners.on_write is not None or bool(before),
        observes_round_trips=listeners.on_round_trip is not None,
    )


def _without_payload(listener: Callable[[Any, Any], Any]) -> Handler:
    def handler(peer: Any, message: Any, payload: bytes) -> Any:
        return listener(peer, message)

    # nothing but the way back to its name
    return update_wrapper(handler, listener, assigned=(), updated=())
