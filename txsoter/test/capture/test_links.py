"""Tests of :mod:`txsoter.capture.links`."""

from __future__ import annotations

import struct
from random import Random
from unittest import TestCase

from txsoter.capture.links import LINK_TYPES, packet_in
from txsoter.test.capture.link_frames import LINKS
from txsoter.test.capture.packets import Session

PACKET = Session().begin().packets[0][1]


class LinkTests(TestCase):
    def test_every_link_type_has_frames_to_be_tested_with(self) -> None:
        self.assertEqual({link for link, _ in LINKS.values()}, set(LINK_TYPES))

    def test_the_packet_is_found_in_each(self) -> None:
        for name, (link, frame) in LINKS.items():
            found = packet_in(link, frame(PACKET))
            assert found is not None, name
            if name != "tunnel":
                # Ethernet pads short frames behind it
                self.assertEqual(found.rstrip(b"\0"), PACKET.rstrip(b"\0"), name)

    def test_other_protocols_are_none(self) -> None:
        macs, cooked = bytes(12), bytes(14)
        for link, frame in (
            (1, macs + b"\x08\x06" + bytes(28)),  # ARP
            (1, macs + b"\x81\0\0\5\x08\x06" + bytes(28)),
            (1, macs + b"\0\x26\x42\x42\3" + bytes(35)),  # spanning tree, over LLC
            (1, macs + b"\x88\x47\0\1\1\x40\0\0\0\0" + bytes(20)),  # MPLS, and a pseudowire
            (1, macs + b"\x81\0\0\5" * 17 + b"\x08\0" + PACKET),  # more tags than anybody has
            (113, cooked + b"\x08\x06" + bytes(28)),
            (276, b"\x08\x06" + bytes(46)),
            (0, b"\7\0\0\0" + bytes(20)),  # OSI
            (9, b"\xff\3\xc0\x21" + bytes(8)),  # LCP
            (50, b"\x8f\0\x80\x35" + bytes(20)),  # Cisco's keep-alive
            (239, b"\2\0\0\5\x08\0\1\0\x08\0\1\0"),  # a record without a packet
            (239, b"\2\0\0\5" + bytes(64)),
        ):
            self.assertIsNone(packet_in(link, frame), (link, frame))

    def test_frames_that_end_too_early_and_any_bytes(self) -> None:
        """A packet, or less of it, or none, or one of two errors; and always an answer."""
        random = Random(11)
        outcomes = set()
        for name, (link, frame) in LINKS.items():
            whole = frame(PACKET)
            cut = [whole[:size] for size in range(len(whole))]
            for data in (*cut, *(random.randbytes(random.randrange(80)) for _ in range(100))):
                try:
                    found = packet_in(link, data)
                    self.assertTrue(found is None or data.endswith(found) or link == 239, name)
                    outcomes.add("packet" if found else "none")
                except (IndexError, struct.error):
                    outcomes.add("error")
        self.assertEqual(outcomes, {"packet", "none", "error"})

    def test_unknown(self) -> None:
        with self.assertRaises(KeyError):
            packet_in(147, PACKET)
