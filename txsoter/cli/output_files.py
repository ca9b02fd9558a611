"""Files that subcommands write at their end: checked before the work begins, and never there in part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["check_writable", "write_file"]


def check_writable(path: Path) -> None:
    """Check that :func:`write_file` can write a file; nothing is left behind.

    :raises OSError: when it cannot, as for a folder, or a file in a folder that is not there.
    """
    if path.is_file() or not path.exists():
        try:
            with tempfile.TemporaryFile(dir=path.resolve().parent):
                return
        except OSError as error:
            raise _named(error, path) from None
    # "a" changes nothing in a device; a pipe would wait for its reader
    if not path.is_fifo():
        path.open("a").close()


def write_file(path: Path, text: str) -> None:
    """Write a file in UTF-8, line ends as they are; when that fails the file that was there before is kept.

    Pipes and devices are written to, not replaced.

    :raises OSError: when it cannot be written.
    """
    if path.exists() and not path.is_file():
        _write(path, text, path)
        return
    target = path.resolve()
    beside = target.with_name(f".{os.getpid()}.partial")
    try:
        _write(beside, text, path)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _write(path: Path, text: str, name: Path) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise _named(error, name) from None


def _named(error: OSError, path: Path) -> OSError:
    """Return the same error, of the file that the user has named."""
    return OSError(error.errno, error.strerror, str(path))
