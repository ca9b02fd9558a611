"""A wall clock that a test sets for a program that runs, by libfaketime (Debian's ``libfaketime``)."""

from __future__ import annotations

from pathlib import Path

__all__ = ["LIBRARY", "FakedTime"]

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
"""The library, or None where it is not installed."""


class FakedTime:
    """The wall clock of a program: the real one, and what it was set by.

    :param folder: for the file that says how far it was set.
    :ivar environment: of the program.
    """

    def __init__(self, folder: Path) -> None:
        assert LIBRARY is not None, "libfaketime is not installed: apt-get install libfaketime"
        self._file = folder / "faketime"
        self._offset = 0
        self.step(0)
        self.environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # nobody can set that one
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, seconds: int) -> None:
        """Set it by so many seconds."""
        self._offset += seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._offset:+d}s\n")
        # at once: it is read at any time
        new.replace(self._file)
