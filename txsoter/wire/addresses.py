"""Where peers are: the net address, ``addr``, ``addrcache``, and the two messages that ask for them."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from typing import Any

from typing_extensions import Self

from txsoter.errors import FieldError
from txsoter.ip import IPAddress, pack_ip, unpack_ip
from txsoter.wire.codec import U8, U32, U64, FixedBytes, read_count
from txsoter.wire.message import Encoding, Message, field, message
from txsoter.wire.views import RowLayout, Rows, RowView, column, read_rows

__all__ = ["MAX_ADDRESSES", "Addr", "AddrCache", "GetAddr", "GetAddrCache", "NetAddress", "Services"]

MAX_ADDRESSES = 1000
"""The most addresses in one ``addr``, and in all three lists of one ``addrcache``."""

MULTIPLE_ADDRESSES = 209
"""The first protocol version whose ``addr`` may carry more than one address."""

TIMESTAMPS = 31402
"""The first protocol version whose address lists carry timestamps."""


class Services(enum.IntFlag):
    """The service bits. Messages hold plain ints, for a remote may send any 64 bits."""

    NETWORK = 1
    GETUTXO = 2
    BLOOM = 4
    WITNESS = 8
    XTHIN = 16
    BIT5 = 32
    CF = 64
    TWO_X = 128


class NetAddress(tuple[int, bytes, int, int]):
    """Where a peer is: ``(services, ip, port, timestamp)``.

    :param services: :class:`Services` bits.
    :param ip: 16 bytes (IPv4 mapped into ``::ffff:0:0/96``), or text or an object of :mod:`ipaddress`.
    :param port: 0 to 65535.
    :param timestamp: when it was last seen, seconds since 1970; not on the wire in ``version``,
        nor below protocol version 31402.
    :raises FieldError: for an ``ip`` that is no address.
    """

    __slots__ = ()

    def __new__(
        cls,
        services: int = 0,
        ip: bytes | str | IPAddress = bytes(16),
        port: int = 0,
        timestamp: int = 0,
    ) -> Self:
        return tuple.__new__(cls, (services, ip if isinstance(ip, bytes) else _pack_ip(ip), port, timestamp))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)  # for pickle and copy: tuple's own would give the row as the first field

    services: int = column(0, "Service bits.")
    ip: bytes = column(1, "The 16 bytes of the address.")
    port: int = column(2, "The TCP port.")
    timestamp: int = column(3, "When it was last seen, seconds since 1970.")

    @property
    def host(self) -> str:
        """The address as people write it, IPv4 as such."""
        raw: bytes = self[1]
        if len(raw) != 16:
            return f"invalid address of {len(raw)} bytes"
        return str(unpack_ip(raw))

    def __repr__(self) -> str:
        return f"NetAddress(services={self[0]}, ip={self.host!r}, port={self[2]}, timestamp={self[3]})"


def _pack_ip(ip: str | IPAddress) -> bytes:
    try:
        # of any number ipaddress would make an address, and of a port given as the second argument, too
        return pack_ip(ipaddress.ip_address("" if isinstance(ip, int) else ip))
    except ValueError:
        raise FieldError("NetAddress.ip", ip, "an IPv4 or IPv6 address") from None


def _new(values: tuple[int, bytes, int, int]) -> NetAddress:
    return tuple.__new__(NetAddress, values)


def _split_port(port: int) -> tuple[int, int]:
    if not isinstance(port, int) or not 0 <= port <= 0xFFFF:
        raise FieldError("port", port, "a whole number from 0 to 65535")
    return port >> 8, port & 0xFF


_IP = FixedBytes(16)
# the port is big-endian among little-endian neighbours: two columns of a byte each
_PLACE = (("services", U64), ("ip", _IP), ("port", U8), ("port", U8))

BARE_ADDRESS: RowLayout[NetAddress] = RowLayout(
    _PLACE,
    build=lambda row: _new((row[0], row[1], row[2] << 8 | row[3], 0)),
    flatten=lambda address: (address[0], address[1], *_split_port(address[2])),
)
"""A net address without a timestamp: 26 bytes."""

DATED_ADDRESS: RowLayout[NetAddress] = RowLayout(
    (("timestamp", U32), *_PLACE),
    build=lambda row: _new((row[1], row[2], row[3] << 8 | row[4], row[0])),
    flatten=lambda address: (address[3], address[0], address[1], *_split_port(address[2])),
)
"""A net address with its timestamp: 30 bytes."""


class AddressCodec:
    """One net address without a timestamp, as in ``version``."""

    def read(self, data: bytes, offset: int, pver: int) -> tuple[NetAddress, int]:
        return BARE_ADDRESS.read_one(data, offset)

    def write(self, value: NetAddress, pver: int) -> bytes:
        return BARE_ADDRESS.pack_one(value)


def _list_layout(pver: int) -> RowLayout[NetAddress]:
    return DATED_ADDRESS if pver >= TIMESTAMPS else BARE_ADDRESS


def _addr_max(pver: int) -> int:
    most = MAX_ADDRESSES if pver >= MULTIPLE_ADDRESSES else 1
    return 9 + most * _list_layout(pver).size


@message("addr", max_size=_addr_max)
class Addr(Message):
    """Addresses of peers, at most 1000; below protocol version 209 at most one."""

    addresses: Sequence[NetAddress] = field(Rows(_list_layout, MAX_ADDRESSES, "addresses"), default=())

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        if pver < MULTIPLE_ADDRESSES and len(self.addresses) > 1:
            limit = f"at most 1 address at protocol version {pver}, not {len(self.addresses)}"
            raise FieldError("addresses", self.addresses, limit)
        # not super(): attrs makes a new class of this one, and __class__ would be the old
        return Message.write_payload(self, pver, encoding)


_CACHE_LISTS = ("inbound", "outbound", "known")


@message("addrcache", max_size=lambda pver: 27 + MAX_ADDRESSES * _list_layout(pver).size)
class AddrCache(Message):
    """Whom a node is connected to and whom it knows: 1000 addresses in the three lists together.

    :ivar inbound: who dialled it.
    :ivar outbound: whom it dialled.
    :ivar known: whom it knows of.
    """

    inbound: Sequence[NetAddress] = field(Rows(_list_layout, MAX_ADDRESSES, "addresses"), default=())
    outbound: Sequence[NetAddress] = field(Rows(_list_layout, MAX_ADDRESSES, "addresses"), default=())
    known: Sequence[NetAddress] = field(Rows(_list_layout, MAX_ADDRESSES, "addresses"), default=())

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        layout = _list_layout(pver)
        offset, room = 0, MAX_ADDRESSES
        lists: list[RowView[NetAddress]] = []
        for _ in _CACHE_LISTS:
            count, offset = read_count(data, offset, room, "addresses in the lists of an addrcache")
            view, offset = read_rows(layout, data, offset, count)
            lists.append(view)
            room -= count
        return cls(*lists), offset

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        total = sum(len(getattr(self, name)) for name in _CACHE_LISTS)
        if total > MAX_ADDRESSES:
            limit = f"at most {MAX_ADDRESSES} addresses in all three lists together"
            raise FieldError("inbound + outbound + known", total, limit)
        return Message.write_payload(self, pver, encoding)


@message("getaddr", max_size=0)
class GetAddr(Message):
    """Asks for ``addr``. A soterd answers once a connection, only to whom dialled it, and never on simnet."""


@message("getaddrcache", max_size=0)
class GetAddrCache(Message):
    """Asks for ``addrcache``."""
