"""``tx``: transactions, in both of their encodings.

A decoded transaction keeps its bytes and is parsed when its fields are looked at. Its structure is
checked to the end when it is decoded: lazy means parsed late, never validated late.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, final, overload

from typing_extensions import Self

from txsoter.errors import FieldError, MalformedMessage
from txsoter.wire.codec import HASH, I32, I64, U32, ListOf, VarBytes, ends_early, read_count, read_varint, write_varint
from txsoter.wire.hashes import Hash, double_sha256
from txsoter.wire.message import MAX_PAYLOAD, Encoding, Message, register

__all__ = [
    "MAX_TRANSACTION",
    "TransactionView",
    "Tx",
    "TxIn",
    "TxOut",
    "scan_transactions",
    "write_transactions",
]

MAX_TRANSACTION = 4_000_000
"""The largest transaction, in bytes."""

MAX_INPUTS = MAX_PAYLOAD // 41 + 1
MAX_OUTPUTS = MAX_PAYLOAD // 9 + 1
MAX_WITNESS_ITEMS = 500_000
MAX_WITNESS_ITEM = 11_000

_MARKER_AND_FLAG = b"\0\1"
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


_INPUT_CODECS = (("previous_hash", HASH), ("previous_index", U32), ("script", _SCRIPT), ("sequence", U32))
_OUTPUT_CODECS = (("value", I64), ("script", _SCRIPT))


@final
class Tx(Message):
    """A transaction; immutable.

    :param version: i32.
    :param inputs: :class:`TxIn`, witnesses included.
    :param outputs: :class:`TxOut`.
    :param lock_time: u32, a height or a time before which it is not valid.
    """

    # _raw: the bytes it was decoded from, or None; _marked: whether they carry witnesses;
    # _fields: (version, inputs, outputs, lock_time), or None until somebody asks
    __slots__ = ("_fields", "_marked", "_raw")

    _raw: bytes | None
    _marked: bool
    _fields: tuple[int, tuple[TxIn, ...], tuple[TxOut, ...], int] | None

    def __init__(
        self,
        version: int = 1,
        inputs: Sequence[TxIn] = (),
        outputs: Sequence[TxOut] = (),
        lock_time: int = 0,
    ) -> None:
        self._raw = None
        self._marked = False
        self._fields = (version, tuple(inputs), tuple(outputs), lock_time)

    @classmethod
    def from_scanned(cls, raw: bytes, encoding: Encoding) -> Self:
        """The transaction in ``raw``, which :func:`scan_transactions` has found to be exactly one."""
        self = cls.__new__(cls)
        self._raw = raw
        self._marked = encoding is Encoding.WITNESS and raw[4] == 0
        self._fields = None
        return self

    @property
    def version(self) -> int:
        """The format's version."""
        return self._parsed()[0]

    @property
    def inputs(self) -> tuple[TxIn, ...]:
        """What it spends."""
        return self._parsed()[1]

    @property
    def outputs(self) -> tuple[TxOut, ...]:
        """What it makes."""
        return self._parsed()[2]

    @property
    def lock_time(self) -> int:
        """The height or time before which it is not valid."""
        return self._parsed()[3]

    @property
    def has_witness(self) -> bool:
        """Whether any input has a witness that is not empty."""
        if self._fields is None and not self._marked:
            return False
        return any(each.witness for each in self.inputs)

    @property
    def txid(self) -> Hash:
        """The id: double SHA-256 of the base encoding.

        :raises FieldError: for a transaction that cannot be encoded.
        """
        return double_sha256(self._encode(Encoding.BASE))

    @property
    def wtxid(self) -> Hash:
        """The witness id: double SHA-256 of the witness encoding.

        :raises FieldError: for a transaction that cannot be encoded.
        """
        return double_sha256(self._encode(Encoding.WITNESS))

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        ends, _ = scan_transactions(data, 0, 1, encoding)
        end = ends[0]
        return cls.from_scanned(data[:end], encoding), end

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        return self._encode(encoding)

    def _encode(self, encoding: Encoding) -> bytes:
        raw = self._raw
        if raw is None:
            return _write(*self._parsed(), encoding=encoding)
        if not self._marked or (encoding is Encoding.WITNESS and self.has_witness):
            return raw
        return raw[:4] + raw[6 : _witnesses_begin(raw)] + raw[-4:]

    def _parsed(self) -> tuple[int, tuple[TxIn, ...], tuple[TxOut, ...], int]:
        fields = self._fields
        if fields is None:
            assert self._raw is not None
            fields = self._fields = _parse(self._raw, self._marked)
        return fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tx):
            return NotImplemented
        if self._raw is not None and self._raw == other._raw and self._marked == other._marked:
            return True
        return self._parsed() == other._parsed()

    def __hash__(self) -> int:
        return hash(self._parsed())

    def __repr__(self) -> str:
        if self._raw is not None:
            return f"<Tx {self.txid} of {len(self._raw)} bytes>"
        version, inputs, outputs, lock_time = self._parsed()
        return f"Tx(version={version}, inputs={inputs!r}, outputs={outputs!r}, lock_time={lock_time})"


register(Tx, "tx", max_size=MAX_TRANSACTION)


def scan_transactions(data: bytes, offset: int, count: int, encoding: Encoding) -> tuple[list[int], bool]:
    """Walk over ``count`` transactions from ``offset`` without making objects of them.

    :return: the offset behind each, and whether any is marked as carrying witnesses.
    :raises MalformedMessage: for what is no transaction; ``IndexError`` or ``struct.error`` when
        ``data`` ends inside one.

    This is the one place that knows the structure's bounds: offsets only grow, so an index past
    the end, and the last offset at the end, are all the checks there need to be.
    """
    witness = encoding is Encoding.WITNESS
    any_marked = False
    ends: list[int] = []
    for _ in range(count):
        offset += 4
        inputs = data[offset]
        marked = witness and inputs == 0
        if marked:
            any_marked = True
            if data[offset + 1] != 1:
                raise MalformedMessage(f"witness flag is {data[offset + 1]}, not 1")
            offset += 2
            inputs = data[offset]
        offset += 1
        if inputs > 0xFC:
            inputs, offset = read_count(data, offset - 1, MAX_INPUTS, "inputs")
        for _ in range(inputs):
            offset += 36
            size = data[offset]
            if size > 0xFC:
                size, offset = read_varint(data, offset)
                offset += size + 4
            else:
                offset += size + 5
        outputs = data[offset]
        offset += 1
        if outputs > 0xFC:
            outputs, offset = read_count(data, offset - 1, MAX_OUTPUTS, "outputs")
        for _ in range(outputs):
            offset += 8
            size = data[offset]
            if size > 0xFC:
                size, offset = read_varint(data, offset)
                offset += size
            else:
                offset += size + 1
        if marked:
            offset = _scan_witnesses(data, offset, inputs)
        offset += 4
        ends.append(offset)
    if offset > len(data):
        raise ends_early()
    return ends, any_marked


def _scan_witnesses(data: bytes, offset: int, inputs: int) -> int:
    for _ in range(inputs):
        items, offset = read_count(data, offset, MAX_WITNESS_ITEMS, "witness items")
        for _ in range(items):
            size, offset = read_count(data, offset, MAX_WITNESS_ITEM, "bytes in a witness item")
            offset += size
    return offset


class TransactionView(Sequence[Tx]):
    """A read-only sequence over scanned transactions; each becomes a :class:`Tx` when it is looked at.

    It holds on to the whole payload.
    """

    __slots__ = ("_any_marked", "_bounds", "_data", "_encoding")

    def __init__(self, data: bytes, bounds: list[int], encoding: Encoding, any_marked: bool) -> None:
        self._data = data
        self._bounds = bounds
        self._encoding = encoding
        self._any_marked = any_marked

    @classmethod
    def read(cls, data: bytes, offset: int, limit: int, encoding: Encoding) -> tuple[Self, int]:
        """A view of the counted transactions at ``offset``, and the offset behind them."""
        count, offset = read_count(data, offset, limit, "transactions")
        ends, any_marked = scan_transactions(data, offset, count, encoding)
        return cls(data, [offset, *ends], encoding, any_marked), ends[-1] if ends else offset

    def to_bytes(self, encoding: Encoding) -> bytes:
        """The transactions one behind the other, as they came wherever that is what ``encoding`` asks for."""
        if self._any_marked:
            return b"".join([each.write_payload(0, encoding) for each in self])
        return self._data[self._bounds[0] : self._bounds[-1]]

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[Tx]:
        data, encoding, make = self._data, self._encoding, Tx.from_scanned
        return (make(data[start:end], encoding) for start, end in pairwise(self._bounds))

    @overload
    def __getitem__(self, index: int) -> Tx: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tx]: ...
    def __getitem__(self, index: int | slice) -> Tx | Sequence[Tx]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return Tx.from_scanned(self._data[self._bounds[position] : self._bounds[position + 1]], self._encoding)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are tuples: they hold no payload."""
        return tuple, (tuple(self),)

    def __repr__(self) -> str:
        return f"<{len(self)} transactions of {self._bounds[-1] - self._bounds[0]} bytes>"


def write_transactions(transactions: Sequence[Tx], limit: int, encoding: Encoding) -> bytes:
    """A count and the transactions.

    :raises FieldError: for more than ``limit``, or one that cannot be encoded.
    """
    if len(transactions) > limit:
        raise FieldError("transactions", transactions, f"at most {limit} transactions, not {len(transactions)}")
    count = write_varint(len(transactions))
    if isinstance(transactions, TransactionView):
        return count + transactions.to_bytes(encoding)
    parts = [count]
    for index, each in enumerate(transactions):
        if not isinstance(each, Tx):
            raise FieldError(f"transactions[{index}]", each, "a Tx")
        try:
            parts.append(each.write_payload(0, encoding))
        except FieldError as error:
            raise error.within(f"transactions[{index}]") from None
    return b"".join(parts)


def _parse_body(raw: bytes, offset: int) -> tuple[list[list[Any]], tuple[TxOut, ...], int]:
    """Inputs (as lists of their base fields) and outputs from ``offset``, and the offset behind them."""
    count, offset = read_varint(raw, offset)
    inputs = []
    for _ in range(count):
        values, offset = _read_fields(raw, offset, _INPUT_CODECS)
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


def _parse(raw: bytes, marked: bool) -> tuple[int, tuple[TxIn, ...], tuple[TxOut, ...], int]:
    version, offset = I32.read(raw, 0, 0)
    inputs, outputs, offset = _parse_body(raw, offset + 2 if marked else offset)
    if marked:
        for values in inputs:
            items, offset = _WITNESS.read(raw, offset, 0)
            values.append(items)
    lock_time, _ = U32.read(raw, offset, 0)
    return version, tuple(TxIn(*values) for values in inputs), outputs, lock_time


def _witnesses_begin(raw: bytes) -> int:
    """Where the witnesses of a marked transaction begin."""
    return _parse_body(raw, 6)[2]


def _write(
    version: int, inputs: tuple[TxIn, ...], outputs: tuple[TxOut, ...], lock_time: int, encoding: Encoding
) -> bytes:
    counted_inputs = _write_count("inputs", inputs, TxIn, MAX_INPUTS)
    counted_outputs = _write_count("outputs", outputs, TxOut, MAX_OUTPUTS)
    witness = encoding is Encoding.WITNESS and any(each.witness for each in inputs)
    parts = [_write_field("version", I32, version)]
    if witness:
        parts.append(_MARKER_AND_FLAG)
    parts.append(counted_inputs)
    for index, each in enumerate(inputs):
        _write_row(parts, f"inputs[{index}]", _INPUT_CODECS, each)
    parts.append(counted_outputs)
    for index, each_out in enumerate(outputs):
        _write_row(parts, f"outputs[{index}]", _OUTPUT_CODECS, each_out)
    if witness:
        for index, each in enumerate(inputs):
            parts.append(_write_field(f"inputs[{index}].witness", _WITNESS, each.witness))
    parts.append(_write_field("lock_time", U32, lock_time))
    return b"".join(parts)


def _write_count(name: str, rows: Sequence[object], kind: type, limit: int) -> bytes:
    if len(rows) > limit:
        raise FieldError(name, rows, f"at most {limit} entries, not {len(rows)}")
    for index, each in enumerate(rows):
        if not isinstance(each, kind):
            raise FieldError(f"{name}[{index}]", each, f"a {kind.__name__}")
    return write_varint(len(rows))


def _write_row(parts: list[bytes], path: str, codecs: Sequence[tuple[str, Any]], row: Sequence[Any]) -> None:
    for (name, codec), value in zip(codecs, row, strict=False):
        parts.append(_write_field(f"{path}.{name}", codec, value))


def _write_field(path: str, codec: Any, value: object) -> bytes:
    try:
        written: bytes = codec.write(value, 0)
    except FieldError as error:
        raise error.within(path) from None
    except TypeError:
        raise FieldError(path, value, "a value of the field's type") from None
    return written
