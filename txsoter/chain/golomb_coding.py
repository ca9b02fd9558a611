"""Golomb-Rice codes of the differences of ascending numbers, as filters have them (BIP158).

A difference is divided by 2^p: its code is the quotient in ones, a zero, and the remainder in p bits. The last byte is
filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Iterable

from txsoter.errors import InvalidProof

__all__ = ["decode", "encode"]


def encode(values: Iterable[int], p: int) -> bytes:
    """Return the codes of ``values``, which ascend from 0."""
    low = (1 << p) - 1
    previous = 0
    codes = []
    for value in values:
        difference = value - previous
        previous = value
        # cut off is the 1 that keeps the zero and those of the remainder
        codes.append("1" * (difference >> p) + bin(2 << p | difference & low)[3:])
    bits = "".join(codes)
    size = (len(bits) + 7) // 8
    return int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big") if bits else b""


def decode(coded: bytes, count: int, p: int, span: int) -> list[int]:
    """Return the numbers in ``coded``, ascending.

    :param count: their number; nothing is allocated for more than fit.
    :param span: each must be below it.
    :raises InvalidProof: when they end early, are out of range, or have bytes behind them. The bits that fill up the
        last byte may be anything, as in Bitcoin Core.
    """
    room = len(coded) * 8
    if count * (p + 1) > room:
        raise InvalidProof("count of items", f"{count} items of {p + 1} bits or more in {room} bits")
    # text is searched and cut without a loop; the 1 in front keeps leading zeros
    bits = bin(int.from_bytes(b"\1" + coded, "big"))[3:]
    values: list[int] = []
    value = offset = 0
    for _ in range(count):
        stop = bits.find("0", offset)
        end = stop + 1 + p
        if stop < 0 or end > room:
            raise InvalidProof("length of the filter", f"it ends inside of item {len(values)} of {count}")
        value += (stop - offset) << p | int(bits[stop + 1 : end], 2)
        if value >= span:
            raise InvalidProof("range of the filter", f"item {len(values)} is {value}, must be below {span}")
        values.append(value)
        offset = end
    if room - offset >= 8:
        raise InvalidProof("length of the filter", f"{(room - offset) // 8} bytes behind its {count} items")
    return values
