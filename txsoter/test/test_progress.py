"""Tests of :mod:`txsoter.progress`."""

from __future__ import annotations

import io
from unittest import TestCase

from txsoter.progress import Progress, bar, duration


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

    def test_bar(self) -> None:
        """It is full at the total, and never fuller; there is none as long as the total is not known."""
        self.assertEqual(bar(0, 10), f"[{' ' * 24}]   0 %")
        self.assertEqual(bar(5, 10), f"[{'#' * 12}{' ' * 12}]  50 %")
        self.assertEqual(bar(9.99, 10), f"[{'#' * 23} ]  99 %")
        self.assertEqual(bar(11, 10), f"[{'#' * 24}] 100 %")
        self.assertEqual(bar(3, 0), "")

    def test_duration(self) -> None:
        given = (0, 59.9, 60, 3599, 3600, 100_000)
        self.assertEqual([duration(each) for each in given], ["0:00", "0:59", "1:00", "59:59", "1:00:00", "27:46:40"])
