"""Tests of :mod:`txsoter.service.status.text`."""

from __future__ import annotations

from txsoter.service.status.text import MAX_TEXT, agent_name, service_names, shown
from txsoter.test.peer.support import TrialCase
from txsoter.wire import Services


class ShownTests(TrialCase):
    def test_markup_stays_as_it_was_sent(self) -> None:
        """The page writes it as text."""
        self.assertEqual(shown(b"<script>alert('&')</script>"), "<script>alert('&')</script>")

    def test_what_cannot_be_seen_is_marked(self) -> None:
        """Control characters, those that turn the text around, and bytes that are no text."""
        self.assertEqual(shown("a\x00\n\u202eb\u200b"), "a\ufffd\ufffd\ufffdb\ufffd")
        self.assertEqual(shown(b"caf\xc3\xa9\xff"), "café\ufffd")

    def test_length(self) -> None:
        self.assertEqual(shown("é" * MAX_TEXT), "é" * MAX_TEXT)
        self.assertEqual(shown("é".encode() * 100_000), "é" * (MAX_TEXT - 1) + "…")
        self.assertEqual(shown("\x00" * 9, 4), "\ufffd\ufffd\ufffd…")


class AgentNameTests(TrialCase):
    def test_the_last_program_with_its_version(self) -> None:
        self.assertEqual(agent_name(b"/soterwire:0.6.0/soterd:4.2.0(tor; x)/"), "soterd 4.2.0")
        self.assertEqual(agent_name(b"/soterwire:0.6.0/"), "soterwire 0.6.0")

    def test_what_is_none_is_shown_as_it_is(self) -> None:
        for agent in (b"", b"/", b"soterd", b"/soterd/", b"/:1/", b"/soterd:/", b"/a:1/b", b"a:1/"):
            self.assertEqual(agent_name(agent), agent.decode())
        self.assertEqual(agent_name(b"/" + b"w" * 300 + b"/"), "/" + "w" * 58 + "…")
        self.assertEqual(agent_name(b"/a:1/<b>\x01:2/"), "<b>\ufffd 2")


class ServiceNamesTests(TrialCase):
    def test_names(self) -> None:
        self.assertEqual(service_names(int(Services.NETWORK | Services.CF)), ["network", "cf"])
        self.assertEqual(service_names(0), [])
        self.assertEqual(service_names(1 << 63 | 1 << 20 | 8), ["witness", "0x8000000000100000"])
        self.assertLess(len(service_names((1 << 64) - 1)), 12)
