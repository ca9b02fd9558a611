"""What functions that may be compiled say to extreme numbers, to wrong types, and to all vectors, whole and damaged.

As a program, ``python -m txsoter.test.extremes SEED COUNT``, it prints a line for each call: compiled and interpreted,
the same lines. COUNT vectors of each command are damaged.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from txsoter.chain import Dag, GolombFilter, bit_sets, check_proof_of_work, golomb_coding
from txsoter.test import vectors
from txsoter.wire import Encoding, Inv, InventoryVector, Tx, TxIn, TxOut, messages, read_message
from txsoter.wire.codec import (
    BOOL,
    HASH,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    FixedBytes,
    ListOf,
    VarBytes,
    read_count,
    read_varint,
    write_varint,
)
from txsoter.wire.cuckoo import check_cycle
from txsoter.wire.framing import HEADER_SIZE, frame
from txsoter.wire.message import command_bytes, message_class
from txsoter.wire.txcodec import scan_transactions

__all__ = ["EXTREMES", "calls", "corpus", "damaged", "outcome", "whole"]

EXTREMES = tuple(
    sorted(
        {
            sign * ((1 << bits) + step)
            for bits in (0, 8, 16, 31, 32, 62, 63, 64, 65)
            for step in (-1, 0, 1)
            for sign in (1, -1)
        }
    )
)
"""Around each width, of either sign."""

WRONG: tuple[Any, ...] = (None, True, 1.5, "text", b"bytes", bytearray(b"bytes"), (), [1], {})

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"


def outcome(call: Callable[..., object], *arguments: object) -> str:
    """Return what a call returns, or its error's class and words, on one line."""
    try:
        found = call(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    text = repr(found)
    return text if len(text) < 200 else f"{len(text)} characters, {sha256(text.encode()).hexdigest()}"


def calls() -> Iterator[tuple[str, str]]:
    """Yield each call with numbers and values that do not fit, and its outcome."""
    for name, function, arguments in _calls():
        yield name, outcome(function, *arguments)


def _calls() -> Iterator[tuple[str, Callable[..., object], tuple[Any, ...]]]:
    codecs: dict[str, Any] = {
        **{each.name: each for each in (U8, U16, U32, U64, I32, I64)},
        "bool": BOOL,
        "hash": HASH,
        "fixed": FixedBytes(4),
        "var": VarBytes(300),
        "list": ListOf(U32, 3),
    }
    for value in (*EXTREMES, *WRONG):
        for name, codec in codecs.items():
            yield f"{name}.write({value!r})", codec.write, (value, 0)
        for name in ("u8", "u64", "i64", "hash", "fixed"):
            yield f"{name}.check({value!r})", codecs[name].check, (value,)
        yield f"nonce {value!r}", check_cycle, (bytes(16), [*range(19), value])
        yield f"first nonce {value!r}", check_cycle, (bytes(16), [value, *range(1, 20)])
        yield f"nonces {value!r}", check_cycle, (bytes(16), value)
        yield f"key {value!r}", check_cycle, (value, range(20))
        yield f"header {value!r}", check_proof_of_work, (value, range(20))
        for field in range(4):
            fields: list[Any] = [1, [TxIn(bytes(32), 0)], [TxOut(1)], 0]  # type: ignore[arg-type]
            fields[field] = value
            yield f"Tx field {field}, {value!r}", _encoded, tuple(fields)
        for field in range(5):
            columns: list[Any] = [bytes(32), 1, b"", 2, ()]
            columns[field] = value
            yield f"TxIn field {field}, {value!r}", _encoded, (1, [TxIn(*columns)], [])
        for columns in ([value, b""], [1, value]):
            yield f"TxOut {columns}", _encoded, (1, [TxIn(bytes(32), 1)], [TxOut(*columns)])  # type: ignore[arg-type]
        yield f"row {value!r}", _encoded, (1, [value], [value])
        yield f"vector {value!r}", Inv([InventoryVector(value, bytes(32), value)]).to_payload, ()
        yield f"k {value!r}", _ordered, (value,)
        yield f"p {value!r}", GolombFilter.build, (bytes(16), [b"a", b"b"], value)
        if not isinstance(value, int) or not 1 << 40 < value < 1 << 64:
            # codes of greater differences fill the memory
            yield f"m {value!r}", GolombFilter.build, (bytes(16), [b"a", b"b"], 19, value)
    for number in EXTREMES:
        yield f"count {number}", golomb_coding.decode, (b"\x40\0\0\0\0", number, 3, 1000)
        yield f"span {number}", golomb_coding.decode, (b"\x40\0\0\0\0", 2, 3, number)
        yield f"scan {number}", scan_transactions, (bytes(200), 0, number, Encoding.BASE)
        yield f"limit {number}", read_count, (b"\xfd\xff\xff", 0, number, "things")
        yield f"lowest {number}", bit_sets.lowest, (number if number > 0 else 6, number)
        if number >= 0:
            yield f"golomb {number}", golomb_coding.encode, ([number % 1000, number % 1000 + 5], 3)
            yield (
                f"set {number}",
                lambda bits: (bit_sets.members(bits), bit_sets.unpack(bit_sets.pack(bits))),
                (number,),
            )
            if number < 1 << 64:
                yield f"varint {number}", write_varint, (number,)
                yield from _lengths(number)
    for data in (b"", b"\xfc", b"\xfd", b"\xfd\xfc\0", b"\xfe\xff\xff\0\0", b"\xff" * 8, b"\xff" * 9):
        yield f"varint of {data.hex()}", read_varint, (data, 0)


def _lengths(number: int) -> Iterator[tuple[str, Callable[..., object], tuple[Any, ...]]]:
    """Calls with bytes that announce as many of something."""
    counts = {write_varint(number), b"\xff" + struct.pack("<Q", number)}
    for count in sorted(counts):
        yield f"var.read({count.hex()})", VarBytes(1 << 32).read, (count + bytes(9), 0, 0)
        yield f"list.read({count.hex()})", ListOf(U8, 1 << 16).read, (count + bytes(9), 0, 0)
        yield f"filter {count.hex()}", GolombFilter.from_bytes, (count + bytes(9), bytes(16))
        head, spent, rest = bytes(4), bytes(36), bytes(90)
        for name, body in {
            "inputs": count,
            "input script": b"\1" + spent + count,
            "outputs": b"\1" + spent + bytes(5) + count,
            "output script": b"\1" + spent + bytes(5) + b"\1" + bytes(8) + count,
            "marked inputs": b"\0\1" + count,
            "witness items": b"\0\1\1" + spent + bytes(5) + b"\0" + count,
            "witness item": b"\0\1\1" + spent + bytes(5) + b"\0\1" + count,
        }.items():
            for tail in (b"", rest):
                for encoding in Encoding:
                    raw = head + body + tail
                    title = f"{name} {count.hex()}, {len(tail)} bytes behind, {encoding.name}"
                    yield title, scan_transactions, (raw, 0, 1, encoding)
                    yield f"tx of {title}", Tx.from_payload, (raw, 70013, encoding)


def _encoded(*fields: Any) -> tuple[bytes, bytes]:
    tx = Tx(*fields)
    return tx.to_payload(), tx.to_payload(encoding=Encoding.WITNESS)


def _ordered(k: Any) -> tuple[list[str], list[str], set[str]]:
    dag: Dag[str] = Dag()
    for id, parents in {"a": "", "b": "a", "c": "a", "d": "bc", "e": "c", "f": "de"}.items():
        dag.add(id, parents)
    return dag.soterd_order(k), dag.topological_order(k), set(sorted(dag.blue_set(k))[:1])


def _decoded(raw: bytes, magic: int, pver: int, encoding: Encoding) -> object:
    """What is in a frame, looked at to the end, and the bytes that are made of it."""
    found, used = read_message(raw, magic, pver, encoding)
    return (
        used,
        repr(found),
        [repr(each) for each in getattr(found, "transactions", ())],
        found.to_payload(pver, encoding),
    )


def whole() -> Iterator[tuple[str, str]]:
    """Yield the outcome of decoding and encoding each vector."""
    for name, rows in (("valid", vectors.valid()), ("corrupt", vectors.corrupt()), ("live", vectors.live())):
        for number, row in enumerate(rows):
            magic, pver = row.get("net", vectors.SIMNET_MAGIC), row.get("pver", 70013)
            yield f"{name} {number}", outcome(_decoded, row["raw"], magic, pver, row.get("enc", Encoding.BASE))
    for number, row in enumerate(vectors.consensus("cuckoo")):
        yield f"cuckoo {number}", outcome(check_proof_of_work, bytes.fromhex(row["header"]), row["nonces"])


def damaged(seed: int, most: int) -> Iterator[tuple[str, str]]:
    """Yield the outcome of vectors with some bytes changed, their checksums right; ``most`` of each command."""
    rng = Random(seed)
    rows = [row for row in vectors.valid() if message_class(row["raw"][4:16]) is not None]
    by_command: dict[bytes, list[vectors.Row]] = {}
    for row in rows:
        by_command.setdefault(row["raw"][4:16], []).append(row)
    for command, alike in sorted(by_command.items()):
        for number in range(most):
            row = rng.choice(alike)
            payload = bytearray(row["raw"][HEADER_SIZE:])
            for _ in range(rng.randrange(1, 4) if payload else 0):
                at = rng.randrange(min(len(payload), rng.choice((8, 100, 1 << 20))))
                payload[at : at + rng.randrange(3)] = rng.choice(
                    (b"\xff" * 9, b"\xfd", b"\xfe", b"\0", rng.randbytes(1))
                )
            raw = frame(row["net"], command, bytes(payload))
            yield f"{command!r} {number}", outcome(_decoded, raw, row["net"], row["pver"], row["enc"])


def corpus() -> Iterator[tuple[str, str]]:
    """Yield the outcome of each kept input of the fuzz targets, taken for the payload of each message."""
    for file in sorted(CORPUS.glob("*/*")):
        for command in sorted(messages()):
            raw = frame(vectors.SIMNET_MAGIC, command_bytes(command), file.read_bytes())
            for encoding in Encoding if command in ("block", "tx") else [Encoding.BASE]:
                found = outcome(_decoded, raw, vectors.SIMNET_MAGIC, 70013, encoding)
                yield f"{file.parent.name}/{file.name} as {command}, {encoding.name}", found


if __name__ == "__main__":
    for lines in (calls(), whole(), damaged(int(sys.argv[1]), int(sys.argv[2])), corpus()):
        for title, words in lines:
            print(title, words, sep="\t")
