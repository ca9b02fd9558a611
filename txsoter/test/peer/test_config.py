"""Tests of :mod:`txsoter.peer.config`: every default, every refusal."""

from __future__ import annotations

import math
import pydoc
import random
from typing import Any

import attrs

from txsoter.core.config import ConnectionConfig, agent_version, hides, proxy_host
from txsoter.core.listeners import Listeners
from txsoter.core.log_text import MessageLog
from txsoter.errors import FieldError, LocalError
from txsoter.networks import MAINNET, SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.test.peer.support import TrialCase
from txsoter.wire import Encoding, Version

KIB, MIB = 1024, 1024 * 1024

DEFAULTS: dict[str, object] = {
    "network": MAINNET,
    "user_agent_name": "txsoter",
    "user_agent_version": "0.1.0",
    "user_agent_comments": (),
    "services": 0,
    "protocol_version": 70013,
    "disable_relay_tx": False,
    "newest_block": None,
    "proxy": None,
    "listeners": Listeners(),
    "trickle_interval": 10,
    "ping_interval": 120,
    "answer_pings": True,
    "idle_timeout": 300,
    "negotiate_timeout": 30,
    "stall_interval": 15,
    "stall_timeout": 30,
    "stall_headers": False,
    "request_timeout": 30,
    "write_timeout": 60,
    "close_timeout": 10,
    "read_on_after": 5,
    "soft_queue_limit": MIB,
    "hard_queue_limit": 32 * MIB,
    "lookahead_limit": 8 * MIB,
    "max_known_inventory": 50_000,
    "max_trickle_queue": 50_000,
    "allow_self_connections": False,
    "strict": False,
    "close_on_handler_error": False,
    "log_connections": False,
    "max_connections": 125,
    "max_connections_per_address": 8,
    "max_messages_per_second": None,
    "max_bytes_per_second": None,
    "memory_budget": 512 * 1024 * 1024,
    "log_messages": MessageLog.OFF,
    "clock": None,
}

SECONDS = [name for name in DEFAULTS if name.endswith(("_interval", "_timeout", "_after"))]


class DefaultTests(TrialCase):
    def test_every_default_is_the_pages(self) -> None:
        """Seconds and bytes; nothing is configurable that is not listed here."""
        config = PeerConfig()
        for name, value in DEFAULTS.items():
            self.assertEqual(getattr(config, name), value, name)
        self.assertIsInstance(config.random, random.SystemRandom)
        fields = {each.name for each in PeerConfig.__attrs_attrs__ if each.init}
        self.assertEqual(fields, {*DEFAULTS, "random"})

    def test_all_durations_can_be_switched_off(self) -> None:
        """Any can be switched off with None."""
        self.assertEqual(len(SECONDS), 10)
        config = PeerConfig(**dict.fromkeys(SECONDS, None))  # type: ignore[arg-type]
        self.assertEqual({getattr(config, name) for name in SECONDS}, {None})

    def test_a_config_cannot_be_changed_but_replaced(self) -> None:
        first = PeerConfig(network=SIMNET, user_agent_name="watcher", proxy="127.0.0.1:9050")
        second = first.replace(user_agent_version="2.0.0", services=5)
        self.assertRaises(AttributeError, setattr, first, "services", 1)
        self.assertEqual((first.services, first.user_agent), (0, b"/soterwire:0.6.0/watcher:0.1.0/"))
        self.assertEqual((second.services, second.user_agent), (5, b"/soterwire:0.6.0/watcher:2.0.0/"))
        self.assertEqual((second.network, proxy_host(second)), (SIMNET, "127.0.0.1"))
        self.assertEqual(agent_version(second).major, 2)

    def test_help_tells_of_every_public_field_and_of_no_other(self) -> None:
        """Its default and its documentation, with the unit of what has one."""
        text = pydoc.plain(pydoc.render_doc(PeerConfig))
        for kind in (ConnectionConfig, PeerConfig):
            fields: list[Any] = [each for each in attrs.fields(kind) if not each.name.startswith("_")]
            names = [each.name for each in fields]
            paragraphs = (kind.__doc__ or "").partition("\nFields:\n\n")[2].split("\n\n")
            self.assertEqual([each.partition(":")[0] for each in paragraphs], names)
            self.assertEqual({each for each in dir(kind) if not each.startswith("_")}, {"replace", *names})
        for field, paragraph in zip(fields, paragraphs, strict=True):
            self.assertIn(f"\n |  {field.name}: {field.type}", text)
            default, _, documentation = paragraph.partition("\n")
            documentation = documentation.strip()
            self.assertRegex(documentation, "^[A-Z`].{10,}")
            if field.name in SECONDS:
                self.assertTrue(documentation.startswith("Seconds "), paragraph)
            if field.name.endswith(("_limit", "_budget")):
                self.assertTrue(documentation.startswith("Bytes "), paragraph)
            if isinstance(field.default, (int, float, str)):
                self.assertTrue(default.endswith(f" = {field.default!r}"), default)


class RefusalTests(TrialCase):
    """Wrong values: a LocalError at the call, naming the field, its value and its limit."""

    def refused(self, limit: str, fields: dict[str, Any], field: str | None = None) -> None:
        [(name, value)] = [(name, value) for name, value in fields.items() if field in (None, name)]
        with self.assertRaises(FieldError) as caught:
            PeerConfig(**fields)
        error = caught.exception
        self.assertIsInstance(error, LocalError)
        self.assertEqual((error.field, error.value), (f"PeerConfig.{name}", value))
        self.assertIn(limit, error.limit)

    def test_durations_are_above_zero(self) -> None:
        for name in SECONDS:
            for value in (0, -1, -0.5, "10", math.nan, math.inf):
                self.refused("above 0, or None", {name: value})
            self.assertEqual(getattr(PeerConfig().replace(**{name: 0.001}), name), 0.001)

    def test_whole_numbers_stay_within_their_limits(self) -> None:
        for name, least, most in (
            ("services", 0, (1 << 64) - 1),
            ("protocol_version", 209, 70013),
            ("soft_queue_limit", 1, 1 << 62),
            ("hard_queue_limit", 1, 1 << 62),
            ("lookahead_limit", 0, 1 << 62),
            ("max_known_inventory", 0, 1 << 62),
            ("max_trickle_queue", 1, 1 << 62),
        ):
            for value in (least - 1, most + 1, 300.0, "300", None):
                self.refused(f"from {least} to {most}", {name: value})
        self.assertEqual(PeerConfig(services=(1 << 64) - 1, protocol_version=209).protocol_version, 209)

    def test_the_hard_limit_is_no_less_than_the_soft_one(self) -> None:
        self.refused("limit, 100", {"soft_queue_limit": 100, "hard_queue_limit": 99}, field="hard_queue_limit")
        self.assertEqual(PeerConfig(soft_queue_limit=100, hard_queue_limit=100).hard_queue_limit, 100)

    def test_values_of_another_type(self) -> None:
        self.refused("Network", {"network": "simnet"})
        self.refused("Listeners", {"listeners": {"on_inv": print}})
        self.refused("callable", {"newest_block": 5})
        self.refused("host:port", {"proxy": 9050})
        self.refused("MessageLog", {"log_messages": "everything"})
        self.refused("string", {"user_agent_name": 5})
        self.refused("strings", {"user_agent_comments": "abc"})
        self.refused("strings", {"user_agent_comments": 5})
        self.refused("strings", {"user_agent_comments": ("a", 5)})

    def test_user_agents_that_would_not_be_read_back(self) -> None:
        for name in ("", "a/b", "a\n"):
            self.refused("printable", {"user_agent_name": name})
        self.refused("semantic version", {"user_agent_version": "1.0"})
        with self.assertRaises(FieldError) as caught:
            PeerConfig(user_agent_comments=("fine", "a;b"))
        self.assertEqual((caught.exception.field, caught.exception.value), ("PeerConfig.user_agent_comments", "a;b"))

    def test_a_user_agent_too_long_says_by_how_much(self) -> None:
        """soterd takes 240 bytes, 241 without the relay byte, 233 below 31402."""
        for pver, most in ((70013, 240), (70001, 240), (70000, 241), (31402, 241), (31401, 233), (209, 233)):
            longest = self.agent_of(most, pver)
            self.assertEqual(len(longest.user_agent), most)
            payload = Version(user_agent=longest.user_agent).to_payload(pver, Encoding.BASE)
            self.assertEqual(len(payload), Version.max_send(pver))
            for excess in (1, 2, 13, 14, 17, 200):
                with self.assertRaises(FieldError) as caught:
                    self.agent_of(most + excess, pver)
                error = caught.exception
                self.assertEqual(error.field, "PeerConfig.user_agent_comments")
                self.assertIn(f"{excess} bytes shorter", error.limit)
                self.assertIn(f"takes {most} in all", error.limit)

    def agent_of(self, size: int, pver: int) -> PeerConfig:
        """A config whose user agent has that many bytes."""
        rest = len(b"/soterwire:0.6.0/n:1.0.0()/")
        return PeerConfig(
            user_agent_name="n",
            user_agent_version="1.0.0",
            user_agent_comments=("c" * (size - rest),),
            protocol_version=pver,
        )


class ProxyTests(TrialCase):
    """When the remote's address is the configured proxy's (compared by IP) it is not named to the remote."""

    def hidden(self, proxy: str | None, *hosts: str | None) -> list[bool]:
        config = PeerConfig(proxy=proxy)
        return [hides(config, host) for host in hosts]

    def test_without_a_proxy_nothing_is_hidden(self) -> None:
        self.assertEqual(self.hidden(None, "127.0.0.1", "::1", None), [False, False, False])

    def test_its_ip_is_hidden_whatever_the_port(self) -> None:
        self.assertEqual(
            self.hidden("127.0.0.1:9050", "127.0.0.1", "127.0.0.2", "::1", None), [True, False, False, False]
        )

    def test_an_ipv6_proxy_in_any_spelling(self) -> None:
        self.assertEqual(self.hidden("[2001:DB8::0001]:9050", "2001:db8::1", "2001:db8::2"), [True, False])
        self.assertEqual(self.hidden("[::1]:9050", "0:0:0:0:0:0:0:1", "127.0.0.1"), [True, False])

    def test_an_ipv4_proxy_reached_through_an_ipv6_socket(self) -> None:
        self.assertEqual(self.hidden("127.0.0.1:9050", "::ffff:127.0.0.1", "::ffff:127.0.0.2"), [True, False])
        self.assertEqual(self.hidden("[::ffff:127.0.0.1]:9050", "127.0.0.1"), [True])

    def test_for_a_proxy_given_by_name_everything_is_hidden(self) -> None:
        """A name cannot be compared with an IP."""
        self.assertEqual(self.hidden("tor.example:9050", "127.0.0.1", "2001:db8::1", None), [True, True, True])
