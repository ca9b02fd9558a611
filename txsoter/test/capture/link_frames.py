"""Frames of every link type that captures are read from, made by hand from the formats' specifications."""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["LINKS", "ethernet"]

Framer = Callable[[bytes], bytes]
"""Puts an IP packet into a frame."""

MACS = b"\x02" * 6 + b"\x04" * 6
VLAN, QINQ, QINQ_OLD = b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07", b"\x91\x00\x00\x09"
SNAP = b"\xaa\xaa\x03\0\0\0"


def is_ip6(packet: bytes) -> bool:
    return packet[0] >> 4 == 6


def typed(packet: bytes) -> bytes:
    """The packet behind its EtherType."""
    return (b"\x86\xdd" if is_ip6(packet) else b"\x08\x00") + packet


def ppp(packet: bytes) -> bytes:
    """The packet behind its PPP protocol."""
    return (b"\0\x57" if is_ip6(packet) else b"\0\x21") + packet


def pppoe(packet: bytes) -> bytes:
    """A PPPoE session's header, and PPP."""
    return struct.pack(">BBHH", 0x11, 0, 1, len(packet) + 2) + ppp(packet)


def mpls(packet: bytes) -> bytes:
    """Two labels, of which the second is at the bottom."""
    return struct.pack(">II", 16 << 12 | 64, 17 << 12 | 1 << 8 | 64) + packet


def ethernet(packet: bytes) -> bytes:
    """Padded to 60 bytes, as short ones are."""
    return (MACS + typed(packet)).ljust(60, b"\0")


def in_ethernet(tagged: Framer) -> Framer:
    """Behind the addresses of Ethernet."""
    return lambda packet: MACS + tagged(packet)


def tunnel(packet: bytes) -> bytes:
    """IP in IP, as a gateway sees it."""
    protocol = 41 if is_ip6(packet) else 4
    outer = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(packet), 7, 0, 64, protocol, 0)
    return ethernet(outer + bytes((198, 51, 100, 1, 198, 51, 100, 2)) + packet)


def cooked(tagged: Framer) -> Framer:
    """Linux's cooked capture; its protocol stands where an EtherType does, behind 14 bytes."""
    return lambda packet: struct.pack(">HHH", 0, 1, 6) + b"\x02" * 8 + tagged(packet)


def cooked2(tagged: Framer) -> Framer:
    """Its second version, of ``tcpdump -i any``; the protocol comes first."""

    def frame(packet: bytes) -> bytes:
        whole = tagged(packet)
        return whole[:2] + struct.pack(">HIHBB", 0, 1, 1, 0, 6) + b"\x02" * 8 + whole[2:]

    return frame


def family(of_ip6: int, order: str) -> Framer:
    """A BSD's loopback: the address family first."""
    return lambda packet: struct.pack(f"{order}I", of_ip6 if is_ip6(packet) else 2) + packet


def pflog(packet: bytes) -> bytes:
    """A packet filter's log entry: 61 bytes, padded to 64."""
    return b"\x3d" + (b"\x18" if is_ip6(packet) else b"\x02") + bytes(62) + packet


def nflog(order: str) -> Framer:
    """A record of Linux's packet log: its header, a prefix and the packet, each padded."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack(f"{order}HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    def frame(packet: bytes) -> bytes:
        start = (b"\x0a" if is_ip6(packet) else b"\x02") + b"\0\0\x05"
        return start + attribute(1, b"\x08\0\x01\0") + attribute(10, b"in: \0") + attribute(9, packet)

    return frame


TAGGED: dict[str, Framer] = {
    "plain": typed,
    "vlan": lambda packet: VLAN + typed(packet),
    "qinq": lambda packet: QINQ + VLAN + typed(packet),
    "three tags": lambda packet: QINQ_OLD + QINQ + VLAN + typed(packet),
    "mpls": lambda packet: b"\x88\x47" + mpls(packet),
    "mpls in vlan": lambda packet: VLAN + b"\x88\x47" + mpls(packet),
    "pppoe": lambda packet: b"\x88\x64" + pppoe(packet),
    "pppoe in vlan": lambda packet: VLAN + b"\x88\x64" + pppoe(packet),
}
"""What may stand from an EtherType on."""

LINKS: dict[str, tuple[int, Framer]] = {
    "ethernet": (1, ethernet),
    "tunnel": (1, tunnel),
    "snap": (1, lambda packet: MACS + struct.pack(">H", min(1500, 8 + len(packet))) + SNAP + typed(packet)),
    "snap in vlan": (1, lambda packet: MACS + VLAN + b"\0\x60" + SNAP + typed(packet)),
    "cooked": (113, cooked(typed)),
    "cooked2": (276, cooked2(typed)),
    "cooked snap": (113, cooked(lambda packet: b"\0\x04" + SNAP + typed(packet))),
    **{f"ethernet, {name}": (1, in_ethernet(tagged)) for name, tagged in TAGGED.items()},
    **{f"cooked, {name}": (113, cooked(tagged)) for name, tagged in TAGGED.items()},
    **{f"cooked2, {name}": (276, cooked2(tagged)) for name, tagged in TAGGED.items()},
    "null": (0, family(30, "<")),
    "null of FreeBSD": (0, family(28, "<")),
    "null, big-endian": (0, family(24, ">")),
    "loop": (108, family(24, ">")),
    **{f"raw {link}": (link, bytes) for link in (12, 14, 101, 228, 229)},
    "raw": (101, bytes),
    "ppp": (9, lambda packet: b"\xff\x03" + ppp(packet)),
    "ppp without HDLC": (9, ppp),
    "ppp, protocol in a byte": (9, lambda packet: b"\xff\x03" + ppp(packet)[1:]),
    "ppp, mpls": (9, lambda packet: b"\xff\x03\x02\x81" + mpls(packet)),
    "ppp serial": (50, lambda packet: b"\xff\x03" + ppp(packet)),
    "ppp serial of Cisco": (50, lambda packet: b"\x0f\0" + typed(packet)),
    "ppp ether": (51, pppoe),
    "ppp pppd": (166, lambda packet: b"\x01\x03" + ppp(packet)),
    "ppp with direction": (204, lambda packet: b"\0\xff\x03" + ppp(packet)),
    "hdlc of Cisco": (104, lambda packet: b"\x0f\0" + typed(packet)),
    "slip": (8, lambda packet: bytes(16) + packet),
    "enc": (109, lambda packet: struct.pack("<III", 24 if is_ip6(packet) else 2, 0x1234, 0) + packet),
    "pflog": (117, pflog),
    "firewire": (138, lambda packet: bytes(16) + typed(packet)),
    "nflog": (239, nflog("<")),
    "nflog, big-endian": (239, nflog(">")),
}
"""Numbers in files, and how an IP packet stands in a frame."""
