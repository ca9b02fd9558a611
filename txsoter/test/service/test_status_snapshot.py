"""Tests of :mod:`txsoter.service.status.snapshot` and :mod:`txsoter.service.status.watching`: what the page shows."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address

from txsoter.errors import CloseCause
from txsoter.service.status import Dialled, StatusParts
from txsoter.service.status.snapshot import MAX_CLOSES, MAX_PEERS, MAX_SIGHTINGS
from txsoter.test.peer.cases import as_block, as_tx, hash_of
from txsoter.test.service.web import PageTestCase, broken
from txsoter.wire import ZERO_HASH, BlockHeader, GetAddr, Headers, Inv, Ping, Pong, Reject, Services

AGENT = b"/soterwire:0.6.0/soterd:4.2.0(tor)/"


class NodeTests(PageTestCase):
    def test_who_we_are(self) -> None:
        self.serve(user_agent_name="watcher", user_agent_version="1.2.3", services=9, newest_block=lambda: 77)
        self.clock.advance(99)
        shown = self.shown()
        self.assertEqual(shown["now"], 1100.0)
        expected = {
            "network": "simnet",
            "agent": "/soterwire:0.6.0/watcher:1.2.3/",
            "agent_name": "watcher 1.2.3",
            "protocol_version": 70013,
            "services": ["network", "witness"],
            "height": 77,
            "started_at": 1000.0,
        }
        self.assertEqual(shown["node"], expected)

    def test_a_height_that_cannot_be_told_is_none(self) -> None:
        self.serve(newest_block=broken)
        self.assertIsNone(self.shown()["node"]["height"])

    def test_without_peers(self) -> None:
        """Everything is there, and empty."""
        self.serve()
        shown = self.shown()
        for name in ("peers", "blocks", "transactions", "closes"):
            self.assertEqual(shown[name], [])
        self.assertEqual((shown["causes"], shown["peers_not_shown"]), ({}, 0))
        self.assertEqual((shown["totals"]["height"], shown["totals"]["round_trip_micros"]), (None, None))
        self.assertEqual([shown[name] for name in ("book", "bans", "listening", "dialled")], [None] * 4)

    def test_parts(self) -> None:
        self.serve(StatusParts(book=lambda: {"tried": 3}, dialled=lambda: [Dialled("a", "connected")]))
        shown = self.shown()
        self.assertEqual(shown["book"], {"tried": 3})
        self.assertEqual(shown["dialled"][0]["state"], "connected")


class PeerTests(PageTestCase):
    def test_a_peer(self) -> None:
        self.serve()
        pair = self.peer(user_agent=AGENT, services=9, last_block=50)
        self.clock.advance(10)
        pair.say(GetAddr())
        (row,) = self.shown()["peers"]
        stats = pair.peer.stats()
        expected = {
            "id": stats.id,
            "address": "192.0.2.2:18555",
            "direction": "outbound",
            "state": "ready",
            "agent": AGENT.decode(),
            "agent_name": "soterd 4.2.0",
            "protocol_version": 70013,
            "services": ["network", "witness"],
            "height": 50,
            "round_trip_micros": None,
            "connected_at": 1000.0,
            "last_receive": 1010.0,
            "last_send": 1000.0,
            "bytes_received": stats.bytes_received,
            "bytes_sent": stats.bytes_sent,
            "messages_received": 3,
            "messages_sent": 2,
            "queue_bytes": 0,
            "time_offset": stats.time_offset,
            "malformed": 0,
            "history": {"received": [5, 0], "sent": [0, 0], "round_trip_micros": []},
        }
        expected["history"] = row["history"]
        self.assertEqual(row, expected)
        self.assertEqual(len(row["history"]["received"]), len(row["history"]["sent"]))

    def test_history(self) -> None:
        """Of rates every five seconds, and of round trips."""
        self.serve()
        pair = self.peer()
        self.clock.advance(5)
        pair.say(Ping(1), Ping(2))
        self.clock.advance(5)
        self.clock.advance(120)
        (ping,) = [each for each in pair.hear() if isinstance(each, Ping)]
        self.clock.advance(0.25)
        pair.say(Pong(ping.nonce))
        self.clock.advance(5)
        (row,) = self.shown()["peers"]
        self.assertEqual(row["history"]["received"][0], round(2 * 32 / 5))
        self.assertEqual(row["round_trip_micros"], 250_000)
        self.assertEqual(row["history"]["round_trip_micros"], [250_000])
        self.assertEqual(self.shown()["totals"]["round_trip_micros"], 250_000)

    def test_those_that_are_ready_come_first(self) -> None:
        self.serve()
        early = self.peer(inbound=True, handshake=False)
        ready = self.peer()
        shown = self.shown()
        self.assertEqual([row["id"] for row in shown["peers"]], [ready.peer.id, early.peer.id])
        self.assertEqual([row["state"] for row in shown["peers"]], ["ready", "negotiating"])
        self.assertEqual((shown["peers"][1]["agent_name"], shown["peers"][1]["protocol_version"]), ("", None))
        totals = shown["totals"]
        self.assertEqual([totals[name] for name in ("peers", "inbound", "outbound", "connecting")], [1, 0, 1, 1])

    def test_no_more_than_so_many_are_shown(self) -> None:
        """Those that have been there for longest; all of them count."""
        self.serve()
        for _ in range(MAX_PEERS + 3):
            self.peer()
        shown = self.shown()
        ids = [pair.peer.id for pair in self.pairs]
        self.assertEqual([row["id"] for row in shown["peers"]], ids[:MAX_PEERS])
        self.assertEqual((shown["peers_not_shown"], shown["totals"]["peers"]), (3, MAX_PEERS + 3))

    def test_the_height_is_that_of_those_who_serve_blocks(self) -> None:
        """Light clients have none, and may be more."""
        self.serve()
        for _ in range(3):
            self.peer(inbound=True, services=Services.WITNESS, last_block=0)
        self.assertIsNone(self.shown()["totals"]["height"])
        self.peer(services=Services.NETWORK | Services.WITNESS, last_block=122)
        self.assertEqual(self.shown()["totals"]["height"], 122)
        self.peer(services=Services.NETWORK, last_block=121)
        self.assertEqual(self.shown()["totals"]["height"], 121)

    def test_the_height_is_one_that_two_name(self) -> None:
        """One peer may lie; an announced block counts for its peer."""
        self.serve()
        first = self.peer(services=1, last_block=40)
        self.assertEqual(self.shown()["totals"]["height"], 40)
        self.peer(services=1, last_block=2**31 - 1)
        self.assertEqual(self.shown()["totals"]["height"], 40)
        first.say(Inv([as_block(43)]))
        shown = self.shown()
        self.assertEqual(shown["totals"]["height"], 43)
        self.assertEqual([row["height"] for row in shown["peers"]], [43, 2**31 - 1])

    def test_totals_keep_what_has_gone(self) -> None:
        self.serve()
        pairs = [self.peer() for _ in range(3)]
        before = self.shown()["totals"]
        self.close(pairs[0])
        after = self.shown()["totals"]
        self.assertEqual((before["peers"], after["peers"], after["connections"], after["closes"]), (3, 2, 3, 1))
        for name in ("bytes_received", "bytes_sent", "messages_received", "messages_sent"):
            self.assertGreater(before[name], 0)
            self.assertEqual(after[name], before[name])

    def test_totals_history_is_the_sum(self) -> None:
        """Also of peers that have been there for less long."""
        self.serve()
        self.peer()
        self.clock.advance(20)
        self.peer()
        self.clock.advance(20)
        shown = self.shown()
        longer, shorter = (row["history"]["received"] for row in shown["peers"])
        self.assertLess(len(shorter), len(longer))
        filled = [0] * (len(longer) - len(shorter)) + shorter
        self.assertEqual(
            shown["totals"]["history"]["received"], [sum(pair) for pair in zip(longer, filled, strict=True)]
        )


class AnnouncementTests(PageTestCase):
    def test_a_block(self) -> None:
        self.serve()
        first, second = self.peer(user_agent=AGENT), self.peer(inbound=True)
        first.say(Inv([as_block(7)]))
        self.clock.advance(1.5)
        second.say(Inv([as_block(7)]))
        shown = self.shown()
        expected = {
            "hash": str(hash_of(7)),
            "height": 7,
            "first": {"id": first.peer.id, "address": "192.0.2.2:18555", "agent_name": "soterd 4.2.0"},
            "first_at": 1000.0,
            "followed": 1,
            "median_delay": 1.5,
            "last_delay": 1.5,
        }
        self.assertEqual(shown["blocks"], [expected])
        self.assertEqual(shown["totals"]["blocks"], 1)

    def test_a_transaction(self) -> None:
        self.serve()
        self.peer().say(Inv([as_tx(1), as_tx(2)]))
        shown = self.shown()
        self.assertEqual([row["hash"] for row in shown["transactions"]], [str(hash_of(2)), str(hash_of(1))])
        self.assertEqual([row["height"] for row in shown["transactions"]], [None, None])
        self.assertEqual((shown["blocks"], shown["totals"]["transactions"]), ([], 2))

    def test_blocks_announced_by_headers(self) -> None:
        """To who has sent ``sendheaders`` they are; a long list answers a question."""
        self.serve()
        pair = self.peer()
        header = BlockHeader(nonce=5)
        pair.say(Headers([header]), Headers([BlockHeader(nonce=each) for each in range(100)]))
        shown = self.shown()
        self.assertEqual([(row["hash"], row["height"]) for row in shown["blocks"]], [(str(header.hash), None)])

    def test_who_was_first_is_known_when_it_has_gone(self) -> None:
        self.serve()
        pair = self.peer(user_agent=AGENT)
        pair.say(Inv([as_tx(1)]))
        self.close(pair)
        self.assertEqual(self.shown()["transactions"][0]["first"]["agent_name"], "soterd 4.2.0")

    def test_no_more_than_so_many_are_shown(self) -> None:
        self.serve()
        pair = self.peer()
        for number in range(3 * MAX_SIGHTINGS):
            pair.say(Inv([as_tx(number), as_block(number)]))
        shown = self.shown()
        self.assertEqual((len(shown["blocks"]), len(shown["transactions"])), (MAX_SIGHTINGS, MAX_SIGHTINGS))
        self.assertEqual(shown["blocks"][0]["height"], 3 * MAX_SIGHTINGS - 1)

    def test_nothing_is_kept_of_who_has_gone_but_what_is_shown(self) -> None:
        """However many come and go, they take no more memory."""
        status = self.serve()
        for _ in range(100):
            pair = self.peer(inbound=True)
            pair.say(Inv([as_block(7)]))
            self.close(pair)
        self.assertEqual(status.observer._announcers, {})
        self.assertEqual(status.observer.announced._heights, {})
        self.assertEqual(len(status.observer.closes), 1)


class CloseTests(PageTestCase):
    def test_why(self) -> None:
        self.serve()
        pair = self.peer(user_agent=AGENT, inbound=True)
        self.clock.advance(300)
        pair.pump()
        self.pairs.remove(pair)
        self.clock.advance(5)
        (row,) = self.shown()["closes"]
        expected = {
            "id": pair.peer.id,
            "address": "192.0.2.1:49152",
            "agent_name": "soterd 4.2.0",
            "direction": "inbound",
            "at": 1300.0,
            "seconds": 300.0,
            "by": "us",
            "cause": "idle",
            "why": CloseCause.IDLE.value,
            "detail": "",
            "times": 1,
        }
        self.assertEqual(row, expected)

    def test_before_anything_was_known(self) -> None:
        """One that fails the handshake; a reject's reason is shown, rid of its markup as all reasons are."""
        self.serve()
        stranger = self.peer(inbound=True, genesis_hash=ZERO_HASH)
        refusing = self.peer(handshake=False, inbound=True, remote_address=IPv4Address("TCP", "192.0.2.9", 5))
        refusing.say(Reject(b"version", 1, b"<b>go\x00</b>"))
        for pair in (stranger, refusing):
            pair.pump()
            self.pairs.remove(pair)
        shown = self.shown()
        causes = {row["cause"]: row["detail"] for row in shown["closes"]}
        self.assertEqual(list(causes), ["rejected", "wrong_genesis"])
        self.assertIn("bgo/b", causes["rejected"])
        self.assertEqual(shown["causes"], {"wrong_genesis": 1, "rejected": 1})
        self.assertEqual(shown["totals"]["connections"], 0)

    def test_no_more_than_so_many_are_shown(self) -> None:
        self.serve()
        for number in range(2 * MAX_CLOSES):
            self.close(self.peer(inbound=True, remote_address=IPv4Address("TCP", f"192.0.2.{number}", 5)))
        shown = self.shown()
        self.assertEqual(len(shown["closes"]), MAX_CLOSES)
        self.assertEqual(shown["causes"], {"disconnect": 2 * MAX_CLOSES})


class HostileTests(PageTestCase):
    def test_markup_cannot_end_what_it_stands_in(self) -> None:
        """JSON that is put into a page, by whomever, stays what it is; and the page gets what was sent."""
        self.serve()
        agent = b"/<script>alert('&')</script>:1/"
        self.peer(user_agent=agent).say(Inv([as_tx(1)]))
        self.clock.advance(1)
        body = self.ask("/status.json").body
        for mark in b"<>&":
            self.assertNotIn(mark, body)
        self.assertEqual(json.loads(body)["peers"][0]["agent"], agent.decode())

    def test_size(self) -> None:
        """However much remotes say, what is shown stays small."""
        self.serve()
        rows: list[Any] = []
        for number in range(40):
            address = IPv4Address("TCP", f"192.0.2.{number}", 5)
            pair = self.peer(user_agent=b"\x00" * 240, services=(1 << 64) - 1, remote_address=address)
            pair.say(Inv([as_tx(each) for each in range(1000)]))
            rows.append(pair)
        self.clock.advance(1)
        self.assertLess(len(self.ask("/status.json").body), 100_000)
