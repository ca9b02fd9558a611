"""pcap and pcapng files: every format, byte order and link type; and files that are damaged, or mean harm."""

from __future__ import annotations

import struct
import sys
from random import Random
from typing import Any

from txsoter.capture import CaptureError
from txsoter.capture.segments import PacketFile, Segment
from txsoter.test.capture.link_frames import LINKS, ethernet
from txsoter.test.capture.packets import (
    CLIENT6,
    SERVER6,
    Packet,
    Session,
    block,
    enhanced,
    interface,
    ip,
    pcap,
    pcapng,
    section,
)
from txsoter.test.capture.support import START, CaptureCase

IPV6: dict[str, Any] = {"client": CLIENT6, "server": SERVER6}


def session(**ends: Any) -> Session:
    return Session(**ends).begin().say(True, b"from the client").say(False, b"from the server").end()


class SegmentCase(CaptureCase):
    def read(self, data: bytes) -> tuple[list[Segment], PacketFile]:
        """The segments in a file."""
        path = self.folder / "file.pcap"
        path.write_bytes(data)
        with PacketFile(path) as file:
            return list(file), file

    def error(self, data: bytes) -> str:
        """What is wrong with a file."""
        with self.assertRaises(CaptureError) as caught:
            self.read(data)
        self.assertEqual(caught.exception.path, self.folder / "file.pcap")
        return caught.exception.reason

    def expected(self, **ends: Any) -> list[Segment]:
        """Those of :func:`session`, read from the bytes themselves."""
        found = []
        for time, packet in session(**ends).packets:
            header = packet[48:] if packet[0] >> 4 == 6 else packet[20:]
            sport, dport, sequence = struct.unpack_from(">HHI", header)
            flags, data = header[13], header[header[12] >> 4 << 2 :]
            client, server = ends.get("client", ("192.0.2.1", 0))[0], ends.get("server", ("192.0.2.2", 0))[0]
            hosts = (client, server) if sport == 40_000 else (server, client)
            bits = (bool(flags & 2), bool(flags & 16), bool(flags & 1), bool(flags & 4))
            found.append(Segment(time, (hosts[0], sport), (hosts[1], dport), sequence, data, 0, *bits))
        return found


class FormatTests(SegmentCase):
    def test_every_format_byte_order_and_link_type(self) -> None:
        """pcap in microseconds and nanoseconds, and pcapng; both byte orders; IPv4 and IPv6 over all that we know."""
        for ends in ({}, IPV6):
            expected = self.expected(**ends)
            self.assertEqual([each.data for each in expected if each.data], [b"from the client", b"from the server"])
            packets = session(**ends).packets
            for link in LINKS:
                for order in "<>":
                    files = [
                        pcapng(packets, link, order),
                        *(pcap(packets, link, order, nano) for nano in (False, True)),
                    ]
                    for number, data in enumerate(files):
                        found, file = self.read(data)
                        self.assertEqual(found, expected, (link, order, number))
                        self.assertEqual((file.packets, file.ignored, file.damage), (len(packets), {}, None))

    def test_interfaces_of_a_pcapng_file(self) -> None:
        """Each has a link type, a resolution and an offset of its own; and each section has interfaces of its own."""
        packets = session().packets[3:4]
        (_, packet), seconds = packets[0], START // 1_000_000
        parts = [
            section(),
            interface("ethernet"),
            interface("raw", resolution=9),
            interface("cooked", resolution=0x80 | 10),
            interface("null", offset=1000),
            enhanced(1, START * 1000 + 999, LINKS["raw"][1](packet)),
            enhanced(2, seconds * 1024 + 512, LINKS["cooked"][1](packet)),
            enhanced(3, START, LINKS["null"][1](packet)),
            enhanced(0, START, ethernet(packet)),
            section(">"),
            interface("raw", ">", resolution=3),
            enhanced(0, START // 1000 + 7, packet, ">"),
        ]
        found, _ = self.read(b"".join(parts))
        times = [START, START + 500_000, START + 1_000_000_000, START, START + 7000]
        self.assertEqual([each.time - START for each in found], [each - START for each in times])
        self.assertEqual({each.data for each in found}, {b"from the client"})

    def test_packets_without_a_time(self) -> None:
        """pcapng's simple blocks."""
        data = ethernet(session().packets[3][1])
        simple = block(3, struct.pack("<I", len(data)) + data)
        found, _ = self.read(section() + interface("ethernet") + simple)
        self.assertEqual([(each.time, each.data) for each in found], [(0, b"from the client")])

    def test_what_was_not_captured_of_a_packet_is_counted(self) -> None:
        """A snap length cuts packets: how many bytes is told by the lengths in their IP headers."""
        for ends in ({}, IPV6):
            cut = Session(**ends).begin().say(True, bytes(1000), 1000).packets
            for link in ("ethernet", "cooked2"):
                whole, _ = self.read(pcap(cut, link))
                found, _ = self.read(pcap(cut, link, snap=300))
                self.assertEqual([each.data for each in whole[3:]], [bytes(len(each.data)) for each in whole[3:]])
                for before, after in zip(whole, found, strict=True):
                    self.assertEqual(len(after.data) + after.cut, len(before.data))
                self.assertGreater(sum(each.cut for each in found), 0)

    def test_segments_that_a_card_was_to_cut_up(self) -> None:
        """Their IP headers say 0 for the length: all that there is belongs to them."""
        time, packet = Session().begin().say(True, bytes(5000), 5000).packets[-1]
        (segment,), _ = self.read(pcap([(time, packet[:2] + b"\0\0" + packet[4:])], "raw"))
        self.assertEqual((segment.data, segment.cut), (packet[52:], 0))
        self.assertGreater(len(segment.data), 100)

    def test_what_is_no_tcp_is_counted(self) -> None:
        packets = session().packets
        time, packet = packets[3]
        udp = packet[:9] + b"\x11" + packet[10:]
        fragments = [(time, ip("192.0.2.1", "192.0.2.2", packet[20:], fragment)) for fragment in (0x2000, 0x0064)]
        broken: list[Packet] = [(time, b"\x45"), (time, b""), (time, packet[:30])]
        found, file = self.read(pcap([packets[0], (time, udp), *fragments, *broken, packets[1]], "raw"))
        self.assertEqual(len(found), 2)
        self.assertEqual(file.ignored, {"not TCP": 2, "fragment of an IP packet": 2, "unreadable": 2})
        self.assertEqual(file.packets, 8)

    def test_unknown_link_types_are_named(self) -> None:
        data = pcap(session().packets)
        found, file = self.read(data[:20] + struct.pack("<I", 147) + data[24:])
        self.assertEqual((found, file.ignored), ([], {"link type 147": len(session().packets)}))


class DamageTests(SegmentCase):
    def test_no_pcap_file(self) -> None:
        for data in (
            b"",
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n" * 100,
            bytes(1000),
            b"\x0a\x0d\x0d\x0a",
            section()[:20],
            pcap([])[:9],
        ):
            self.assertRegex(self.error(data), r"\Ano pcap or pcapng file, or damaged: .+")
        with self.assertRaises(CaptureError) as caught:
            PacketFile(self.folder / "missing.pcap")
        self.assertEqual(caught.exception.reason, "No such file or directory")
        with self.assertRaises(CaptureError) as caught:
            PacketFile(self.folder)
        self.assertEqual(caught.exception.reason, "Is a directory")

    def test_a_file_that_ends_in_the_middle(self) -> None:
        """What is whole is read, wherever it ends: a tcpdump that was killed has left it so."""
        packets = session().packets
        expected = self.expected()
        for make in (pcap, pcapng):
            data = make(packets)
            for end in range(len(data) - 130, len(data)):
                found, _ = self.read(data[:end])
                self.assertGreaterEqual(len(found), len(expected) - 3)
                whole = [each for each in found if not each.cut]
                self.assertEqual(whole, expected[: len(whole)])

    def test_lengths_that_mean_harm(self) -> None:
        """Nothing is allocated for a length that a file only names, and none is read backwards."""
        packets = session().packets
        head = pcap(packets[:1])
        for length in (0xFFFFFFFF, 0x7FFFFFFF, 17 << 20):
            found, file = self.read(head + struct.pack("<IIII", 1, 1, length, length) + bytes(100))
            self.assertEqual((len(found), file.damage), (1, f"a block of {length} bytes"))
        start = section() + interface("raw")
        for length in (0xFFFFFFFF, 0xFFFFFFF0, 17 << 20, 11, 8, 0):
            found, file = self.read(
                start + enhanced(0, START, packets[0][1]) + struct.pack("<II", 6, length) + bytes(99)
            )
            self.assertEqual(len(found), 1)
            self.assertIsNotNone(file.damage)
        self.error(start + enhanced(9, START, packets[0][1]))

    def test_any_bytes_are_read_or_refused(self) -> None:
        """Whatever is turned over in a file: segments, or one error of ours."""
        random, packets = Random(3), session().packets
        files = [
            pcapng(packets, "raw"),
            pcap(packets),
            pcap(session(**IPV6).packets, "tunnel"),
            pcap(packets, "cooked, qinq"),
        ]
        outcomes: set[bool | None] = set()
        for _ in range(1500):
            data = bytearray(random.choice(files))
            for _ in range(random.randint(1, 8)):
                data[random.randrange(len(data))] = random.randrange(256)
            try:
                found, _ = self.read(bytes(data))
                outcomes.add(len(found) > 0)
                self.assertTrue(all(0 <= each.time < 2**63 and each.cut >= 0 for each in found))
            except CaptureError:
                outcomes.add(None)
        self.assertLessEqual({True, None}, outcomes)

    def test_without_dpkt_it_says_what_to_install(self) -> None:
        data = pcap(session().packets)
        known = sys.modules.get("dpkt")
        sys.modules["dpkt"] = None  # type: ignore[assignment]
        try:
            self.assertEqual(self.error(data), "reading it needs dpkt: pip install 'txsoter[pcap]'")
        finally:
            del sys.modules["dpkt"]
            if known is not None:
                sys.modules["dpkt"] = known
