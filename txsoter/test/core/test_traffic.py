"""Counters of messages and bytes."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.traffic import UNKNOWN_COMMANDS, Counters, Traffic, command_of
from txsoter.wire import Ping, Unknown


class TrafficTests(TestCase):
    def test_messages_and_bytes(self) -> None:
        traffic = Traffic()
        traffic += 24
        traffic += 32
        self.assertEqual((traffic.messages, traffic.bytes), (2, 56))
        self.assertEqual(repr(traffic), "Traffic(messages=2, bytes=56)")

    def test_a_copy_stays_as_it_is(self) -> None:
        traffic = Traffic(1, 24)
        copy = traffic.copy()
        traffic += 24
        self.assertEqual(copy, Traffic(1, 24))
        self.assertNotEqual(copy, traffic)

    def test_it_equals_its_like_alone(self) -> None:
        self.assertNotEqual(Traffic(1, 24), (1, 24))
        self.assertNotEqual(Traffic(1, 24), Traffic(2, 24))
        self.assertNotEqual(Traffic(1, 24), Traffic(1, 25))
        self.assertRaises(TypeError, hash, Traffic())


class CountersTests(TestCase):
    def test_there_is_one_for_each_command(self) -> None:
        counters = Counters()
        received = counters.received_of(Ping)
        self.assertIs(counters.received_of(Ping), received)
        received += 32
        self.assertEqual((counters.received, counters.sent), ({"ping": Traffic(1, 32)}, {}))

    def test_unknown_commands_are_counted_together(self) -> None:
        counters = Counters()
        counters.received_of(Unknown)
        self.assertEqual(list(counters.received), [UNKNOWN_COMMANDS])
        self.assertEqual((command_of(Unknown), command_of(Ping)), (UNKNOWN_COMMANDS, "ping"))
