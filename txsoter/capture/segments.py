"""TCP segments out of a pcap or pcapng file, by means of dpkt (``pip install txsoter[pcap]``).

The blocks of pcapng are walked here: dpkt's own reader knows one interface a file.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from txsoter.capture.errors import CaptureError, reason_of
from txsoter.capture.links import LINK_TYPES, packet_in

__all__ = ["End", "PacketFile", "Segment"]

MAX_READ = 16 << 20
"""The most bytes that a file's own lengths may ask for at once."""

MAX_TIME = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""

MAX_LAYERS = 12
"""Headers around a segment's, at most: tunnels are looked into."""

_PCAPNG = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

SECTION, INTERFACE, SIMPLE_PACKET = 0x0A0D0D0A, 1, 3
"""Kinds of blocks of pcapng."""

PACKETS = {6: "IIIII", 2: "HxxIIII"}
"""Kinds with a packet, and where they say its interface, time and lengths."""

RESOLUTION, OFFSET = 9, 14
"""Options of an interface."""

End = tuple[str, int]
"""A host and a port."""


class Segment(NamedTuple):
    """A TCP segment.

    :param time: when it was captured, microseconds since 1970.
    :param sequence: of its first byte, u32; of its SYN if it has one.
    :param cut: bytes at its end that were not captured.
    """

    time: int
    source: End
    target: End
    sequence: int
    data: bytes = b""
    cut: int = 0
    syn: bool = False
    ack: bool = False
    fin: bool = False
    rst: bool = False


class _Bounded:
    """A file of which nobody can ask too much."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise ValueError(f"a block of {size} bytes")
        return self._file.read(size)


class PacketFile:
    """The segments of a file, in the order in which they were captured; read once.

    :ivar packets: how many there were, of any kind.
    :ivar ignored: how many of them were none of TCP, by why.
    :ivar damage: what ended the reading, if that was not the end of the file.
    :raises CaptureError: when it cannot be read, or is of another kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packets = 0
        self.ignored: Counter[str] = Counter()
        self.damage: str | None = None
        try:
            # imported here: only those who read pcap files need it
            import dpkt  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise CaptureError(path, "reading it needs dpkt: pip install 'txsoter[pcap]'") from None
        self._dpkt: Any = dpkt
        try:
            self._file: BufferedReader = path.open("rb")
            self._file.peek(1)
        except OSError as error:
            raise CaptureError(path, reason_of(error)) from None

    def __enter__(self) -> PacketFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def read(self) -> int:
        """Bytes read so far."""
        return self._file.tell()

    def __iter__(self) -> Iterator[Segment]:
        for time, link, data in self._packets():
            self.packets += 1
            segment = self._segment(min(max(0, time), MAX_TIME), link, data)
            if segment is not None:
                yield segment

    # -- packets -------------------------------------------------------------------------------

    def _packets(self) -> Iterator[tuple[int, int, bytes]]:
        """Time, link type and bytes of each packet, as far as the file is whole."""
        packets = self._of_pcapng() if self._file.peek(4)[:4] == _PCAPNG else self._of_pcap()
        try:
            yield from packets
        except CaptureError:
            raise
        except Exception as error:
            # whatever dpkt and struct make of a damaged file
            if not self.packets:
                raise CaptureError(self.path, f"no pcap or pcapng file, or damaged: {_words(error)}") from None
            self.damage = _words(error)

    def _of_pcap(self) -> Iterator[tuple[int, int, bytes]]:
        reader = self._dpkt.pcap.Reader(_Bounded(self._file))
        # in the upper bits stand the FCS's length and more
        link = reader.datalink() & 0xFFFF
        for time, data in reader:
            yield round(time * 1_000_000), link, data

    def _of_pcapng(self) -> Iterator[tuple[int, int, bytes]]:
        file, order = _Bounded(self._file), "<"
        interfaces: list[tuple[int, int, int]] = []
        while head := file.read(8):
            kind, size = _unpacked(f"{order}II", head)
            begins = b""
            if kind == SECTION:
                begins = file.read(4)
                if begins not in _ORDERS:
                    raise ValueError("a section in no byte order")
                order = _ORDERS[begins]
                (size,) = _unpacked(f"{order}I", head[4:])
                interfaces.clear()
            body = begins + file.read(size - 8 - len(begins))
            if len(body) < size - 8 or body[-4:] != head[4:8]:
                raise ValueError("a block that is not whole")
            if kind == INTERFACE:
                interfaces.append(_interface(body, order))
            elif kind in PACKETS:
                number, high, low, kept, _ = _unpacked(f"{order}{PACKETS[kind]}", body)
                link, ticks, offset = interfaces[number]
                time = (high << 32 | low) * 1_000_000 // ticks + offset * 1_000_000
                yield time, link, body[20:-4][:kept]
            elif kind == SIMPLE_PACKET:
                (length,) = _unpacked(f"{order}I", body)
                yield 0, interfaces[0][0], body[4:-4][:length]

    # -- layers --------------------------------------------------------------------------------

    def _raw_ip(self, data: bytes) -> Any:
        return (self._dpkt.ip6.IP6 if data[0] >> 4 == 6 else self._dpkt.ip.IP)(data)

    def _segment(self, time: int, link: int, data: bytes) -> Segment | None:
        if link not in LINK_TYPES:
            self.ignored[f"link type {link}"] += 1
            return None
        try:
            packet = packet_in(link, data)
            ip, tcp = self._inside(None if packet is None else self._raw_ip(packet))
            if tcp is None:
                return None
            cut = _announced(ip, isinstance(ip, self._dpkt.ip6.IP6)) - len(bytes(tcp.opts)) - 20 - len(tcp.data)
            source, target = _host(ip.src), _host(ip.dst)
        except Exception:
            # whatever dpkt makes of what is no packet
            self.ignored["unreadable"] += 1
            return None
        flags = tcp.flags
        return Segment(
            time,
            (source, tcp.sport),
            (target, tcp.dport),
            tcp.seq,
            bytes(tcp.data),
            max(0, cut),
            bool(flags & 0x02),
            bool(flags & 0x10),
            bool(flags & 0x01),
            bool(flags & 0x04),
        )

    def _inside(self, layer: Any) -> tuple[Any, Any]:
        """The IP and TCP headers; None for TCP's when there is none."""
        ip4, ip6 = self._dpkt.ip.IP, self._dpkt.ip6.IP6
        ip = None
        for _ in range(MAX_LAYERS):
            if isinstance(layer, self._dpkt.tcp.TCP) and ip is not None:
                return ip, layer
            if isinstance(layer, (ip4, ip6)):
                ip = layer
                fragment = ip.mf or ip.offset if isinstance(ip, ip4) else 44 in ip.extension_hdrs
                if fragment:
                    self.ignored["fragment of an IP packet"] += 1
                    return ip, None
            if not isinstance(layer, self._dpkt.Packet):
                break
            layer = layer.data
        self.ignored["not TCP"] += 1
        return ip, None


def _unpacked(layout: str, data: bytes) -> tuple[int, ...]:
    return struct.unpack_from(layout, data)


def _interface(body: bytes, order: str) -> tuple[int, int, int]:
    """Link type, ticks a second, and seconds to add."""
    link, _, _ = _unpacked(f"{order}HHI", body)
    resolution, offset, at = 6, 0, 8
    while at + 4 <= len(body) - 4:
        code, size = _unpacked(f"{order}HH", body[at : at + 4])
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == RESOLUTION:
            resolution = value[0]
        elif code == OFFSET:
            (offset,) = _unpacked(f"{order}q", value)
        at += 4 + size + -size % 4
    return link, 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution, offset


def _announced(ip: Any, is_ip6: bool) -> int:
    """Bytes behind an IP header, as it says; 0 when it leaves that open, as one that the card was to cut up."""
    if is_ip6:
        headers = sum(len(each) for each in ip.all_extension_headers)
        return max(0, int(ip.plen) - headers)
    return max(0, int(ip.len) - int(ip.hl) * 4)


def _host(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
