"""The folder of a connection: its name, and which of those in a directory are ours."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from txsoter.capture.records import NOTES, RECEIVED, SENT

__all__ = ["FILES", "folder_name", "is_ours", "size_on_disk", "time_text"]

FILES = (RECEIVED, SENT, NOTES)
"""All that there may be in a folder."""

_OURS = re.compile(r"\d{8}T\d{6}\.\d{6}Z_(?:in|out)bound_[A-Za-z0-9.-]+(?:_\d+)?(?:_part\d+)?(?:_\d+)?\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_BLOCK = 4096


def time_text(micros: int) -> str:
    """A time as people read it, UTC: ``2026-07-01 12:00:00.000000``; the number itself where no year is that late."""
    try:
        return f"{_EPOCH + timedelta(microseconds=micros):%Y-%m-%d %H:%M:%S.%f}"
    except OverflowError:
        return str(micros)


def folder_name(micros: int, address: str, inbound: bool, part: int = 1) -> str:
    """Time, direction and address: ``20260701T120000.000000Z_inbound_192.0.2.7_18555``; sorts by time.

    Of an address everything but letters, digits, dots and dashes is replaced, and it is cut.

    :param part: of the connection, with ``_part002`` and so on behind it.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal()):
        host, port = address, ""
    place = _UNSAFE.sub("-", host.strip("[]"))[:60].strip("-.") or "nowhere"
    moment = _EPOCH + timedelta(microseconds=micros)
    name = f"{moment:%Y%m%dT%H%M%S.%f}Z_{'in' if inbound else 'out'}bound_{place}{port and f'_{port[:5]}'}"
    return name if part == 1 else f"{name}_part{part:03}"


def is_ours(path: Path) -> bool:
    """Whether ``path`` is a folder that a capture has made."""
    return _OURS.match(path.name) is not None and not path.is_symlink() and path.is_dir()


def size_on_disk(sizes: dict[str, int]) -> int:
    """What a folder with files of these sizes takes: each of them, and the folder, whole blocks."""
    return _BLOCK + sum(-(-size // _BLOCK) * _BLOCK for size in sizes.values())
