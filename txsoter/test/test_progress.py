"""Tests of :mod:`txsoter.progress`."""

from __future__ import annotations

import io
from unittest import TestCase

from txsoter.progress import Progress


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


class ProgressTests(TestCase):
    def test_on_a_terminal_a_line_that_changes(self) -> None:
        """Not more than ten times a second, and taken away at the end; nowhere else anything."""
        now = [0.0]
        for stream, shown in ((Terminal(), "\rone\rthree\r     \r"), (io.StringIO(), "")):
            now[0] = 0.0
            with Progress(stream, lambda: now[0]) as progress:
                for text, time in (("one", 1.0), ("two", 1.05), ("three", 1.1)):
                    now[0] = time
                    progress.show(lambda text=text: text)  # type: ignore[misc]
            self.assertEqual(stream.getvalue(), shown)

    def test_a_stage_is_shown_at_once(self) -> None:
        """It may last, and what was shown just before would be taken for it."""
        for stream, shown in ((Terminal(), "\rone\rtwo\r   \r"), (io.StringIO(), "")):
            with Progress(stream, lambda: 1.0) as progress:
                progress.show(lambda: "one")
                progress.stage("two")
            self.assertEqual(stream.getvalue(), shown)
