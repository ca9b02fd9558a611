"""The structure of transactions: walking over them, parsing them, writing them.

Bytes are checked once, by :func:`scan_transactions`; parsing trusts what it has passed.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from txsoter.errors import FieldError, MalformedMessage
from txsoter.wire.codec import HASH, I32, I64, U32, ListOf, VarBytes, ends_early, read_count, read_varint, write_varint
from txsoter.wire.hashes import Hash
from txsoter.wire.message import MAX_PAYLOAD, Encoding

__all__ = [
    "Marks",
    "TxIn",
    "TxOut",
    "add_transaction",
    "inputless",
    "parse_transaction",
    "scan_transactions",
    "witnesses_begin",
]

MAX_INPUTS = MAX_PAYLOAD // 41 + 1
MAX_OUTPUTS = MAX_PAYLOAD // 9 + 1
MAX_WITNESS_ITEMS: Final = 500_000
MAX_WITNESS_ITEM: Final = 11_000

_MARKER_AND_FLAG = b"\0\1"
_PACK_I32, _PACK_U32, _PACK_I64 = struct.Struct("<i").pack, struct.Struct("<I").pack, struct.Struct("<q").pack
_PACK_HEAD, _PACK_OUTPOINT = struct.Struct("<iB").pack, struct.Struct("<32sI").pack
_SHORT: Final = 0xFD
"""Below it a varint is one byte; the lengths of nearly all scripts are."""
_LENGTHS = [bytes((size,)) for size in range(_SHORT)]
# by the script's length: one call an input or output is twice as fast as one a field
_PACK_INPUT = [struct.Struct(f"<32sIB{size}sI").pack for size in range(_SHORT)]
_PACK_OUTPUT = [struct.Struct(f"<qB{size}s").pack for size in range(_SHORT)]
_SCRIPT = VarBytes(MAX_PAYLOAD)
_WITNESS = ListOf(VarBytes(MAX_WITNESS_ITEM), MAX_WITNESS_ITEMS)


class TxIn(NamedTuple):
    """An input: the output it spends, and its right to.

    :param previous_hash: id of the transaction it spends from.
    :param previous_index: which of that one's outputs.
    :param script: the signature script.
    :param witness: the witness's items; not part of the transaction's id.
    """

    previous_hash: Hash
    previous_index: int
    script: bytes = b""
    sequence: int = 0xFFFFFFFF
    witness: tuple[bytes, ...] = ()


class TxOut(NamedTuple):
    """An output.

    :param value: in nanoSoter.
    :param script: the condition for spending it.
    """

    value: int
    script: bytes = b""


_BASE_INPUT_CODECS = (("previous_hash", HASH), ("previous_index", U32), ("script", _SCRIPT), ("sequence", U32))
_INPUT_CODECS = (*_BASE_INPUT_CODECS, ("witness", _WITNESS))
_OUTPUT_CODECS = (("value", I64), ("script", _SCRIPT))


class Marks(enum.Enum):
    """Which of some transactions are marked as carrying witnesses."""

    NONE = 0
    """None is: their bytes are the base encoding, and the witness encoding."""
    TRUE = 1
    """Some are, and have witnesses: their bytes are the witness encoding."""
    HOLLOW = 2
    """Some are, and one has no witness all the same: their bytes are neither encoding."""
    INPUTLESS = 3
    """None is, and one has no inputs: their bytes are the base encoding, and there is no witness encoding."""


# names of the module are found faster than members of an enum
_WITNESS_ENCODING, _UNMARKED = Encoding.WITNESS, Marks.NONE


def scan_transactions(data: bytes, offset: int, count: int, encoding: Encoding) -> tuple[list[int], Marks]:
    """Walk over ``count`` transactions from ``offset`` without making objects of them.

    :return: the offset behind each, and how they are marked.
    :raises MalformedMessage: for what is no transaction; ``IndexError`` or ``struct.error`` when
        ``data`` ends inside one.

    This is the one place that knows the structure's bounds: offsets only grow, so an index past
    the end, and the last offset at the end, are all the checks there need to be; but for lengths that
    could make an offset no index at all.
    """
    witness = encoding is _WITNESS_ENCODING
    room = len(data)
    marks = _UNMARKED
    ends: list[int] = []
    add_end = ends.append
    for _ in range(count):
        inputs = data[offset + 4]
        marked = inputs == 0 and witness
        if marked:
            if data[offset + 5] != 1:
                raise MalformedMessage(f"witness flag is {data[offset + 5]}, not 1")
            inputs, offset = read_count(data, offset + 6, MAX_INPUTS, "inputs")
        elif inputs == 0:
            marks = Marks.INPUTLESS
            offset += 5
        elif inputs > 0xFC:
            inputs, offset = read_count(data, offset + 4, MAX_INPUTS, "inputs")
        else:
            offset += 5
        # counting down is faster than a range for the one or two that most have
        left = inputs
        while left:
            left -= 1
            size = data[offset + 36]
            if size < 0xFD:
                offset += size + 41
            else:
                size, offset = read_varint(data, offset + 36)
                if size > room:
                    raise ends_early()
                offset += size + 4
        left = data[offset]
        if left < 0xFD:
            offset += 1
        else:
            left, offset = read_count(data, offset, MAX_OUTPUTS, "outputs")
        while left:
            left -= 1
            size = data[offset + 8]
            if size < 0xFD:
                offset += size + 9
            else:
                size, offset = read_varint(data, offset + 8)
                if size > room:
                    raise ends_early()
                offset += size
        if marked:
            behind = _scan_witnesses(data, offset, inputs)
            # a byte an input, each a count of 0
            if behind == offset + inputs:
                marks = Marks.HOLLOW
            elif marks is _UNMARKED:
                marks = Marks.TRUE
            offset = behind
        offset += 4
        add_end(offset)
    if offset > room:
        raise ends_early()
    return ends, marks


def _scan_witnesses(data: bytes, offset: int, inputs: int) -> int:
    for _ in range(inputs):
        items = data[offset]
        if items < 0xFD:
            offset += 1
        else:
            items, offset = read_count(data, offset, MAX_WITNESS_ITEMS, "witness items")
        while items:
            items -= 1
            size = data[offset]
            if size < 0xFD:
                offset += size + 1
            else:
                size, offset = read_count(data, offset, MAX_WITNESS_ITEM, "bytes in a witness item")
                offset += size
    return offset


def _parse_body(raw: bytes, offset: int) -> tuple[list[list[Any]], tuple[TxOut, ...], int]:
    """Inputs (as lists of their base fields) and outputs from ``offset``, and the offset behind them."""
    count, offset = read_varint(raw, offset)
    inputs = []
    for _ in range(count):
        values, offset = _read_fields(raw, offset, _BASE_INPUT_CODECS)
        inputs.append(values)
    count, offset = read_varint(raw, offset)
    outputs = []
    for _ in range(count):
        values, offset = _read_fields(raw, offset, _OUTPUT_CODECS)
        outputs.append(TxOut(*values))
    return inputs, tuple(outputs), offset


def _read_fields(raw: bytes, offset: int, codecs: Sequence[tuple[str, Any]]) -> tuple[list[Any], int]:
    values = []
    for _, codec in codecs:
        value, offset = codec.read(raw, offset, 0)
        values.append(value)
    return values, offset


def parse_transaction(raw: bytes, marked: bool) -> tuple[int, tuple[TxIn, ...], tuple[TxOut, ...], int]:
    version, offset = I32.read(raw, 0, 0)
    inputs, outputs, offset = _parse_body(raw, offset + 2 if marked else offset)
    if marked:
        for values in inputs:
            items, offset = _WITNESS.read(raw, offset, 0)
            values.append(items)
    lock_time, _ = U32.read(raw, offset, 0)
    return version, tuple(TxIn(*values) for values in inputs), outputs, lock_time


def witnesses_begin(raw: bytes) -> int:
    """Where the witnesses of a marked transaction begin."""
    return _parse_body(raw, 6)[2]


def add_transaction(
    add: Callable[[bytes], object],
    version: Any,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    lock_time: Any,
    encoding: Encoding,
) -> None:
    """Give ``add`` the pieces of a transaction; the marker and witnesses only if some input has one.

    :param inputs: :class:`TxIn`, and so on, or whatever an application takes for them.

    :raises FieldError: for a value that does not fit, its path beginning at the field; after some pieces. Likewise for
        no inputs in the witness encoding.
    """
    if not inputs and encoding is _WITNESS_ENCODING:
        raise inputless()
    pack_input, pack_output, short = _PACK_INPUT, _PACK_OUTPUT, _SHORT
    # any error in here means that a value does not fit: which one, _explain() finds
    try:
        witness = encoding is _WITNESS_ENCODING and any(each[4] for each in inputs)
        count = len(inputs)
        if witness or count >= short:
            add(_PACK_I32(version) + (_MARKER_AND_FLAG if witness else b"") + _write_count(count, MAX_INPUTS))
        else:
            add(_PACK_HEAD(version, count))
        for previous_hash, previous_index, script, sequence, _ in inputs:
            size = len(script)
            # struct pads and cuts bytes in silence, and takes a bytearray
            if len(previous_hash) != 32 or (script.__class__ is not bytes and not isinstance(script, bytes)):
                raise ValueError
            if size < short:
                add(pack_input[size](previous_hash, previous_index, size, script, sequence))
            else:
                add(_PACK_OUTPOINT(previous_hash, previous_index) + write_varint(size))
                add(script)
                add(_PACK_U32(sequence))
        count = len(outputs)
        add(_LENGTHS[count] if count < short else _write_count(count, MAX_OUTPUTS))
        for value, script in outputs:
            size = len(script)
            if script.__class__ is not bytes and not isinstance(script, bytes):
                raise ValueError
            if size < short:
                add(pack_output[size](value, size, script))
            else:
                add(_PACK_I64(value) + write_varint(size))
                add(script)
        if witness:
            for each in inputs:
                add(_WITNESS.write(each[4], 0))
        add(_PACK_U32(lock_time))
    except (struct.error, TypeError, ValueError, LookupError, AttributeError):
        raise _explain(version, inputs, outputs, lock_time) from None


def inputless() -> FieldError:
    """Return the error for writing a transaction without inputs in the witness encoding.

    Their count, 0, would be read as the marker: as another transaction, or none.
    """
    return FieldError("inputs", (), "at least one in the witness encoding; Encoding.BASE can write none")


def _write_count(count: int, limit: int) -> bytes:
    if count > limit:
        raise ValueError
    return write_varint(count)


def _explain(version: Any, inputs: Sequence[Any], outputs: Sequence[Any], lock_time: Any) -> FieldError:
    """Find the value that kept :func:`add_transaction` from its work."""
    for name, rows, limit in (("inputs", inputs, MAX_INPUTS), ("outputs", outputs, MAX_OUTPUTS)):
        if len(rows) > limit:
            return FieldError(name, rows, f"at most {limit} entries, not {len(rows)}")
    fields: list[tuple[str, Any, object]] = [("version", I32, version), ("lock_time", U32, lock_time)]
    for kind, codecs, name, rows in (
        (TxIn, _INPUT_CODECS, "inputs", inputs),
        (TxOut, _OUTPUT_CODECS, "outputs", outputs),
    ):
        for index, row in enumerate(rows):
            if not isinstance(row, tuple) or len(row) != len(kind._fields):
                return FieldError(f"{name}[{index}]", row, f"a {kind.__name__}")
            fields += [(f"{name}[{index}].{codecs[at][0]}", codecs[at][1], value) for at, value in enumerate(row)]
    for path, codec, value in fields:
        try:
            codec.write(value, 0)
        except FieldError as error:
            return error.within(path)
        except TypeError:
            return FieldError(path, value, "a value of the field's type")
    return FieldError("inputs and outputs", (inputs, outputs), "values that fit their fields")
