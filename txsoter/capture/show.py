"""``show``: conversations as a table for people, or as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from txsoter.capture.conversations import Conversation, Item, Reader
from txsoter.capture.folders import time_text
from txsoter.capture.plain import plain
from txsoter.core.log_text import hex_dump, summary
from txsoter.core.sanitize import sanitize
from txsoter.errors import MalformedMessage
from txsoter.networks import Network
from txsoter.wire import Encoding, Message

__all__ = ["Row", "Shown", "json_lines", "read_rows", "table_lines"]

ARROWS = {"recv": "<", "sent": ">"}
"""Towards us, and away from us."""

MAX_PARSED = 4096
"""Characters of a parsed message in the table; JSON has all of it."""


@attrs.frozen
class Shown:
    """What is shown.

    :ivar commands: none for all.
    :ivar directions: ``recv``, ``sent`` or both.
    :ivar full: messages with everything in them.
    :ivar hex: payloads.
    :ivar network: if it is known better than the capture does; likewise the next two.
    """

    commands: frozenset[str] = frozenset()
    directions: frozenset[str] = frozenset(ARROWS)
    full: bool = False
    hex: bool = False
    network: Network | None = None
    pver: int | None = None
    encoding: Encoding | None = None


@attrs.frozen
class Row:
    """A message, read; or a note."""

    conversation: str
    item: Item
    message: Message | None = None
    error: str | None = None


def read_rows(conversation: Conversation, shown: Shown) -> Iterator[Row]:
    """A conversation's messages and notes, by time.

    :raises CaptureError: for what cannot be read.
    """
    reader = Reader(conversation.opening(), shown.network, shown.pver, shown.encoding)
    for item in conversation.items():
        if item.record is None or item.direction is None:
            if not shown.commands:
                yield Row(conversation.name, item)
            continue
        message, error = None, None
        try:
            # those that are not shown too: a version says how to read the others
            wanted = not shown.commands or item.record.name in shown.commands
            if wanted or item.record.name == "version":
                message = reader.read(item.direction, item.record)
        except MalformedMessage as problem:
            error = sanitize(problem.reason)
        if wanted and item.direction in shown.directions:
            yield Row(conversation.name, item, message, error)


def table_lines(rows: Iterable[Row], shown: Shown) -> Iterator[str]:
    """Rows for people: time, direction, command, bytes, and what the message says."""
    for row in rows:
        item, record = row.item, row.item.record
        if record is None or item.direction is None:
            yield f"{time_text(item.time)}  -  {_note_text(item.note)}"
            continue
        words = _words(row)
        name = sanitize(record.name, 12)
        yield f"{time_text(item.time)}  {ARROWS[item.direction]}  {name:<12} {len(record.payload):>8}  {words}".rstrip()
        if shown.full and row.message is not None:
            yield f"    {sanitize(repr(row.message), MAX_PARSED)}"
        if shown.hex and record.payload:
            yield from (f"    {line}" for line in hex_dump(record.payload).splitlines())


def _words(row: Row) -> str:
    if row.error is not None:
        return f"MALFORMED: {row.error}"
    return "" if row.message is None else summary(row.message)


def _note_text(note: dict[str, Any]) -> str:
    rest = ", ".join(f"{key} {_value(value)}" for key, value in note.items() if key not in ("time", "note"))
    return sanitize(f"{note['note']}: {rest}" if rest else note["note"])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_value(each)}" for key, each in value.items()) + ")"
    return str(value)


def json_lines(rows: Iterable[Row], shown: Shown) -> Iterator[str]:
    """Rows as JSON, one object a line: notes have ``note``, messages ``command``."""
    for row in rows:
        yield json.dumps(_as_json(row, shown))


def _as_json(row: Row, shown: Shown) -> dict[str, Any]:
    item, record = row.item, row.item.record
    where = {"connection": row.conversation, "time": _json_time(item.time), "micros": item.time}
    if record is None:
        return {**where, **{key: value for key, value in item.note.items() if key not in where}}
    line: dict[str, Any] = {**where, "direction": item.direction, "command": record.name, "bytes": len(record.payload)}
    if row.error is not None:
        line["malformed"] = row.error
    elif row.message is not None:
        line["summary"] = summary(row.message)
        if shown.full:
            line["message"] = plain(row.message)
    if shown.hex:
        line["payload"] = record.payload.hex()
    return line


def _json_time(micros: int) -> str:
    text = time_text(micros)
    return f"{text.replace(' ', 'T')}Z" if " " in text else text


FORMATS: dict[bool, Callable[[Iterable[Row], Shown], Iterator[str]]] = {False: table_lines, True: json_lines}
"""The lines of rows, by whether they are to be JSON."""
