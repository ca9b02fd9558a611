"""Packets and pcap files for tests, made by hand from what the formats' specifications say."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

import attrs

from txsoter.test.capture.link_frames import LINKS
from txsoter.test.capture.support import START, chunks

__all__ = ["CLIENT", "SERVER", "SYN", "Packet", "Session", "pcap", "pcapng"]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER = ("192.0.2.1", 40_000), ("192.0.2.2", 18_555)
CLIENT6, SERVER6 = ("2001:db8::1", 40_000), ("2001:db8::2", 18_555)

Packet = tuple[int, bytes]
"""Time in microseconds, and the IP packet."""


def tcp(source: tuple[str, int], target: tuple[str, int], seq: int, ack: int, flags: int, data: bytes) -> bytes:
    """A TCP segment with a timestamp option, as nearly all have; in an IPv4 or IPv6 packet."""
    options = b"\x01\x01\x08\x0a" + bytes(8)
    header = struct.pack(
        ">HHIIBBHHH", source[1], target[1], seq % 2**32, ack % 2**32, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0
    )
    return ip(source[0], target[0], header + options + data)


def ip(source: str, target: str, payload: bytes, fragment: int = 0, length: int | None = None) -> bytes:
    """An IP packet of TCP."""
    if ":" in source:
        hop_by_hop = b"\x06\x00\x01\x04\x00\x00\x00\x00"
        body = hop_by_hop + payload
        start = struct.pack(">IHBB", 6 << 28, len(body), 0, 64)
        return start + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + body
    length = 20 + len(payload) if length is None else length
    start = struct.pack(">BBHHHBBH", 0x45, 0, length, 7, fragment, 64, 6, 0)
    return start + socket.inet_aton(source) + socket.inet_aton(target) + payload


# -- files -------------------------------------------------------------------------------------


def pcap(
    packets: Iterable[Packet], link: str = "ethernet", order: str = "<", nano: bool = False, snap: int = 0
) -> bytes:
    """A pcap file.

    :param snap: the most bytes of a packet in it; 0 for all.
    """
    number, framed = LINKS[link]
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap or 262_144, number)]
    for time, packet in packets:
        data = framed(packet)
        kept = data[: snap or None]
        seconds, micros = divmod(time, 1_000_000)
        fraction = micros * 1000 if nano else micros
        parts += [struct.pack(f"{order}IIII", seconds, fraction, len(kept), len(data)), kept]
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: str, order: str = "<", resolution: int = 6, offset: int = 0) -> bytes:
    """An interface, whose timestamps count ``resolution`` as the format says it."""
    options = struct.pack(f"{order}HHBxxx", 9, 1, resolution)
    if offset:
        options += struct.pack(f"{order}HHq", 14, 8, offset)
    body = struct.pack(f"{order}HHI", LINKS[link][0], 0, 0) + options + bytes(4)
    return block(1, body, order)


def enhanced(number: int, ticks: int, data: bytes, order: str = "<") -> bytes:
    """A packet."""
    start = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, start + data, order)


def pcapng(packets: Iterable[Packet], link: str = "ethernet", order: str = "<") -> bytes:
    """A pcapng file of one section and one interface, with a block of an unheard-of kind between the packets."""
    parts = [section(order), interface(link, order)]
    for time, packet in packets:
        parts += [enhanced(0, time, LINKS[link][1](packet), order), block(0x0BAD, b"whatever", order)]
    return b"".join(parts)


# -- conversations -----------------------------------------------------------------------------


@attrs.define
class Session:
    """A TCP connection that says what it is told to: its packets, in the order in which they were sent.

    :ivar packets: so far.
    """

    client: tuple[str, int] = CLIENT
    server: tuple[str, int] = SERVER
    client_isn: int = 1000
    server_isn: int = 7000
    time: int = START
    packets: list[Packet] = attrs.field(factory=list)
    said: dict[bool, int] = attrs.field(factory=lambda: {True: 0, False: 0})

    def packet(self, from_client: bool, flags: int, data: bytes = b"", at: int | None = None) -> Packet:
        """A packet, not added.

        :param at: where in its stream it begins; by default behind what was said.
        """
        source, target = (self.client, self.server) if from_client else (self.server, self.client)
        at = self.said[from_client] if at is None else at
        mine, theirs = (self.client_isn, self.server_isn)[:: 1 if from_client else -1]
        sequence = mine + (0 if flags & SYN else 1 + at)
        return self.time, tcp(source, target, sequence, theirs + 1 + self.said[not from_client], flags, data)

    def add(self, from_client: bool, flags: int, data: bytes = b"", at: int | None = None) -> None:
        """Add a packet, a millisecond after the one before."""
        self.time += 1000
        self.packets.append(self.packet(from_client, flags, data, at))

    def begin(self) -> Session:
        """The three packets that every connection begins with."""
        self.add(True, SYN)
        self.add(False, SYN | ACK)
        self.add(True, ACK)
        return self

    def say(self, from_client: bool, data: bytes, largest: int = 1400, seed: int = 0) -> Session:
        """In segments."""
        for piece in chunks(data, seed, largest):
            self.add(from_client, PSH | ACK, piece)
            self.said[from_client] += len(piece)
        return self

    def end(self) -> Session:
        """Both say that they are done."""
        for from_client in (True, False):
            self.add(from_client, FIN | ACK)
            self.said[from_client] += 1
        self.add(True, ACK)
        return self
