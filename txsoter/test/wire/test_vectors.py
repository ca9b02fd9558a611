"""The codec against the vectors of the reference codec and of a running soterd."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any
from unittest import TestCase

import attrs

from txsoter.errors import FieldError, LocalError, MalformedMessage, NeedMoreData
from txsoter.test import vectors
from txsoter.test.vectors import SIMNET_MAGIC
from txsoter.test.wire import wrong
from txsoter.wire import Block, Encoding, Message, RowView, Tx, Unknown, messages, read_message, write_message

UNKNOWN = "an unknown command comes out as Unknown, held to 1 MiB"
LONG_VERSION = "a version of 357 to 360 bytes is taken: soterd forgot the genesis hash in its limit"
NEGATIVE_COUNT = "a negative count in a sub-header is malformed: soterd reads it as 0"

INPUTLESS = "a transaction without inputs has no witness encoding: the reference writes what reads as another, or none"

LONG_VERSION_REFUSED = "a version of 360 bytes is refused by both: by soterd for its size, by us for what is in it"

EXCEPTIONS = {
    37: LONG_VERSION,
    158: LONG_VERSION_REFUSED,
    590: LONG_VERSION,
    1014: INPUTLESS,
    1052: INPUTLESS,
    1271: NEGATIVE_COUNT,
    1421: INPUTLESS,
    1810: LONG_VERSION,
    2207: LONG_VERSION,
    2616: NEGATIVE_COUNT,
}
"""The rows of ``corrupt`` on which txsoter and the reference codec differ, and why."""

UNKNOWN_ROWS = 117
"""And how many more do because their command is unknown: an error to the reference, not to txsoter."""


class ValidTests(TestCase):
    """``valid``: 1204 messages, all 31 commands, many protocol versions, both encodings."""

    def test_all_are_there(self) -> None:
        self.assertEqual(len(vectors.valid()), 1204)
        self.assertEqual({row["cmd"] for row in vectors.valid()}, set(messages()))

    def test_decode_and_encode_again(self) -> None:
        """Decoding ``raw`` and encoding again at the same pver and encoding gives ``raw``."""
        failed = []
        for number, row in enumerate(vectors.valid()):
            raw, context = row["raw"], (row["net"], row["pver"], row["enc"])
            message, consumed = read_message(raw, *context)
            if (message.command, consumed, write_message(message, *context)) != (row["cmd"], len(raw), raw):
                failed.append((number, row["cmd"], context))
        self.assertEqual(failed, [])

    def test_encode_from_fields(self) -> None:
        """The same without the bytes that lazy parts keep: every row and transaction is taken apart and packed."""
        failed = []
        for number, row in enumerate(vectors.valid()):
            raw, context = row["raw"], (row["net"], row["pver"], row["enc"])
            message, _ = read_message(raw, *context)
            rebuilt = rebuild(message)
            if rebuilt != message or write_message(rebuilt, *context) != raw:
                failed.append((number, row["cmd"], context))
        self.assertEqual(failed, [])

    def test_ids(self) -> None:
        """``txid``, ``wtxid``, ``block_hash``, ``tx_hashes``, ``witness_hashes``, as people read them."""
        failed, seen = [], Counter[str]()
        for number, row in enumerate(vectors.valid()):
            message, _ = read_message(row["raw"], row["net"], row["pver"], row["enc"])
            expected = {name: row[name] for name in row.keys() & IDS.keys()}
            seen.update(expected.keys())
            found = {name: IDS[name](message) for name in expected}
            if found != expected:
                failed.append((number, expected, found))
        self.assertEqual(failed, [])
        self.assertEqual(set(seen), set(IDS))


IDS: dict[str, Any] = {
    "txid": lambda tx: str(tx.txid),
    "wtxid": lambda tx: str(tx.wtxid),
    "block_hash": lambda block: str(block.hash),
    "tx_hashes": lambda block: [str(each.txid) for each in block.transactions],
    "witness_hashes": lambda block: [str(each.wtxid) for each in block.transactions],
}


def rebuild_tx(tx: Tx) -> Tx:
    return Tx(tx.version, tx.inputs, tx.outputs, tx.lock_time)


def rebuild(message: Message) -> Message:
    """The same message with a plain tuple for every lazy sequence, made by its constructor."""
    if isinstance(message, Tx):
        return rebuild_tx(message)
    values = {}
    for name in (each.name for each in attrs.fields(wrong(type(message)))):
        value = getattr(message, name)
        if isinstance(message, Block) and name == "transactions":
            value = tuple(map(rebuild_tx, value))
        elif isinstance(value, RowView):
            value = tuple(value)
        values[name] = value
    return type(message)(**values)


class Outcome:
    """What txsoter makes of one damaged frame, in the words of the reference's verdict."""

    def __init__(self, row: vectors.Row) -> None:
        context = (row["net"], row["pver"], row["enc"])
        self.message: Message | None = None
        self.consumed = 0
        self.error: Exception | None = None
        self.reencoded = self.reencode_error = None
        try:
            self.message, self.consumed = read_message(row["raw"], *context)
        except (MalformedMessage, NeedMoreData) as error:
            self.error = error
            return
        try:
            self.reencoded = write_message(self.message, *context).hex()
        except LocalError as error:
            self.reencode_error = error

    def exception(self, row: vectors.Row) -> str | None:
        """The named difference from the verdict that this is, if it is one."""
        verdict = row["verdict"]
        if isinstance(self.message, Unknown) and not verdict["ok"] and "command" in verdict["err"]:
            return UNKNOWN
        if (
            self.message is not None
            and self.message.command == "version"
            and 357 <= self.consumed - 24 <= 360
            and "payload exceeds max length" in verdict["err"]
        ):
            return LONG_VERSION
        if row["orig_cmd"] == "version" and self.malformed("not in its shortest form") and verdict["consumed"] == 24:
            return LONG_VERSION_REFUSED
        if self.malformed("negative count") and verdict["ok"]:
            return NEGATIVE_COUNT
        if isinstance(self.reencode_error, FieldError) and self.reencode_error.field.endswith(".inputs"):
            return INPUTLESS
        return None

    def malformed(self, reason: str) -> bool:
        return isinstance(self.error, MalformedMessage) and reason in self.error.reason

    def differences(self, row: vectors.Row) -> list[str]:
        """Where this and the verdict disagree."""
        verdict = row["verdict"]
        if (self.message is not None) != verdict["ok"]:
            return [f"ok: {verdict['ok']} ({verdict['err']}), ours: {self.error}"]
        if self.message is None:
            return self.differences_in_refusal(row["raw"], verdict)
        found = []
        if (self.message.command, self.consumed) != (verdict["cmd"], verdict["consumed"]):
            found.append(f"consumed: {verdict['consumed']} of {verdict['cmd']}, ours: {self.consumed}")
        if ("reencode_err" in verdict) != (self.reencode_error is not None):
            found.append(f"reencode_err: {verdict.get('reencode_err')}, ours: {self.reencode_error}")
        elif self.reencode_error is None and self.reencoded != verdict["reencoded"]:
            found.append(f"reencoded: {verdict['reencoded']}, ours: {self.reencoded}")
        return found

    def differences_in_refusal(self, raw: bytes, verdict: dict[str, Any]) -> list[str]:
        """Frames that end early are waited for; whole ones are refused by the header, or with the payload."""
        length = struct.unpack_from("<I", raw, 16)[0] if len(raw) >= 24 else 0
        ends_early = len(raw) < 24 + length and verdict["errtype"] in ("EOF", "UnexpectedEOF")
        if ends_early != isinstance(self.error, NeedMoreData):
            return [f"frame ends early: {ends_early} ({verdict['err']}), ours: {self.error}"]
        # of an empty payload nobody can tell whether it was read
        if isinstance(self.error, MalformedMessage) and length and "panic" not in verdict:
            at_header = verdict["consumed"] == 24
            if at_header != self.error.in_header:
                return [f"refused at the header: {at_header} ({verdict['err']}), ours: {self.error}"]
        return []


class CorruptTests(TestCase):
    """``corrupt``: 2705 damaged frames, and what the reference codec says of each."""

    def test_all_are_there(self) -> None:
        self.assertEqual(len(vectors.corrupt()), 2705)

    def test_verdicts(self) -> None:
        """``ok`` agrees, and so do ``consumed``, ``reencoded`` and ``reencode_err``: but for the table above."""
        failed = []
        excepted: Counter[str] = Counter()
        for number, row in enumerate(vectors.corrupt()):
            outcome = Outcome(row)
            expected = EXCEPTIONS.get(number, UNKNOWN if isinstance(outcome.message, Unknown) else None)
            differences = outcome.differences(row)
            # what is listed must differ, and in the way that its name says
            if outcome.exception(row) != expected or bool(differences) != (expected is not None):
                failed.append((number, row["mut"], expected, differences))
            elif expected is not None:
                excepted[expected] += 1
        self.assertEqual(failed[:5], [], f"{len(failed)} in all")
        self.assertEqual(excepted, Counter([*EXCEPTIONS.values(), *[UNKNOWN] * UNKNOWN_ROWS]))

    def test_unknown_commands_round_trip_their_bytes(self) -> None:
        count = 0
        for row in vectors.corrupt():
            outcome = Outcome(row)
            if isinstance(outcome.message, Unknown):
                count += 1
                self.assertEqual(outcome.reencoded, row["raw"][: outcome.consumed].hex())
        self.assertEqual(count, UNKNOWN_ROWS)

    def test_long_versions_keep_their_user_agents(self) -> None:
        """Taken with 357 to 360 bytes; sent on only where they are no longer than soterd takes."""
        sizes = []
        for row in vectors.corrupt():
            outcome = Outcome(row)
            if outcome.exception(row) == LONG_VERSION:
                sizes.append(outcome.consumed - 24)
        self.assertEqual(sorted(sizes), [357, 359, 360, 360])


class LiveTests(TestCase):
    """``live``: a whole conversation with a running soterd 4.2.0."""

    def test_decode_and_encode_again(self) -> None:
        failed = []
        for number, row in enumerate(vectors.live()):
            raw = row["raw"]
            message, consumed = read_message(raw, SIMNET_MAGIC, encoding=Encoding.WITNESS)
            again = write_message(message, SIMNET_MAGIC, encoding=Encoding.WITNESS)
            if (message.command, consumed, again) != (row["cmd"], len(raw), raw):
                failed.append((number, row["cmd"]))
        self.assertEqual(failed, [])
        self.assertEqual(len(vectors.live()), 145)

    def test_both_directions(self) -> None:
        self.assertEqual({row["dir"] for row in vectors.live()}, {"sent", "received"})


class DagTests(TestCase):
    """``dag``: the blocks of a simnet DAG with two branches."""

    def test_decode_and_encode_again(self) -> None:
        failed = []
        for row in vectors.dag():
            block, consumed = read_message(row["raw"], SIMNET_MAGIC, encoding=Encoding.WITNESS)
            assert isinstance(block, Block)
            block.verify()
            found = (str(block.hash), [str(each.hash) for each in block.parents], consumed)
            again = write_message(block, SIMNET_MAGIC, encoding=Encoding.WITNESS)
            if found != (row["hash"], row["parents"], len(row["raw"])) or again != row["raw"]:
                failed.append(row["hash"])
        self.assertEqual(failed, [])
        self.assertEqual(len(vectors.dag()), 53)

    def test_mined_blocks(self) -> None:
        """Sub-headers of version 0, zero data, 20 nonces; parents that came before; one block merges two branches."""
        known = {parent for row in vectors.dag()[:1] for parent in row["parents"]}
        merges = 0
        for row in vectors.dag():
            block, _ = read_message(row["raw"], SIMNET_MAGIC, encoding=Encoding.WITNESS)
            assert isinstance(block, Block)
            if row["height"]:
                self.assertEqual((block.parents_version, block.verification_version, len(block.nonces)), (0, 0, 20))
                self.assertEqual({each.data for each in block.parents}, {bytes(32)})
            self.assertLessEqual({str(each.hash) for each in block.parents}, known)
            known.add(str(block.hash))
            merges += len(block.parents) > 1
        self.assertEqual(merges, 1)
