"""Link layers: the IP packet in a captured frame, by the file's link type (https://www.tcpdump.org/linktypes.html).

Known are those that tcpdump writes on Linux and the BSDs and that carry IP in clear. VLAN and QinQ tags, MPLS labels,
PPPoE and LLC/SNAP are passed over wherever an EtherType stands. Not known are 802.11, whose frames are encrypted nearly
always, and media that are gone: token ring, FDDI, ARCNET, ATM.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["LINK_TYPES", "packet_in"]

_IPV4, _IPV6 = 0x0800, 0x86DD
_IP = (_IPV4, _IPV6)
_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
_MPLS = (0x8847, 0x8848)
_PPPOE = 0x8864
_SNAP = b"\xaa\xaa\x03"

MAX_TAGS = 16
"""The most tags and labels before an IP packet."""

_FAMILIES = (2, 10, 23, 24, 28, 30)
"""AF_INET, and the AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, and macOS."""

_PPP_PROTOCOLS = {0x0021: _IPV4, 0x0057: _IPV6, 0x0281: _MPLS[0], 0x0283: _MPLS[1]}

_NFLOG_PAYLOAD = 9

Parser = Callable[[bytes], "bytes | None"]


def packet_in(link: int, data: bytes) -> bytes | None:
    """Return the IP packet in a frame; None when it holds another protocol.

    :raises KeyError: for a link type that is none of :data:`LINK_TYPES`.
    :raises IndexError: or ``struct.error``, for a frame that ends inside of its headers.
    """
    return LINK_TYPES[link](data)


def _u16(data: bytes, offset: int) -> int:
    value: int = struct.unpack_from(">H", data, offset)[0]
    return value


def _behind(kind: int, data: bytes, offset: int) -> bytes | None:
    """The packet from ``offset``, where something of an EtherType begins."""
    for _ in range(MAX_TAGS):
        if kind in _IP:
            return data[offset:]
        if kind in _TAGS:
            kind, offset = _u16(data, offset + 2), offset + 4
        elif kind in _MPLS:
            at_bottom = data[offset + 2] & 1
            offset += 4
            if at_bottom:
                # nothing says what comes, but the packet itself
                return data[offset:] if data[offset] >> 4 in (4, 6) else None
        elif kind == _PPPOE:
            return _ppp(data[offset + 6 :])
        elif kind <= 1500 and data[offset : offset + 3] == _SNAP:
            # LLC: the number is a length on Ethernet, and 4 in cooked headers
            kind, offset = _u16(data, offset + 6), offset + 8
        else:
            return None
    return None


def _ppp(data: bytes) -> bytes | None:
    """The packet in a PPP frame, with HDLC's address and control or without, its protocol in two bytes or in one."""
    offset = 2 if data.startswith(b"\xff\x03") else 0
    protocol = data[offset]
    if protocol & 1:
        offset += 1
    else:
        protocol, offset = _u16(data, offset), offset + 2
    kind = _PPP_PROTOCOLS.get(protocol)
    return None if kind is None else _behind(kind, data, offset)


def _ppp_serial(data: bytes) -> bytes | None:
    """PPP, or Cisco's HDLC, as the first byte tells."""
    return _ppp(data) if data[0] == 0xFF else _behind(_u16(data, 2), data, 4)


def _loopback(data: bytes) -> bytes | None:
    """A BSD's address family before the packet, in the byte order of whatever host."""
    (family,) = struct.unpack_from("<I", data)
    if family >= 1 << 16:
        (family,) = struct.unpack_from(">I", data)
    return data[4:] if family in _FAMILIES else None


def _nflog(data: bytes) -> bytes | None:
    """One of the attributes in a record of Linux's packet log; they are in the byte order of whatever host."""
    offset = 4
    # the first one's type is no larger than a byte
    order = ">" if data[6] == 0 else "<"
    while offset + 4 <= len(data):
        size, kind = struct.unpack_from(f"{order}HH", data, offset)
        if kind == _NFLOG_PAYLOAD:
            return data[offset + 4 : offset + size]
        # with its padding; a size of less than its own header would go on for ever
        offset += max(4, size + -size % 4)
    return None


def _pflog(data: bytes) -> bytes:
    """The packet behind the header of a BSD's packet filter, which begins with its length and is padded."""
    return data[data[0] + -data[0] % 4 :]


def _ethertype(kind_at: int, offset: int) -> Parser:
    """A header of fixed size, with an EtherType in it."""
    return lambda data: _behind(_u16(data, kind_at), data, offset)


def _fixed(size: int) -> Parser:
    """A header of fixed size, and IP behind it."""
    return lambda data: data[size:]


LINK_TYPES: dict[int, Parser] = {
    0: _loopback,  # NULL
    1: _ethertype(12, 14),  # EN10MB
    8: _fixed(16),  # SLIP
    9: _ppp,  # PPP
    12: _fixed(0),  # RAW, of Linux and FreeBSD
    14: _fixed(0),  # RAW, of OpenBSD
    50: _ppp_serial,  # PPP_SERIAL
    51: lambda data: _ppp(data[6:]),  # PPP_ETHER: PPPoE without Ethernet
    101: _fixed(0),  # RAW
    104: _ethertype(2, 4),  # C_HDLC
    108: _loopback,  # LOOP
    109: _fixed(12),  # ENC: IPsec of the BSDs
    113: _ethertype(14, 16),  # LINUX_SLL
    117: _pflog,  # PFLOG
    138: _ethertype(16, 18),  # APPLE_IP_OVER_IEEE1394
    166: lambda data: _ppp(data[2:]),  # PPP_PPPD: a direction where address and control were
    204: lambda data: _ppp(data[1:]),  # PPP_WITH_DIR
    228: _fixed(0),  # IPV4
    229: _fixed(0),  # IPV6
    239: _nflog,  # NFLOG
    276: _ethertype(0, 20),  # LINUX_SLL2
}
"""The parser of each link type, by its number in files."""
