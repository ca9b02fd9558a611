"""Bytes to messages and back: the soter wire format, all 31 messages of it.

Nothing here knows of sockets or Twisted, nor of clocks but for the default of :meth:`Block.check`.
"""

from txsoter.wire.addresses import MAX_ADDRESSES, Addr, AddrCache, GetAddr, GetAddrCache, NetAddress, Services
from txsoter.wire.alerts import Alert, AlertDetails
from txsoter.wire.blocks import MAX_HEADERS, Block, BlockHeader, Headers, Parent, parents_commitment
from txsoter.wire.bloom import BloomUpdate, FilterAdd, FilterClear, FilterLoad, MerkleBlock
from txsoter.wire.cfilters import (
    REGULAR_FILTER,
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
)
from txsoter.wire.control import (
    MAX_USER_AGENT,
    FeeFilter,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    VerAck,
    Version,
)
from txsoter.wire.framing import FrameDecoder, read_message, write_message
from txsoter.wire.hashes import ZERO_HASH, Hash, double_sha256, merkle_root
from txsoter.wire.inventory import (
    MAX_INVENTORY,
    MAX_INVENTORY_SENT,
    GetBlocks,
    GetData,
    GetHeaders,
    Inv,
    InventoryType,
    InventoryVector,
    MemPool,
    NotFound,
)
from txsoter.wire.message import (
    MAX_PAYLOAD,
    MAX_UNKNOWN_PAYLOAD,
    PROTOCOL_VERSION,
    Encoding,
    Message,
    Unknown,
    messages,
)
from txsoter.wire.transactions import Tx, TxIn, TxOut
from txsoter.wire.views import RowView

__all__ = [
    "MAX_ADDRESSES",
    "MAX_HEADERS",
    "MAX_INVENTORY",
    "MAX_INVENTORY_SENT",
    "MAX_PAYLOAD",
    "MAX_UNKNOWN_PAYLOAD",
    "MAX_USER_AGENT",
    "PROTOCOL_VERSION",
    "REGULAR_FILTER",
    "ZERO_HASH",
    "Addr",
    "AddrCache",
    "Alert",
    "AlertDetails",
    "Block",
    "BlockHeader",
    "BloomUpdate",
    "CFCheckpt",
    "CFHeaders",
    "CFilter",
    "Encoding",
    "FeeFilter",
    "FilterAdd",
    "FilterClear",
    "FilterLoad",
    "FrameDecoder",
    "GetAddr",
    "GetAddrCache",
    "GetBlocks",
    "GetCFCheckpt",
    "GetCFHeaders",
    "GetCFilters",
    "GetData",
    "GetHeaders",
    "Hash",
    "Headers",
    "Inv",
    "InventoryType",
    "InventoryVector",
    "MemPool",
    "MerkleBlock",
    "Message",
    "NetAddress",
    "NotFound",
    "Parent",
    "Ping",
    "Pong",
    "Reject",
    "RejectCode",
    "RowView",
    "SendHeaders",
    "Services",
    "Tx",
    "TxIn",
    "TxOut",
    "Unknown",
    "VerAck",
    "Version",
    "double_sha256",
    "merkle_root",
    "messages",
    "parents_commitment",
    "read_message",
    "write_message",
]
