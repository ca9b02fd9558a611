"""What an application can hook into a peer.

A listener is called with the peer and the message, and may be a plain function, return a Deferred,
or be a coroutine function: the next message waits until it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from txsoter import wire

if TYPE_CHECKING:
    from txsoter.errors import CloseReason, TxsoterError
    from txsoter.peer.protocol import SoterPeerProtocol

__all__ = ["Listener", "Listeners", "listener_name"]

M = TypeVar("M", bound=wire.Message)

Listener = Callable[["SoterPeerProtocol", M], Any]
"""Called with the peer and a message; what it returns is waited for, if it can be."""

Observer = Callable[["SoterPeerProtocol", int, "wire.Message | None", "TxsoterError | None"], Any]
"""Called with the peer, the bytes of the frame, and the message or the error."""


def listener_name(command: str) -> str:
    """The name of the listener for ``command``."""
    return f"on_{command}"


@attrs.frozen(kw_only=True)
class Listeners:
    """An application's listeners; those that are None cost nothing.

    There is one for each of the 31 messages, called after the peer has done its own part. They
    run strictly one after the other in the order in which the messages came.

    :ivar on_version: may return a :class:`~txsoter.wire.Reject`, which refuses the remote.
    :ivar on_block: also gets the raw payload.
    :ivar on_unknown: gets :class:`~txsoter.wire.Unknown` for commands that are none of the 31.
    :ivar on_read: called for every message read and for every failure to read one, before the
        message's own listener: peer, bytes, message or None, error or None.
    :ivar on_write: called for every message when its last byte has been handed to the transport, and
        for every failure to write one; arguments as for ``on_read``. Not waited for.
    :ivar on_ready: called with the peer once both veracks have crossed. Not waited for.
    :ivar on_closed: called with the peer and the :class:`~txsoter.CloseReason`, after everything else has been
        cleaned up. Not waited for.
    """

    on_version: Callable[[SoterPeerProtocol, wire.Version], Any] | None = None
    on_verack: Listener[wire.VerAck] | None = None
    on_getaddr: Listener[wire.GetAddr] | None = None
    on_getaddrcache: Listener[wire.GetAddrCache] | None = None
    on_addr: Listener[wire.Addr] | None = None
    on_addrcache: Listener[wire.AddrCache] | None = None
    on_getblocks: Listener[wire.GetBlocks] | None = None
    on_inv: Listener[wire.Inv] | None = None
    on_getdata: Listener[wire.GetData] | None = None
    on_notfound: Listener[wire.NotFound] | None = None
    on_block: Callable[[SoterPeerProtocol, wire.Block, bytes], Any] | None = None
    on_tx: Listener[wire.Tx] | None = None
    on_getheaders: Listener[wire.GetHeaders] | None = None
    on_headers: Listener[wire.Headers] | None = None
    on_ping: Listener[wire.Ping] | None = None
    on_pong: Listener[wire.Pong] | None = None
    on_alert: Listener[wire.Alert] | None = None
    on_mempool: Listener[wire.MemPool] | None = None
    on_filteradd: Listener[wire.FilterAdd] | None = None
    on_filterclear: Listener[wire.FilterClear] | None = None
    on_filterload: Listener[wire.FilterLoad] | None = None
    on_merkleblock: Listener[wire.MerkleBlock] | None = None
    on_reject: Listener[wire.Reject] | None = None
    on_sendheaders: Listener[wire.SendHeaders] | None = None
    on_feefilter: Listener[wire.FeeFilter] | None = None
    on_getcfilters: Listener[wire.GetCFilters] | None = None
    on_getcfheaders: Listener[wire.GetCFHeaders] | None = None
    on_getcfcheckpt: Listener[wire.GetCFCheckpt] | None = None
    on_cfilter: Listener[wire.CFilter] | None = None
    on_cfheaders: Listener[wire.CFHeaders] | None = None
    on_cfcheckpt: Listener[wire.CFCheckpt] | None = None
    on_unknown: Listener[wire.Unknown] | None = None
    on_read: Observer | None = None
    on_write: Observer | None = None
    on_ready: Callable[[SoterPeerProtocol], Any] | None = None
    on_closed: Callable[[SoterPeerProtocol, CloseReason], Any] | None = None
