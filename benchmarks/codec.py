"""Bytes to messages and back, without any connection."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.children import Child
from benchmarks.competitors import NAMES, Competitor, available
from benchmarks.inputs import MAGIC, SAMPLES, Sample
from benchmarks.measure import Report, Row, collect, progress_bar, take_turns, time_call
from benchmarks.reference import Reference
from txsoter.wire import Encoding, Inv, Message, Version, read_message, write_message
from txsoter.wire.message import field_codecs

__all__ = ["run"]

FLOOR = "SHA-256 twice"
"""The floor: double SHA-256 of the same payload, which no implementation can do without."""

OURS = "txsoter"

REFERENCE = "reference"
"""Another implementation, given as a program: see :mod:`benchmarks.reference`."""


def run(rounds: int, quick: bool, reference: str | None = None) -> Report:
    """Measure every sample, beside whoever else is installed.

    :param reference: a program to measure in turn with it, as a shell would have it.
    """
    with ExitStack() as stack:
        running = None
        if reference is not None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            try:
                if not shlex.split(reference):
                    raise ValueError("no program")
                running = Reference(stack.enter_context(Child(program=shlex.split(reference))), folder)
            except (OSError, ValueError) as error:
                raise SystemExit(f"--reference: cannot run {reference!r}: {error}") from None
        return _run(rounds, quick, running)


def _run(rounds: int, quick: bool, reference: Reference | None) -> Report:
    others = available()
    lacking = [name for name in NAMES if name not in {other.name for other in others}]
    report = Report(
        "codec",
        (
            OURS,
            FLOOR,
            "x floor",
            *(other.name for other in others),
            "best other / ours",
            *(("Go reference", "Go / ours") if reference is None else (REFERENCE, "reference / ours")),
        ),
    )
    budget = 0.0005 if quick else 0.02
    cases = [case for sample in SAMPLES for case in _cases(sample, others, quick)]
    runs = [{column: time_call(call, budget) for column, call in case.calls.items()} for case in cases]
    if reference is not None:
        for case, columns in zip(cases, runs, strict=True):
            if case.frame:
                columns[REFERENCE] = reference.case(case.verb, case.frame, case.encoding, budget)
    with progress_bar() as progress:
        task = progress.add_task("codec", total=len(cases) * rounds)
        measured = take_turns(runs, rounds, lambda: progress.advance(task))
    for case, results in zip(cases, measured, strict=True):
        report.rows.append(_row(case.name, None if quick else case.reference, collect(results, "us")))
    report.notes = [
        "Microseconds, framing and checksum included: median and half of least to greatest of the rounds; garbage "
        "collection off.",
        "Other libraries: Bitcoin's message that is like it; inventory entries are 36 bytes there, not 40, and blocks "
        "have no parents and cycle nonces. python-bitcoinlib's headers lack the count behind each; its blocks include "
        "their merkle tree. btclib without its validity checks. bitcoinx has no framing, and knows few messages.",
        "Go reference: constants from the design page, taken on another day on a machine of this kind; decoding only."
        if reference is None
        else "reference: the program given, in turn with the others; to send on, it encodes its objects again.",
        "Sent on: encoding of a message that was decoded and not changed.",
        "txsoter checks all of a message when it decodes it, and makes objects of its fields when they are looked at: "
        "each of a version's is in a line of its own.",
    ]
    if lacking:
        report.notes.append(f"Not installed, so not measured: {', '.join(lacking)}.")
    return report


def _row(name: str, reference: float | None, figures: Mapping[str, Any]) -> Row:
    row = Row(name, "us", dict(figures))
    ours = figures[OURS]
    row.values["x floor"] = ours.over(figures[FLOOR])
    ratios = [figure.over(ours) for column, figure in figures.items() if column not in (OURS, FLOOR, REFERENCE)]
    if ratios:
        row.values["best other / ours"] = min(ratios)
    if reference is not None:
        row.values["Go reference"] = reference
        row.values["Go / ours"] = reference / ours.median
    if REFERENCE in figures:
        row.values["reference / ours"] = figures[REFERENCE].over(ours)
    return row


class Case(NamedTuple):
    """One line of the table.

    :param reference: the constant of the Go reference.
    :param verb: what a reference program does for it; it gets the ``frame``.
    """

    name: str
    calls: Mapping[str, Callable[[], object]]
    reference: float | None = None
    verb: str = ""
    frame: bytes = b""
    encoding: Encoding = Encoding.BASE


def _cases(sample: Sample, others: list[Competitor], quick: bool) -> Iterator[Case]:
    built = sample.build(quick)
    encoding = sample.encoding
    frame = write_message(built, MAGIC, encoding=encoding)
    payload = frame[24:]
    decoded, used = read_message(frame, MAGIC, encoding=encoding)
    if used != len(frame) or decoded != built:
        raise AssertionError(f"{sample.name}: decoding does not give what was encoded")
    # one that nobody has looked at
    decoded, _ = read_message(frame, MAGIC, encoding=encoding)
    floor = {FLOOR: lambda: sha256(sha256(payload).digest()).digest()}
    theirs = list(_theirs(sample, built, others))

    yield Case(
        f"decode {sample.name}",
        {
            OURS: lambda: read_message(frame, MAGIC, encoding=encoding),
            **floor,
            **{other.name: _bind(other.codecs[command][0], raw) for other, command, raw, _ in theirs},
        },
        sample.reference,
        "decode",
        frame,
        encoding,
    )
    if sample.name == "inv of 1000":
        yield from _reading(frame, floor, theirs)
    if sample.name == "version":
        look = attrgetter(*(name for name, _ in field_codecs(Version)))
        yield Case("version, each field", {OURS: lambda: look(read_message(frame, MAGIC)[0]), **floor})
    yield Case(
        f"encode {sample.name}",
        {
            OURS: lambda: write_message(built, MAGIC, encoding=encoding),
            **floor,
            **{
                other.name: _bind(encode, message)
                for other, command, _, message in theirs
                if (encode := other.codecs[command][1]) is not None
            },
        },
        None,
        "encode",
        frame,
        encoding,
    )
    on = {OURS: lambda: write_message(decoded, MAGIC, encoding=encoding), **floor}
    yield Case(f"sent on {sample.name}", on, None, "encode", frame, encoding)


def _bind(function: Callable[[Any], object], value: object) -> Callable[[], object]:
    return lambda: function(value)


def _theirs(sample: Sample, built: Message, others: list[Competitor]) -> Iterator[tuple[Competitor, str, bytes, Any]]:
    """Who has a message like it, with its frame and the message decoded from that, found to be encoded back to it."""
    if sample.like is None:
        return
    command = built.command
    payload = sample.like(built)
    for other in others:
        if command not in other.codecs:
            continue
        if other.name == "bitcoinx" and sample.encoding.name == "WITNESS":
            continue  # it knows no witnesses
        frame = other.frame(command, payload)
        decode, encode = other.codecs[command]
        message = decode(frame)
        if encode is not None and encode(message) != frame:
            raise AssertionError(f"{other.name}: {sample.name} is not encoded back to what was decoded")
        yield other, command, frame, message


def _reading(
    frame: bytes, floor: Mapping[str, Callable[[], object]], theirs: list[tuple[Competitor, str, bytes, Any]]
) -> Iterator[Case]:
    """Decoding an inv and looking at each of its vectors."""

    def by_rows() -> None:
        message, _ = read_message(frame, MAGIC)
        assert isinstance(message, Inv)
        for vector in message.vectors:
            _ = vector.type, vector.hash, vector.height

    def by_unpacking() -> None:
        message, _ = read_message(frame, MAGIC)
        assert isinstance(message, Inv)
        for _kind, _hash, _height in message.vectors:
            pass

    def by_tuples() -> None:
        message, _ = read_message(frame, MAGIC)
        assert isinstance(message, Inv)
        for _kind, _hash, _height in message.vectors.tuples():  # type: ignore[attr-defined]
            pass

    others: dict[str, Callable[[], object]] = {}
    for other, command, raw, _ in theirs:
        if other.read is not None:
            others[other.name] = _read_by(other.codecs[command][0], other.read, raw)
    yield Case("inv of 1000, each vector's fields", {OURS: by_rows, **floor, **others})
    yield Case("inv of 1000, rows unpacked", {OURS: by_unpacking, **floor, **others})
    yield Case("inv of 1000, .tuples() unpacked", {OURS: by_tuples, **floor, **others})


def _read_by(decode: Callable[[bytes], Any], read: Callable[[Any], None], frame: bytes) -> Callable[[], None]:
    return lambda: read(decode(frame))
