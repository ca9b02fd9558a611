"""Writes the kept corpus anew: one small input for each kind of message and of thing that happens.

::

    python fuzz/seeds.py

The payloads are the smallest of the reference codec's vectors, which the tests carry. What fuzzing adds to a corpus is
not kept, but for inputs that have found something: their names begin with ``found-``, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import connection
import golomb_filter
import partial_merkle
import peer
from pieces import PROTOCOL_VERSIONS, RAW, UNKNOWN, Piece, framed, joined, kind_of

from txsoter.test import vectors
from txsoter.testing import remote_version
from txsoter.wire import Encoding, Hash, InventoryVector, NotFound, Reject

__all__ = ["CORPUS", "seeds", "write"]

CORPUS = Path(__file__).parent / "corpus"

MOST = 400
"""The largest payload, in bytes."""


def smallest() -> dict[str, vectors.Row]:
    """The smallest vector of each command that is not empty, if it can be otherwise."""
    found: dict[str, vectors.Row] = {}
    for row in sorted(vectors.valid(), key=lambda each: len(each["raw"])):
        known = found.get(row["cmd"])
        if known is None or len(known["raw"]) <= 26 < len(row["raw"]) <= 24 + MOST:
            found[row["cmd"]] = row
    return found


def of_frame_decoder() -> Iterator[tuple[str, bytes]]:
    """Inputs of the target ``frame_decoder``."""

    def settings(pver: int, encoding: Encoding, cut: int = 0) -> bytes:
        nearest = min(PROTOCOL_VERSIONS, key=lambda each: (each > pver, abs(each - pver)))
        return bytes((PROTOCOL_VERSIONS.index(nearest), tuple(Encoding).index(encoding), cut, 0))

    rows = smallest()
    for command, row in rows.items():
        yield command, joined(settings(row["pver"], row["enc"]), [Piece(kind_of(command), row["raw"][24:])])
    witness = min((row for row in vectors.valid() if has_witness(row)), key=lambda row: len(row["raw"]))
    newest = settings(PROTOCOL_VERSIONS[0], Encoding.WITNESS, 7)
    yield "witness", joined(newest, [Piece(kind_of("tx"), witness["raw"][24:])])
    ping = framed(Piece(kind_of("ping"), bytes(8)))
    long_ping = ping[:16] + (33 << 20).to_bytes(4, "little") + ping[20:]
    rubbish = [ping[:-1] + b"x", b"GET / HTTP/1.1\r\n\r\n".ljust(24), long_ping[:24], ping[:20]]
    pieces = [Piece(UNKNOWN, b"what".ljust(12, b"\0") + b"ever"), *[Piece(RAW, each) for each in rubbish]]
    yield "rubbish", joined(newest, pieces)


def has_witness(row: vectors.Row) -> bool:
    return row["cmd"] == "tx" and row["enc"] is Encoding.WITNESS and row["raw"][28:30] == b"\0\1"


def of_peer() -> Iterator[tuple[str, bytes]]:
    """Inputs of the target ``peer``."""
    version = remote_version().to_payload()
    hello = [Piece(kind_of("version"), version), Piece(kind_of("verack"), b"")]
    inbound, bloom, small, bystander = 1, 32, 64, 64

    def settings(
        flags: int = 0, more: int = 0, chunk: int = 0, turns: int = 0, says_hello: bool = True, limits: int = 0
    ) -> bytes:
        return bytes((flags, more, limits, len(PROTOCOL_VERSIONS) if says_hello else 0, chunk, turns, 0))

    def event(happens: Callable[[peer.Conversation, bytes], None], *arguments: int) -> Piece:
        return Piece(RAW + 1 + peer.EVENTS.index(happens), bytes(arguments))

    for number, (command, row) in enumerate(smallest().items()):
        said = Piece(kind_of(command), row["raw"][24:])
        yield command, joined(settings(number % 2 | bloom, turns=number % 10), [said])
    minute, talk = event(peer.Conversation.time_passes, 6), peer.Conversation
    for flags in (0, inbound):
        yield f"handshake-{flags}", joined(settings(flags, says_hello=False), hello)
        yield f"slow-{flags}", joined(settings(flags, bystander, 1, says_hello=False), [hello[0], minute])
    for number, happens in enumerate(peer.EVENTS):
        pieces = [event(happens, argument, 1, 2, 3) for argument in (0, 3, 4)]
        yield f"event-{happens.__name__}", joined(settings(small * (number % 2), bystander), [*pieces, minute])
    ping, goes_on = Piece(kind_of("ping"), bytes(8)), event(talk.listener_goes_on, 0)
    for turn in range(1, 10):
        pieces = [ping, ping, event(talk.time_passes, 2), goes_on, goes_on]
        yield f"listener-{turn}", joined(settings(turn % 2, turns=17 * turn), pieces)
    vector = InventoryVector(2, bytes([1]) * 32, 2)
    answers = [NotFound([vector]), Reject(b"getdata", 1, b"no"), Reject(b"block", 1, b"no", Hash(bytes([1]) * 32))]
    for number, answer in enumerate(answers):
        said = Piece(kind_of(answer.command), answer.to_payload())
        yield f"answer-{number}", joined(settings(), [event(talk.application_asks, 2, 1, 2, 0), said])
    block, pong = (Piece(kind_of(name), smallest()[name]["raw"][24:]) for name in ("block", "pong"))
    for how in (0, 2, 3):
        yield f"asked-{how}", joined(settings(), [event(talk.application_asks, 2, 1, 2, how), block])
    right = Piece(kind_of("pong"), (2).to_bytes(8, "little"))
    yield "asked-ping", joined(settings(), [event(talk.application_acts, 8), pong, right])
    stops = event(talk.remote_stops_reading)
    much = [stops, *[event(talk.application_sends_much, 200)] * 9, event(talk.time_passes, 7), stops]
    yield "much-to-send", joined(settings(0, bystander), much)
    yield "much-to-send-in-chunks", joined(settings(0, 0, 5), much[1:4])
    fills = [stops, *[event(talk.application_acts, 7)] * 6, ping, minute, stops]
    yield "full-queue", joined(settings(small, bystander), fills)
    yield "rate", joined(settings(limits=3), [ping] * 9 + [minute])
    large = Piece(UNKNOWN, b"what".ljust(12, b"\0") + bytes(900))
    yield "budget", joined(settings(0, bystander, turns=2, limits=4), [ping, *[large] * 2, *fills[:4]])
    yield "no-height", joined(settings(0, 128), [])
    yield "unknown", joined(settings(8), [Piece(UNKNOWN, b"what".ljust(12, b"\0"))])
    yield "rubbish", joined(settings(), [Piece(RAW, b"GET / HTTP/1.1\r\n\r\n")])
    yield "forgiven", joined(settings(2, 16), [Piece(kind_of("ping"), b"short"), ping])


def of_connection() -> Iterator[tuple[str, bytes]]:
    """Inputs of the target ``connection``."""
    hello = [Piece(kind_of("version"), remote_version().to_payload()), Piece(kind_of("verack"), b"")]
    inbound, bloom, small, lazy, full, observed = 1, 32, 64, 1, 2, 28
    life = connection.Life

    def settings(
        flags: int = 0, more: int = 0, manners: int = 0, turns: int = 0, says_hello: bool = True, limits: int = 0
    ) -> bytes:
        return bytes((flags, more, limits, len(PROTOCOL_VERSIONS) if says_hello else 0, manners, turns, 0))

    def event(happens: Callable[[connection.Life, bytes], None], *arguments: int) -> Piece:
        return Piece(RAW + 1 + connection.EVENTS.index(happens), bytes(arguments))

    for number, (command, row) in enumerate(smallest().items()):
        said = Piece(kind_of(command), row["raw"][24:])
        yield command, joined(settings(number % 2 | bloom, manners=observed * (number % 3), turns=number % 11), [said])
    ping, turn, minute = Piece(kind_of("ping"), bytes(8)), event(life.turns_come), event(life.time_passes, 7)
    for flags in (0, inbound):
        yield f"handshake-{flags}", joined(settings(flags, says_hello=False), hello)
        yield f"late-{flags}", joined(settings(flags, manners=lazy, says_hello=False), [*hello, ping, turn])
    for number, happens in enumerate(connection.EVENTS):
        pieces = [event(happens, argument, 1, 2, 3) for argument in (0, 3, 4)]
        yield f"event-{happens.__name__}", joined(settings(small * (number % 2), manners=number % 4), [*pieces, minute])
    for turns in range(1, 11):
        done = [event(life.time_passes, 2), event(life.handler_is_done)]
        yield f"handler-{turns}", joined(settings(turns % 2, turns=17 * turns), [ping, ping, *done])
    much = [event(life.application_sends, 2, 0, 200)] * 3
    yield "much-to-send", joined(settings(manners=full), [*much, minute, event(life.transport_has_room, 1), minute])
    yield "full-queue", joined(settings(small, manners=full), [*much, *[ping] * 3, event(life.closes, 1), minute])
    yield "rate", joined(settings(limits=3), [ping] * 9 + [minute])
    asked = [event(life.application_asks, 2, 1, 1, how) for how in (0, 2, 3, 4)]
    block = Piece(kind_of("block"), smallest()["block"]["raw"][24:])
    yield "asked", joined(settings(manners=lazy), [*asked, turn, block, event(life.application_gives_up), minute, turn])
    yield "no-height", joined(settings(0, 128), [])
    yield (
        "rubbish",
        joined(settings(), [Piece(UNKNOWN, b"what".ljust(12, b"\0")), Piece(RAW, b"GET / HTTP/1.1\r\n\r\n")]),
    )


def of_partial_merkle() -> Iterator[tuple[str, bytes]]:
    """Inputs of the target ``partial_merkle``."""

    def tree(total: int, bits: bytes, *hashes: bytes) -> bytes:
        pieces = [Piece(partial_merkle.BITS, bits), *[Piece(partial_merkle.HASH, each) for each in hashes]]
        return joined(total.to_bytes(2, "little"), pieces)

    yield "empty", tree(0, b"")
    yield "one", tree(1, b"\1", b"a")
    yield "none-of-many", tree(9, b"\0", b"a")
    yield "all-of-two", tree(2, b"\7", b"a", b"b")
    yield "first-of-three", tree(3, b"\7", b"a", b"b", b"c")
    yield "last-of-three", tree(3, b"\x0d", b"a", b"b")
    yield "equal-siblings", tree(2, b"\7", b"a", b"a")
    yield "most", tree(partial_merkle.partial_merkle.MAX_PROVEN_TRANSACTIONS, b"\0", b"a")
    yield "too-many", tree(partial_merkle.partial_merkle.MAX_PROVEN_TRANSACTIONS + 1, b"\0", b"a")
    yield "unused-bits", tree(1, b"\1\0", b"a")
    yield "unused-hashes", tree(5, b"\0", b"a", b"b")
    for matched in (b"\1", b"\0\1", bytes(7), b"\1" * 11, b"\0\0\1\0\0\0\1" * 9):
        yield f"built-{len(matched)}", joined(b"\0\0", [Piece(partial_merkle.BUILT, matched)])


def of_golomb_filter() -> Iterator[tuple[str, bytes]]:
    """Inputs of the target ``golomb_filter``."""
    codes, item = golomb_filter.CODES, golomb_filter.ITEM
    basic = bytes((18, 0, 8, 1))
    narrow = bytes((0, 3, 0, 1))
    yield "nothing", joined(basic, [Piece(codes, b"\0")])
    yield "items", joined(basic, [Piece(item, each) for each in (b"", b"a", b"a", b"script" * 9)])
    yield "one", joined(basic, [Piece(codes, b"\1" + bytes(3)), Piece(item, b"a")])
    yield "ones", joined(narrow, [Piece(codes, b"\3\xc8\x40")])
    yield "cut-short", joined(basic, [Piece(codes, b"\1\xff\xff\xff")])
    yield "out-of-range", joined(narrow, [Piece(codes, b"\2\xff\xfe\0")])
    yield "bytes-behind", joined(basic, [Piece(codes, b"\1" + bytes(9))])
    yield "too-many", joined(basic, [Piece(codes, b"\xff" + bytes(9))])
    yield "wide", joined(bytes((31, 255, 255, 7)), [Piece(codes, b"\1" + bytes(5)), Piece(item, b"a")])


def seeds() -> dict[str, dict[str, bytes]]:
    """The inputs of each target, by name."""
    return {
        "connection": dict(of_connection()),
        "frame_decoder": dict(of_frame_decoder()),
        "golomb_filter": dict(of_golomb_filter()),
        "partial_merkle": dict(of_partial_merkle()),
        "peer": dict(of_peer()),
    }


def write() -> None:
    """Write the corpus, and remove what is no longer in it."""
    for target, inputs in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not path.name.startswith("found-"):
                path.unlink()
        for name, data in inputs.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    write()
