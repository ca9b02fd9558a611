"""Reading captures: where they are, in which order, and how their messages are to be read."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

from txsoter import MAINNET, SIMNET
from txsoter.capture import CaptureError, Record
from txsoter.capture.conversations import Conversation, Reader, conversations
from txsoter.capture.records import NOTES, RECEIVED, SENT
from txsoter.errors import MalformedMessage
from txsoter.test.capture.support import START, CaptureCase, record
from txsoter.test.vectors import valid
from txsoter.testing import remote_version
from txsoter.wire import Encoding, Ping, Services, Tx, TxIn, TxOut, Unknown, Version
from txsoter.wire.message import command_bytes

WITNESS_TX = Tx(1, [TxIn(SIMNET.genesis_hash, 0, b"", 7, (b"witness",))], [TxOut(5, b"\x51")], 0)


class FolderCase(CaptureCase):
    def setUp(self) -> None:
        super().setUp()
        self.complaints: list[str] = []

    def write(self, name: str, *records: Record, folder: str = "") -> Path:
        """Records in a file."""
        path = self.folder / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(each.pack() for each in records))
        return path

    def notes(self, *notes: dict[str, Any]) -> None:
        (self.folder / NOTES).write_text("".join(json.dumps(each) + "\n" for each in notes))

    def conversation(self) -> Conversation:
        return Conversation(self.folder, self.complaints.append)


class FindingTests(FolderCase):
    def test_a_folder_a_folder_of_folders_or_a_file(self) -> None:
        """Sorted by name, however deep; folders without captures are passed over."""
        self.write(RECEIVED, folder="b")
        self.write(SENT, folder="a/deep")
        self.write("other.dat", folder="c")
        found = [each.path.relative_to(self.folder) for each in conversations(self.folder)]
        self.assertEqual(found, [Path("a/deep"), Path("b")])
        (one,) = conversations(self.folder / "b")
        self.assertEqual((one.name, set(one.files)), ("b", {"recv"}))
        (file,) = conversations(self.folder / "a/deep" / SENT)
        self.assertEqual((file.name, set(file.files)), ("deep", {"sent"}))

    def test_what_is_no_capture(self) -> None:
        self.write("other.dat")
        for path, reason in (
            (self.folder / "missing", "there is no such file or folder"),
            (self.folder, "no captures in it: no msgs_recv.dat or msgs_sent.dat"),
            (self.folder / "other.dat", "must be a folder, or a file named msgs_recv.dat or msgs_sent.dat"),
        ):
            with self.assertRaises(CaptureError) as caught:
                list(conversations(path))
            self.assertEqual(str(caught.exception), f"{path}: {reason}")

    def test_bitcoin_cores_folders_are_read(self) -> None:
        """There are no notes in them."""
        self.write(RECEIVED, record("verack"), folder="127.0.0.1_18444")
        (one,) = conversations(self.folder)
        self.assertEqual([item.direction for item in one.items()], ["recv"])
        self.assertEqual(one.opening(), {})


class OrderTests(FolderCase):
    def test_both_directions_and_notes_by_time(self) -> None:
        self.write(RECEIVED, *(record("ping", time=START + each) for each in (2, 5, 5, 9)))
        self.write(SENT, *(record("pong", time=START + each) for each in (1, 3, 6)))
        self.notes({"time": START, "note": "opened"}, {"time": START + 7, "note": "malformed"})
        items = list(self.conversation().items())
        self.assertEqual([item.time - START for item in items], [0, 1, 2, 3, 5, 5, 6, 7, 9])
        self.assertEqual(
            [item.direction or item.note["note"] for item in items],
            ["opened", "sent", "recv", "sent", "recv", "recv", "sent", "malformed", "recv"],
        )

    def test_any_size_is_read_in_constant_memory(self) -> None:
        """40 MB, of which at any time a message or two are in memory."""
        for name in (RECEIVED, SENT):
            self.write(name, *(record("block", bytes(100_000), START + each) for each in range(200)))
        tracemalloc.start()
        count = sum(len(item.record.payload) for item in self.conversation().items() if item.record is not None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertEqual(count, 40_000_000)
        self.assertLess(peak, 5_000_000)

    def test_what_is_torn_or_damaged_is_said_and_the_rest_is_read(self) -> None:
        path = self.write(RECEIVED, record("ping", bytes(8)), record("pong", bytes(8)))
        path.write_bytes(path.read_bytes()[:-3])
        lines = ['{"time": 5, "note": "opened"}', "[1]", '{"time": "x", "note": "y"}', "nonsense", "[" * 50_000]
        (self.folder / NOTES).write_text("\n".join([*lines, '{"time": 6, "note": "clo']))
        items = list(self.conversation().items())
        self.assertEqual([item.note.get("note") for item in items], ["opened", None])
        self.assertEqual(self.complaints[-1], f"{path}: its last message is cut off, 29 bytes of it are left out")
        self.assertEqual(set(self.complaints[:-1]), {f"{self.folder / NOTES}: a damaged line is left out"})
        self.assertEqual(len(self.complaints), 6)


class ReaderTests(FolderCase):
    def version(self, **fields: object) -> Record:
        return record("version", remote_version(**fields).to_payload())

    def test_every_vector_reads_as_it_was_made(self) -> None:
        """Given its protocol version and encoding; in both directions."""
        for row in valid():
            for direction in ("recv", "sent"):
                reader = Reader(pver=row["pver"], encoding=row["enc"])
                found = reader.read(direction, Record(0, row["raw"][4:16], row["raw"][24:]))
                self.assertEqual(found.command, row["cmd"])
                if row["cmd"] == "tx":
                    assert isinstance(found, Tx)
                    self.assertEqual(str(found.wtxid), row["wtxid"])

    def test_the_lower_version_is_what_was_negotiated(self) -> None:
        """As the two version messages say, whoever's came first; a ping is empty then."""
        for first, second in (("recv", "sent"), ("sent", "recv")):
            reader = Reader()
            self.assertEqual(reader.pver, 70013)
            reader.read(first, self.version(protocol_version=70002))
            reader.read(second, self.version(protocol_version=60000))
            self.assertEqual(reader.pver, 60000)
            self.assertEqual(reader.read("recv", record("ping")), Ping(0))
            with self.assertRaises(MalformedMessage):
                reader.read("sent", record("pong", bytes(8)))
            reader.read("recv", self.version(protocol_version=209))
            self.assertEqual(reader.pver, 60000, "a second version changes nothing")

    def test_transactions_are_read_as_their_sender_writes_them(self) -> None:
        """With witnesses when that side has advertised them, else without; and the other way when that fails."""
        witness = WITNESS_TX.to_payload(encoding=Encoding.WITNESS)
        base = WITNESS_TX.to_payload()
        for services in (0, Services.WITNESS):
            for direction in ("recv", "sent"):
                reader = Reader()
                reader.read(direction, self.version(services=services))
                expected = Encoding.WITNESS if services else Encoding.BASE
                self.assertEqual(reader.encodings(direction)[0], expected)
                for payload in (witness, base):
                    found = reader.read(direction, record("tx", payload))
                    assert isinstance(found, Tx)
                    self.assertEqual(found.txid, WITNESS_TX.txid)
        with self.assertRaises(MalformedMessage):
            Reader(encoding=Encoding.BASE).read("recv", record("tx", witness))

    def test_a_later_part_begins_with_what_was_negotiated(self) -> None:
        """Its notes say; those of the first part do not count, for there the versions themselves come."""
        opening = {"note": "opened", "part": 2, "pver": 60000, "witness": {"recv": True, "sent": False}}
        reader = Reader(opening)
        self.assertEqual(reader.pver, 60000)
        self.assertEqual(reader.encodings("recv")[0], Encoding.WITNESS)
        self.assertEqual(reader.encodings("sent")[0], Encoding.BASE)
        self.assertEqual(Reader({**opening, "part": 1}).pver, 70013)
        for damaged in ({**opening, "pver": "new"}, {**opening, "witness": 3}):
            self.assertEqual(Reader(damaged).pver, 70013)

    def test_the_network_is_noted_or_guessed(self) -> None:
        """From the magic in the notes, or the genesis block of the first version message."""
        self.assertIs(Reader({"magic": "f9beb4d9"}).network, MAINNET)
        reader = Reader()
        self.assertIsNone(reader.network)
        reader.read("recv", self.version())
        self.assertIs(reader.network, SIMNET)
        reader = Reader({"magic": "f9beb4d9"}, network=SIMNET)
        self.assertIs(reader.network, SIMNET)

    def test_what_peers_do_not_take_is_malformed(self) -> None:
        """Over the command's limit, or decoding to nothing; an unknown command is no error."""
        reader = Reader()
        for bad in (record("ping", bytes(9)), record("inv", b"\xff"), record("version", b"short")):
            with self.assertRaises(MalformedMessage):
                reader.read("recv", bad)
        self.assertEqual(reader.read("recv", record("unheardof", b"x")), Unknown("unheardof", b"x"))
        odd = Record(0, b"\xff" * 12, b"")
        self.assertEqual(reader.read("recv", odd), Unknown("\xff" * 12))

    def test_versions_below_zero(self) -> None:
        """Of one who says so, the lowest."""
        reader = Reader()
        payload = remote_version(protocol_version=-1).to_payload()
        found = reader.read("recv", Record(0, command_bytes("version"), payload))
        assert isinstance(found, Version)
        self.assertEqual((found.protocol_version, reader.pver), (-1, 0))
