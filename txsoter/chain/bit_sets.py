"""Sets of small whole numbers as integers: bit n is set when n is in the set."""

from __future__ import annotations

__all__ = ["PackedSet", "from_members", "lowest", "members", "pack", "unpack"]

PackedSet = tuple[int, int]
"""A set as it is kept: its lowest member, and the set without the zeros below. Sets of recent blocks take few bytes."""


def pack(bits: int) -> PackedSet:
    """Return a set as it is kept."""
    low = (bits & -bits).bit_length() - 1 if bits else 0
    return low, bits >> low


def unpack(packed: PackedSet) -> int:
    """Return a set that was kept."""
    low, bits = packed
    return bits << low


def members(bits: int) -> list[int]:
    """Return the members of a set, ascending."""
    low, bits = pack(bits)
    text = bin(bits)[:1:-1]
    found = []
    at = text.find("1")
    while at >= 0:
        found.append(low + at)
        at = text.find("1", at + 1)
    return found


def lowest(bits: int, count: int) -> list[int]:
    """Return the lowest ``count`` members of a set, or all of them where it has fewer."""
    found: list[int] = []
    while bits and len(found) < count:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found


def from_members(found: list[int]) -> int:
    """Return the set of these members."""
    if not found:
        return 0
    low, high = min(found), max(found)
    digits = ["0"] * (high - low + 1)
    for each in found:
        digits[high - each] = "1"
    # a text of digits is read faster than bits are added one by one
    return int("".join(digits), 2) << low
