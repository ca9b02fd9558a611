"""What is shown: tables and lines of JSON."""

from __future__ import annotations

import json
from typing import Any

from txsoter.capture import Record
from txsoter.capture.conversations import Conversation
from txsoter.capture.plain import plain
from txsoter.capture.records import NOTES, RECEIVED, SENT
from txsoter.capture.show import Shown, json_lines, read_rows, table_lines
from txsoter.test.capture.support import START, CaptureCase, record
from txsoter.test.peer.cases import AFTER_HANDSHAKE
from txsoter.test.vectors import valid
from txsoter.testing import remote_version
from txsoter.wire import Alert, Block, Inv, InventoryVector, Ping, Reject, Services, read_message
from txsoter.wire.alerts import AlertDetails

EVIL = b"/evil\x1b[31m<script>:1.0.0/\r\n\xff"


class ShowCase(CaptureCase):
    def setUp(self) -> None:
        super().setUp()
        came = [
            record("version", remote_version(user_agent=EVIL, services=Services.WITNESS).to_payload(), START + 1),
            record("verack", b"", START + 3),
            record("inv", Inv([InventoryVector(2, bytes(range(32)), 7)]).to_payload(), START + 4),
            Record(START + 5, b"\x1b]0;evil\0\0\0\0", b"\x1b[2J"),
            record("ping", b"too long!", START + 6),
        ]
        went = [
            record("version", remote_version().to_payload(), START + 2),
            record("pong", Ping(7).to_payload(), START + 7),
        ]
        (self.folder / RECEIVED).write_bytes(b"".join(each.pack() for each in came))
        (self.folder / SENT).write_bytes(b"".join(each.pack() for each in went))
        note = {"time": START, "note": "opened", "network": "simnet", "sent": {"messages": 1}}
        (self.folder / NOTES).write_text(
            json.dumps(note) + "\n" + json.dumps({"time": START + 8, "note": "a\x1b[0m"}) + "\n"
        )

    def table(self, **shown: Any) -> list[str]:
        what = Shown(**shown)
        return list(table_lines(read_rows(Conversation(self.folder), what), what))

    def json(self, **shown: Any) -> list[dict[str, Any]]:
        what = Shown(**shown)
        return [json.loads(line) for line in json_lines(read_rows(Conversation(self.folder), what), what)]


class TableTests(ShowCase):
    def test_a_line_for_each(self) -> None:
        """Time, direction, command, size, and what the message says; notes between them."""
        at = "2026-05-28 20:26:40.00000"
        zeros = "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100"
        self.assertEqual(
            self.table(),
            [
                f"{at}0  -  opened: network simnet, sent (messages 1)",
                f"{at}1  <  version           146  agent /evil[31mscript:1.0.0/\ufffd, version 70013, height 0",
                f"{at}2  >  version           150  agent /soterwire:0.6.0/scripted:1.0.0/, version 70013, height 0",
                f"{at}3  <  verack              0",
                f"{at}4  <  inv                41  block {zeros} at 7",
                f"{at}5  <  ]0;evil             4  4 bytes",
                f"{at}6  <  ping                9  MALFORMED: has 9 bytes, at most 8 are taken",
                f"{at}7  >  pong                8  nonce 0x0000000000000007",
                f"{at}8  -  a[0m",
            ],
        )

    def test_nothing_of_a_remotes_reaches_the_terminal(self) -> None:
        """No control characters, whatever is shown, in either form."""
        for full in (False, True):
            what = Shown(full=full, hex=full)
            for lines in (table_lines, json_lines):
                text = "".join(lines(read_rows(Conversation(self.folder), what), what))
                self.assertTrue(text.isprintable(), text)

    def test_filters(self) -> None:
        """By command and direction; notes are shown where commands are not chosen."""
        shown = [line[28:43].rstrip() for line in self.table(commands=frozenset(["inv", "pong"]))]
        self.assertEqual(shown, ["<  inv", ">  pong"])
        shown = [line[28:39].rstrip() for line in self.table(directions=frozenset(["sent"]))]
        self.assertEqual(shown, ["-  opened:", ">  version", ">  pong", "-  a[0m"])

    def test_a_version_that_is_not_shown_is_read(self) -> None:
        """For it says how to read what is."""
        (self.folder / SENT).write_bytes(
            record("version", remote_version(protocol_version=60000).to_payload(), START + 2).pack()
            + record("ping", b"", START + 7).pack()
        )
        (line,) = self.table(commands=frozenset(["ping"]), directions=frozenset(["sent"]))
        self.assertTrue(line.endswith("nonce 0x0000000000000000"))
        (line,) = self.table(commands=frozenset(["ping"]), directions=frozenset(["sent"]), pver=70013)
        self.assertIn("MALFORMED", line)

    def test_full_and_hex(self) -> None:
        lines = self.table(full=True, hex=True, commands=frozenset(["pong", "verack"]))
        self.assertEqual(
            [line.strip() for line in lines[1:]],
            [
                "VerAck()",
                lines[2].strip(),
                "Pong(nonce=7)",
                "00000000  07 00 00 00 00 00 00 00                          ........",
            ],
        )


class JsonTests(ShowCase):
    def test_an_object_for_each(self) -> None:
        """Messages have a command, notes a note, and both a connection and a time."""
        rows = self.json()
        self.assertEqual({row["connection"] for row in rows}, {self.folder.name})
        self.assertEqual(
            rows[0],
            {
                "connection": self.folder.name,
                "time": "2026-05-28T20:26:40.000000Z",
                "micros": START,
                "note": "opened",
                "network": "simnet",
                "sent": {"messages": 1},
            },
        )
        self.assertEqual(
            {key: rows[3][key] for key in ("direction", "command", "bytes", "summary")},
            {"direction": "recv", "command": "verack", "bytes": 0, "summary": ""},
        )
        self.assertEqual(rows[5]["command"], "\x1b]0;evil")
        self.assertEqual(rows[6]["malformed"], "has 9 bytes, at most 8 are taken")
        self.assertNotIn("summary", rows[6])

    def test_full_and_hex(self) -> None:
        version, _, _, inv, _, ping, pong = self.json(full=True, hex=True)[1:-1]
        self.assertEqual(version["message"]["user_agent"], "/evil\x1b[31m<script>:1.0.0/\r\n\\xff")
        vector = inv["message"]["vectors"][0]
        self.assertEqual((vector["type"], vector["height"], vector["hash"][:8]), (2, 7, "1f1e1d1c"))
        self.assertEqual((pong["message"], pong["payload"]), ({"nonce": 7}, "0700000000000000"))
        self.assertEqual((ping["payload"], "message" in ping), (b"too long!".hex(), False))


class PlainTests(CaptureCase):
    def test_every_message_has_a_plain_form(self) -> None:
        """Of every vector; with all of its fields, and the hashes that people know it by."""
        seen = set()
        for row in valid():
            message, _ = read_message(row["raw"], row["net"], row["pver"], row["enc"])
            found = json.loads(json.dumps(plain(message)))
            seen.add(row["cmd"])
            if row["cmd"] == "block":
                self.assertEqual(found["hash"], row["block_hash"])
                hashes = [each["txid"] for each in found["transactions"]]
                self.assertEqual(hashes, row.get("tx_hashes") or [])
            if row["cmd"] == "tx":
                self.assertEqual(found["txid"], row["txid"])
        self.assertEqual(len(seen), 31)

    def test_values(self) -> None:
        """Hashes as people read them, bytes as hex, texts as text, rows by the names of their columns."""
        forms = {message.command: plain(message) for message in AFTER_HANDSHAKE}
        self.assertEqual(
            forms["addr"]["addresses"], [{"services": 1, "host": "192.0.2.7", "port": 18555, "timestamp": 1234}]
        )
        self.assertEqual(forms["getblocks"]["stop"], "04" + "00" * 31)
        self.assertEqual(forms["filteradd"], {"data": b"fourteen".hex()})
        self.assertEqual(forms["reject"]["reason"], "eighteen")
        self.assertEqual(
            list(forms["headers"]["headers"][0]), ["version", "prev", "merkle_root", "time", "bits", "nonce"]
        )
        transaction = forms["tx"]
        self.assertEqual(list(transaction), ["txid", "version", "inputs", "outputs", "lock_time"])
        self.assertEqual(transaction["inputs"][0]["script"], "51")
        self.assertEqual(list(forms["block"])[:2], ["hash", "header"])
        self.assertEqual(plain(Reject(b"\xff", 1))["rejected"], "\\xff")
        self.assertEqual(plain(Services.WITNESS), 8)
        self.assertIs(plain(True), True)

    def test_alerts(self) -> None:
        details = AlertDetails(comment=b"hello", user_agents=(b"/a/", b"/b/"))
        found = plain(details)
        self.assertEqual((found["comment"], found["user_agents"]), ("hello", ["/a/", "/b/"]))
        json.dumps(plain(Alert(details.to_bytes(), b"sig")))

    def test_what_has_none(self) -> None:
        self.assertRaises(TypeError, plain, object())
        self.assertEqual(plain(Block())["transactions"], [])
