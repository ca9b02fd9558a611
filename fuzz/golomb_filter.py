"""Fuzz target: Golomb filters, whose bytes a remote sends.

::

    python fuzz/golomb_filter.py fuzz/corpus/golomb_filter -max_total_time=60

Any bytes are refused as :exc:`~txsoter.errors.InvalidProof`, or are a filter: the numbers in it are those that a reader
of single bits finds, and are coded to the same bits again. A filter that is built of items has each of them, also after
it was written and read.
"""

from __future__ import annotations

from launch import launch
from pieces import mutated, parsed

from txsoter.chain import GolombFilter, golomb_coding
from txsoter.errors import InvalidProof
from txsoter.wire.codec import write_varint

__all__ = ["KINDS", "SETTINGS", "mutated", "one_input"]

SETTINGS = 4
"""Bytes before the pieces: ``p``, two of ``m``, and the key's."""

CODES, ITEM = 0, 1
"""The kinds of pieces: a count and what follows the count in a filter; an item."""

KINDS = 2


def one_input(data: bytes) -> None:
    """Whatever ``data`` is, nothing is raised: unless txsoter is wrong."""
    settings, pieces = parsed(data, SETTINGS)
    p = settings[0] % 32 + 1
    # differences of few ones: as many as there are bits could be coded, in as long a time
    m = 1 + int.from_bytes(settings[1:3], "little") % (4 << min(p, 16))
    key = settings[3:] * 16
    items = [each.body for each in pieces if each.kind % KINDS == ITEM]
    for each in pieces:
        if each.kind % KINDS == CODES and each.body:
            read(each.body[0], each.body[1:], key, p, m, items)
    built = GolombFilter.build(key, items, p, m)
    again = GolombFilter.from_bytes(bytes(built), key, p, m)
    for item in items:
        assert item in built, "an item is not in the filter that was built of it"
        assert item in again, "an item is lost when its filter is written and read"
    assert built.match_any(items) == again.match_any(items) == bool(items)


def read(count: int, codes: bytes, key: bytes, p: int, m: int, items: list[bytes]) -> None:
    """Read a filter of ``count`` items in ``codes``."""
    whole = write_varint(count) + codes
    expected = numbers(codes, count, p, count * m)
    try:
        found = golomb_coding.decode(codes, count, p, count * m)
        each = GolombFilter.from_bytes(whole, key, p, m)
    except InvalidProof:
        assert expected is None, "a filter is refused that is one"
        return
    assert found == expected, "the numbers are others than those that are coded"
    assert bytes(each) == whole
    each.match_any(items)
    coded = golomb_coding.encode(found, p)
    assert coded[:-1] == codes[: len(coded)][:-1], "the numbers are coded otherwise"
    assert len(coded) == len(codes), "the numbers are coded in more bytes or fewer"


def numbers(codes: bytes, count: int, p: int, span: int) -> list[int] | None:
    """The numbers in a filter, bit by bit; None if it is none."""
    bits = [byte >> 7 - at & 1 for byte in codes for at in range(8)]
    found: list[int] = []
    at = value = 0
    for _ in range(count):
        while at < len(bits) and bits[at]:
            value += 1 << p
            at += 1
        at += 1
        if at + p > len(bits):
            return None
        value += sum(bit << p - 1 - place for place, bit in enumerate(bits[at : at + p]))
        at += p
        if value >= span:
            return None
        found.append(value)
    return found if len(bits) - at < 8 else None


if __name__ == "__main__":
    launch(__file__)
