"""``tx``: transactions, in both of their encodings.

A decoded transaction keeps its bytes and is parsed when its fields are looked at. Its structure is
checked to the end when it is decoded: lazy means parsed late, never validated late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, final, overload

from typing_extensions import Self

from txsoter.errors import FieldError
from txsoter.wire.codec import read_count, write_varint
from txsoter.wire.hashes import ZERO_HASH, Hash, double_sha256
from txsoter.wire.message import Encoding, Message, register
from txsoter.wire.txcodec import (
    Marks,
    TxIn,
    TxOut,
    add_transaction,
    inputless,
    parse_transaction,
    scan_transactions,
    witnesses_begin,
)

__all__ = ["MAX_TRANSACTION", "TransactionView", "Tx", "TxIn", "TxOut", "write_transactions"]

_new = object.__new__
# a name of the module is found faster than a member of an enum
_UNMARKED = Marks.NONE
_WITHOUT_MARKER = (Marks.NONE, Marks.INPUTLESS)

_NO_OUTPOINT = (ZERO_HASH, 0xFFFFFFFF)

MAX_TRANSACTION = 4_000_000
"""The largest transaction, in bytes."""


@final
class Tx(Message):
    """A transaction; immutable.

    :param version: i32.
    :param inputs: :class:`TxIn`, witnesses included.
    :param outputs: :class:`TxOut`.
    :param lock_time: u32, a height or a time before which it is not valid.
    """

    # _raw: the bytes it was decoded from, or None; _marks: how these are marked;
    # _fields: (version, inputs, outputs, lock_time), or None until somebody asks
    __slots__ = ("_fields", "_marks", "_raw")

    _raw: bytes | None
    _marks: Marks
    _fields: tuple[int, tuple[TxIn, ...], tuple[TxOut, ...], int] | None

    def __init__(
        self,
        version: int = 1,
        inputs: Sequence[TxIn] = (),
        outputs: Sequence[TxOut] = (),
        lock_time: int = 0,
    ) -> None:
        self._raw = None
        self._marks = Marks.NONE
        self._fields = (version, tuple(inputs), tuple(outputs), lock_time)

    @classmethod
    def from_scanned(cls, raw: bytes, marks: Marks) -> Self:
        """The transaction in ``raw``, which :func:`scan_transactions` has found to be exactly one.

        :param marks: of this one, or of several that it is one of.
        """
        self = _new(cls)
        self._raw = raw
        # where several were scanned at once, only those that begin with the marker have it
        self._marks = marks if raw[4] == 0 else _UNMARKED
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
    def is_coinbase(self) -> bool:
        """Whether it spends nothing: its only input names output 4294967295 of the zero hash."""
        inputs = self.inputs
        return len(inputs) == 1 and inputs[0][:2] == _NO_OUTPOINT

    @property
    def has_witness(self) -> bool:
        """Whether any input has a witness that is not empty."""
        if self._fields is None and self._marks in _WITHOUT_MARKER:
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
        """The witness id: double SHA-256 of the witness encoding; the id where there is no witness.

        :raises FieldError: for a transaction that cannot be encoded.
        """
        return double_sha256(self._encode(Encoding.BASE if self._is_inputless() else Encoding.WITNESS))

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        (end,), marks = scan_transactions(data, 0, 1, encoding)
        self = _new(cls)
        self._raw = data[:end]
        self._marks = marks
        self._fields = None
        return self, end

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        return self._encode(encoding)

    def _encode(self, encoding: Encoding) -> bytes:
        raw = self._raw
        if raw is None:
            parts: list[bytes] = []
            self.add_to(parts.append, encoding)
            return b"".join(parts)
        marks = self._marks
        if marks is _UNMARKED or (marks is Marks.INPUTLESS and encoding is Encoding.BASE):
            return raw
        if encoding is Encoding.WITNESS:
            if marks is Marks.TRUE or self.has_witness:
                return raw
            if self._is_inputless():
                raise inputless()
        return raw[:4] + raw[6 : witnesses_begin(raw)] + raw[-4:]

    def _is_inputless(self) -> bool:
        if self._fields is None and self._marks in (Marks.NONE, Marks.TRUE):
            # without parsing it
            return False
        return not self.inputs

    def add_to(self, add: Callable[[bytes], object], encoding: Encoding) -> None:
        """Give ``add`` the pieces of its bytes.

        :raises FieldError: for a value that does not fit.
        """
        if self._raw is None:
            assert self._fields is not None
            add_transaction(add, *self._fields, encoding)
        else:
            add(self._encode(encoding))

    def _parsed(self) -> tuple[int, tuple[TxIn, ...], tuple[TxOut, ...], int]:
        fields = self._fields
        if fields is None:
            assert self._raw is not None
            fields = self._fields = parse_transaction(self._raw, self._marks not in _WITHOUT_MARKER)
        return fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tx):
            return NotImplemented
        if self._raw is not None and self._raw == other._raw and self._marks is other._marks:
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


class TransactionView(Sequence[Tx]):
    """A read-only sequence over scanned transactions; each becomes a :class:`Tx` when it is looked at.

    It holds on to the whole payload.
    """

    __slots__ = ("_bounds", "_data", "_marks")

    def __init__(self, data: bytes, bounds: list[int], marks: Marks) -> None:
        self._data = data
        self._bounds = bounds
        self._marks = marks

    @classmethod
    def read(cls, data: bytes, offset: int, limit: int, encoding: Encoding) -> tuple[Self, int]:
        """A view of the counted transactions at ``offset``, and the offset behind them."""
        count, offset = read_count(data, offset, limit, "transactions")
        ends, marks = scan_transactions(data, offset, count, encoding)
        return cls(data, [offset, *ends], marks), ends[-1] if ends else offset

    def is_in(self, encoding: Encoding) -> bool:
        """Return whether its bytes, as they came, are in ``encoding``."""
        marks = self._marks
        return marks is _UNMARKED or marks is (Marks.TRUE if encoding is Encoding.WITNESS else Marks.INPUTLESS)

    def behind(self, prefix: bytes) -> bytes:
        """Return the bytes as they came, behind ``prefix``; not copied, if the payload had nothing else there."""
        data, start, end = self._data, self._bounds[0], self._bounds[-1]
        before = start - len(prefix)
        if before >= 0 and data.startswith(prefix, before):
            return data[before:end]
        return prefix + data[start:end]

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[Tx]:
        data, marks, make = self._data, self._marks, Tx.from_scanned
        return (make(data[start:end], marks) for start, end in pairwise(self._bounds))

    @overload
    def __getitem__(self, index: int) -> Tx: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tx]: ...
    def __getitem__(self, index: int | slice) -> Tx | Sequence[Tx]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return Tx.from_scanned(self._data[self._bounds[position] : self._bounds[position + 1]], self._marks)

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


def write_transactions(transactions: Sequence[Tx], limit: int, encoding: Encoding, start: bytes = b"") -> bytes:
    """Return a count and the transactions, behind ``start``.

    :raises FieldError: for more than ``limit``, or one that cannot be encoded.
    """
    if len(transactions) > limit:
        raise FieldError("transactions", transactions, f"at most {limit} transactions, not {len(transactions)}")
    count = write_varint(len(transactions))
    if isinstance(transactions, TransactionView) and transactions.is_in(encoding):
        return transactions.behind(start + count)
    parts = [start, count]
    add = parts.append
    for index, each in enumerate(transactions):
        if not isinstance(each, Tx):
            raise FieldError(f"transactions[{index}]", each, "a Tx")
        try:
            each.add_to(add, encoding)
        except FieldError as error:
            raise error.within(f"transactions[{index}]") from None
    return b"".join(parts)
