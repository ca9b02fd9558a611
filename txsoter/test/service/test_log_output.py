"""Tests of :mod:`txsoter.service.log_output`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEvent

from txsoter.service.log_output import BURST_SECONDS, MAX_KINDS, TELL_SECONDS, LogFile, RateLimit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def log(folder: Path) -> Iterator[LogFile]:
    file = LogFile(str(folder / "soter.log"), max_bytes=1000, files=4)
    yield file
    file.close()


def line(number: int) -> str:
    return f"{number:099}\n"


def numbers(path: Path) -> list[int]:
    return [int(each) for each in path.read_text().splitlines()]


def test_files_are_set_aside_and_the_oldest_go(log: LogFile, folder: Path) -> None:
    for number in range(1000):
        log.write(line(number))
    names = ["soter.log", "soter.log.1", "soter.log.2", "soter.log.3"]
    assert sorted(each.name for each in folder.iterdir()) == names
    kept = [number for name in reversed(names) for number in numbers(folder / name)]
    assert kept == list(range(kept[0], 1000))
    assert sum(each.stat().st_size for each in folder.iterdir()) <= 4 * 1000


def test_a_file_that_is_there_is_continued(folder: Path) -> None:
    for number in range(2):
        file = LogFile(str(folder / "soter.log"))
        file.write(line(number))
        file.close()
    assert numbers(folder / "soter.log") == [0, 1]


def test_a_file_that_was_moved_is_opened_again(log: LogFile, folder: Path) -> None:
    """As logrotate does it."""
    log.write(line(1))
    (folder / "soter.log").rename(folder / "moved")
    log.write(line(2))
    log.reopen()
    log.write(line(3))
    assert (numbers(folder / "moved"), numbers(folder / "soter.log")) == ([1, 2], [3])


def test_a_moment_in_which_nothing_can_be_opened(log: LogFile, folder: Path) -> None:
    """What came then is lost and counted; what comes later is written."""
    for number in range(9):
        log.write(line(number))
    shutil.rmtree(folder)
    with pytest.raises(OSError):
        log.reopen()
    log.write(line(9))
    assert log.lost == 1
    folder.mkdir()
    log.write(line(10))
    assert numbers(folder / "soter.log") == [10]
    assert log.lost == 1


def test_setting_aside_without_a_descriptor(log: LogFile, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> Any:
        raise OSError(24, "Too many open files")

    for number in range(9):
        log.write(line(number))
    with monkeypatch.context() as patch:
        patch.setattr(log, "_open", lacking)
        log.write(line(9))
        log.write(line(10))
    log.write(line(11))
    assert log.lost == 2
    assert numbers(folder / "soter.log") == [11]


def test_a_folder_that_may_not_be_written_any_more(log: LogFile, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has given up root cannot set the file aside; it goes on writing to it."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    for number in range(50):
        log.write(line(number))
    assert numbers(folder / "soter.log") == list(range(50))
    assert log.lost == 0


class Lines:
    """A limited log on a clock."""

    def __init__(self, rate: float = 2) -> None:
        self.clock = Clock()
        self.passed: list[LogEvent] = []
        observer: Any = self.passed.append
        self.limit = RateLimit(observer, rate, self.clock.seconds)
        self.log = Logger("strangers", observer=self.limit)

    def taken(self) -> list[str]:
        taken, self.passed[:] = [formatEvent(each) for each in self.passed], []
        return taken


def test_a_burst_and_then_a_rate() -> None:
    lines = Lines()
    for number in range(1000):
        lines.log.info("from {number}", number=number)
    assert lines.taken() == [f"from {number}" for number in range(int(2 * BURST_SECONDS))]
    for number in range(40):
        lines.clock.advance(0.25)
        lines.log.info("from {number}", number=number)
    assert 18 <= len([each for each in lines.taken() if each.startswith("from")]) <= 21


def test_what_was_left_out_is_told_with_the_next_line_of_any_kind() -> None:
    lines = Lines()
    for _ in range(120):
        lines.log.info("{{a flood}}")
    lines.taken()
    lines.clock.advance(TELL_SECONDS)
    lines.log.info("another")
    assert lines.taken() == ["100 lines of strangers were left out: '{{a flood}}', over 2 a second", "another"]
    lines.clock.advance(TELL_SECONDS)
    lines.log.info("another")
    assert lines.taken() == ["another"]


def test_kinds_do_not_hide_each_other() -> None:
    lines = Lines()
    for _ in range(1000):
        lines.log.info("a flood")
    lines.taken()
    lines.log.warn("ours")
    Logger("others", observer=lines.limit).info("a flood")
    assert lines.taken() == ["ours", "a flood"]


def test_lines_that_are_made_up_do_not_fill_the_memory() -> None:
    """Of an application that formats them by itself."""
    lines = Lines()
    for number in range(3 * MAX_KINDS):
        lines.log.info(f"line {number}")
    assert len(lines.taken()) == 3 * MAX_KINDS
    assert len(lines.limit._kinds) <= MAX_KINDS
