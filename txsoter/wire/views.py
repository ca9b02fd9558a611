"""Lists of fixed rows, kept as the bytes they came in and parsed when they are looked at.

Any bytes are valid rows, so comparing the count with the bytes there are is the whole of their
validation. A view holds on to the payload it looks into: copy rows out of a large message before
keeping a few of them for long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from operator import index as as_index
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar, overload

from txsoter.errors import FieldError, MalformedMessage
from txsoter.wire.codec import HASH, ends_early, read_count, write_varint
from txsoter.wire.hashes import Hash, as_hash

R = TypeVar("R")

__all__ = ["HASHES", "RowLayout", "RowView", "Rows", "column", "read_rows", "write_rows"]


def column(index: int, doc: str) -> Any:
    """A property for one column of a row that is a tuple; declare its type where it is assigned."""
    return property(itemgetter(index), doc=doc)


class Column(Protocol):
    """What a row needs to know of one of its columns."""

    @property
    def code(self) -> str:
        """The column's letters in :mod:`struct`."""
        ...

    def check(self, value: object) -> None:
        """Raise :exc:`~txsoter.errors.FieldError` for a value that does not fit."""
        ...


CHUNKS = (500, 200, 50)
"""How many rows are packed by one call: a third of the time of one call a row. The rest are packed by another.

For each row of a chunk there may be an iterator meanwhile, and 700 would start a garbage collection.
"""


class RowLayout(Generic[R]):
    """How one kind of row stands on the wire.

    :param columns: name and codec of each column, in wire order; "" for a row that is one bare value.
    :param build: makes a row of the tuple that :mod:`struct` unpacks; or the class, of tuples, that rows are of.
    :param flatten: the reverse; None when a row is that tuple itself.
    :param padding: bytes behind each row, which must be zero.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, Column]],
        build: Callable[[tuple[Any, ...]], R] | type[R],
        flatten: Callable[[R], tuple[Any, ...]] | None = None,
        padding: int = 0,
    ) -> None:
        self.columns = tuple(columns)
        self.build: Callable[[tuple[Any, ...]], R]
        self.build_all: Callable[[Iterator[tuple[Any, ...]]], Iterator[R]]
        if isinstance(build, type):
            self.build = partial(tuple.__new__, build)
            # a sixth faster than the partial
            self.build_all = partial(map, tuple.__new__, repeat(build))
        else:
            self.build = build
            self.build_all = partial(map, build)
        self.flatten = flatten
        self.padding = padding
        self.struct = struct.Struct("<" + "".join(codec.code for _, codec in columns) + "x" * padding)
        self.size = self.struct.size
        # by how many rows: those of CHUNKS, and fewer than the least of them as they are needed
        self._packers: dict[int, Callable[..., bytes]] = {}
        self._sizes = [
            (position, int(codec.code[:-1])) for position, (_, codec) in enumerate(columns) if codec.code.endswith("s")
        ]
        self._tuples_in_order = _written_out(len(self.columns), self._sizes)

    def pack(self, rows: Sequence[R], start: bytes = b"") -> bytes:
        """The bytes of all ``rows``, one behind the other, and all behind ``start``.

        :raises FieldError: for a value that does not fit, its path beginning with the row's index.
        """
        parts, offset = [start], 0
        try:
            flat: Any = rows if self.flatten is None else map(self.flatten, rows)
            if not isinstance(flat, (list, tuple)):
                flat = list(flat)
            left = len(flat)
            while left > 1:
                count = left if left < CHUNKS[-1] else next(count for count in CHUNKS if count <= left)
                pack = self._packers.get(count) or self._packer(count)
                parts.append(pack(*self._in_order(flat[offset : offset + count])))
                offset, left = offset + count, left - count
            if left:
                parts.append(self._pack_values(flat[offset]))
        except (struct.error, TypeError, ValueError, LookupError, AttributeError):
            raise self._explain(rows) from None
        return b"".join(parts)

    def _packer(self, count: int) -> Callable[..., bytes]:
        pack = self._packers[count] = struct.Struct("<" + self.struct.format[1:] * count).pack
        return pack

    def _pack_values(self, values: Any) -> bytes:
        """The bytes of one row's values; ValueError for bytes of a wrong length."""
        if not isinstance(values, tuple):
            # many at once may be anything that can be walked over
            values = tuple(values)
        for position, size in self._sizes:
            if len(values[position]) != size:
                raise ValueError
        return self.struct.pack(*values)

    def _in_order(self, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The values of ``rows``, one behind the other; ValueError for rows or bytes of a wrong length."""
        if rows[0].__class__ is tuple:
            return self._tuples_in_order(rows)
        count, width = len(rows), len(self.columns)
        # a row of a class takes twice as long to walk over as a plain tuple, but not so when all are at once
        columns = [*zip(*rows, strict=True)]
        if len(columns) != width:
            raise ValueError
        # struct pads and cuts bytes in silence; counting the right lengths is the fastest way to find wrong ones
        for position, size in self._sizes:
            if [*map(len, columns[position])].count(size) != count:
                raise ValueError
        values: list[Any] = [None] * (count * width)
        for position, column in enumerate(columns):
            values[position::width] = column
        return values

    def read_one(self, data: bytes, offset: int) -> tuple[R, int]:
        """The row at ``offset``, and the offset behind it; ``struct.error`` when ``data`` ends before."""
        return self.build(self.struct.unpack_from(data, offset)), offset + self.size

    def pack_one(self, row: R) -> bytes:
        """The bytes of one row.

        :raises FieldError: its path beginning with the column's name.
        """
        try:
            return self._pack_values(row if self.flatten is None else self.flatten(row))
        except (struct.error, TypeError, ValueError, LookupError, AttributeError):
            # which value it was is told below
            pass
        error = self._explain([row])
        raise FieldError(error.field.removeprefix("[0]").removeprefix("."), error.value, error.limit)

    def _explain(self, rows: Sequence[R]) -> FieldError:
        """Find the value that kept :meth:`pack` from its work."""
        for index, row in enumerate(rows):
            try:
                values: Any = row if self.flatten is None else self.flatten(row)
                for (name, codec), value in zip(self.columns, values, strict=True):
                    try:
                        codec.check(value)
                    except FieldError as error:
                        return error.within(name).within(f"[{index}]") if name else error.within(f"[{index}]")
            except FieldError as error:
                return error.within(f"[{index}]")
            except (TypeError, ValueError, LookupError, AttributeError):
                names = ", ".join(name or "value" for name, _ in self.columns)
                return FieldError(f"[{index}]", row, f"a row of {names}")
        return FieldError("", rows, "a sequence of rows")


def _written_out(width: int, sizes: Sequence[tuple[int, int]]) -> Callable[[Sequence[Any]], list[Any]]:
    """What :meth:`RowLayout._in_order` does, its loop written out for these columns.

    It takes four fifths of the time where rows are plain tuples, and a little longer where they are of a class.
    """
    row = "".join(f"value{position}, " for position in range(width))
    wrong = " or ".join(f"len(value{position}) != {size}" for position, size in sizes) or "False"
    source = f"""\
def in_order(rows):
    values = []
    extend = values.extend
    for row in rows:
        {row}= row
        if {wrong}:
            raise ValueError
        extend(row)
    return values
"""
    made: dict[str, Any] = {}
    exec(source, made)
    found: Callable[[Sequence[Any]], list[Any]] = made["in_order"]
    return found


class RowView(Sequence[R]):
    """A read-only sequence over the rows in ``data`` from ``start``.

    Equal to any sequence of equal rows. A slice is a view too, unless it has a step.
    """

    __slots__ = ("_count", "_data", "_layout", "_start")

    def __init__(self, layout: RowLayout[R], data: bytes, start: int, count: int) -> None:
        self._layout = layout
        self._data = data
        self._start = start
        self._count = count

    @property
    def layout(self) -> RowLayout[R]:
        """How its rows stand on the wire."""
        return self._layout

    @property
    def raw(self) -> bytes:
        """The rows' bytes, without a count."""
        return self._data[self._start : self._start + self._count * self._layout.size]

    def behind(self, prefix: bytes) -> bytes:
        """The rows' bytes behind ``prefix``; without copying, when that is how they came and all there was."""
        data, start = self._data, self._start
        before = start - len(prefix)
        if before >= 0 and data.startswith(prefix, before):
            return data[before : start + self._count * self._layout.size]
        return prefix + self.raw

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """The rows as plain tuples, in wire order and with bytes for hashes: several times faster than rows."""
        return self._layout.struct.iter_unpack(self.raw)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        return self._layout.build_all(self.tuples())

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...
    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        layout = self._layout
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            if step != 1:
                return [self[position] for position in range(start, stop, step)]
            return RowView(layout, self._data, self._start + start * layout.size, max(0, stop - start))
        position = as_index(index)
        if position < 0:
            position += self._count
        if not 0 <= position < self._count:
            raise IndexError(f"row {index} of {self._count}")
        return layout.read_one(self._data, self._start + position * layout.size)[0]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RowView) and other._layout is self._layout:
            return self.raw == other.raw
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(other) == self._count and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are tuples: they hold no payload."""
        return tuple, (tuple(self),)

    def __repr__(self) -> str:
        shown = [repr(row) for row in islice(self, 3)]
        if self._count > 3:
            shown.append(f"... {self._count} in all")
        return f"[{', '.join(shown)}]"


class Rows(Generic[R]):
    """The codec of a count and that many rows.

    :param layout: of a row, or a callable giving that of a protocol version.
    :param limit: the most rows.
    :param what: the rows' name in messages about them.
    :param send_limit: the most rows that soterd takes, where that is less.
    """

    def __init__(
        self,
        layout: RowLayout[R] | Callable[[int], RowLayout[R]],
        limit: int,
        what: str,
        send_limit: int | None = None,
    ) -> None:
        self._layout_at: Callable[[int], RowLayout[R]] = (
            (lambda pver: layout) if isinstance(layout, RowLayout) else layout
        )
        self.limit = limit
        self.what = what
        self.send_limit = limit if send_limit is None else send_limit

    def read(self, data: bytes, offset: int, pver: int) -> tuple[RowView[R], int]:
        count, offset = read_count(data, offset, self.limit, self.what)
        return read_rows(self._layout_at(pver), data, offset, count)

    def write(self, value: Sequence[R], pver: int) -> bytes:
        if len(value) > self.send_limit:
            raise FieldError("", value, f"at most {self.send_limit} {self.what} in a message, not {len(value)}")
        count = write_varint(len(value))
        layout = self._layout_at(pver)
        if isinstance(value, RowView) and value.layout is layout:
            return value.behind(count)
        return layout.pack(value, count)


def read_rows(layout: RowLayout[R], data: bytes, offset: int, count: int) -> tuple[RowView[R], int]:
    """A view of ``count`` rows, and the offset behind them.

    :raises MalformedMessage: when the payload is too short for them, or their padding is not zero.
    """
    end = offset + count * layout.size
    if end > len(data):
        raise ends_early()
    if layout.padding:
        for column in range(layout.size - layout.padding, layout.size):
            if any(data[offset + column : end : layout.size]):
                raise MalformedMessage("a byte that must be zero is not")
    return RowView(layout, data, offset, count), end


def write_rows(layout: RowLayout[R], rows: Sequence[R]) -> bytes:
    """The bytes of ``rows``, as they came if they are a view with this layout."""
    if isinstance(rows, RowView) and rows.layout is layout:
        return rows.raw
    return layout.pack(rows)


HASHES: RowLayout[Hash] = RowLayout((("", HASH),), build=lambda row: as_hash(row[0]), flatten=lambda value: (value,))
"""Bare hashes, 32 bytes each."""
