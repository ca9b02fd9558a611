"""Handlers of commands, looked up once per config."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from txsoter.core.dispatch_table import DispatchTable, Handler
from txsoter.wire import Inv, Message, Ping, Unknown, Version
from txsoter.wire.message import command_bytes


def handler(peer: Any, message: Message, payload: bytes) -> None:
    """Handle nothing."""


def handler_of_written(channel: Any, message: Message) -> None:
    """Do nothing."""


class DispatchTableTests(TestCase):
    def setUp(self) -> None:
        self.asked: list[type[Message]] = []

        def find(kind: type[Message]) -> tuple[Handler, ...]:
            self.asked.append(kind)
            return (handler,) if kind is Ping else ()

        self.built_in: Any = lambda channel, message, check: None
        self.after: Any = lambda channel, results: None
        self.table = DispatchTable(find, {Ping: self.built_in, Unknown: self.built_in}, {Version: self.after}, {})

    def test_a_commands_class_handlers_and_our_own_rules(self) -> None:
        ping = self.table.lookup(command_bytes("ping"))
        self.assertEqual((ping.command, ping.message_class, ping.handlers), ("ping", Ping, (handler,)))
        self.assertEqual((ping.built_in, ping.after_handlers, ping.answers), (self.built_in, None, False))
        version = self.table.lookup(command_bytes("version"))
        self.assertEqual((version.handlers, version.built_in, version.after_handlers), ((), None, self.after))

    def test_each_is_found_once(self) -> None:
        first = self.table.lookup(command_bytes("ping"))
        self.assertIs(self.table.lookup(command_bytes("ping")), first)
        self.assertEqual(self.asked, [Ping])

    def test_commands_that_may_answer_something(self) -> None:
        self.assertTrue(self.table.lookup(command_bytes("inv")).answers)
        self.assertEqual(self.asked, [Inv])

    def test_unknown_commands_are_not_kept(self) -> None:
        """A remote may invent any number of them."""
        first = self.table.lookup(command_bytes("novel"))
        self.assertEqual((first.command, first.message_class, first.built_in), ("novel", Unknown, self.built_in))
        self.assertIsNot(self.table.lookup(command_bytes("novel")), first)
        self.assertEqual(self.asked, [Unknown, Unknown])

    def test_of_a_class_that_is_written_it_learns_the_name_and_our_own_rule_once(self) -> None:
        written = handler_of_written
        table = DispatchTable(lambda kind: (), {}, {}, {Ping: written})
        self.assertEqual(table.after_writing, {})
        self.assertEqual((table.learn(Ping), table.learn(Unknown)), (("ping", written), ("unknown", None)))
        self.assertEqual(table.after_writing, {Ping: ("ping", written), Unknown: ("unknown", None)})

    def test_nothing_is_observed_unless_it_is_asked_for(self) -> None:
        table = self.table
        self.assertEqual((table.observes_reads, table.observes_writes, table.observes_round_trips), (False,) * 3)
