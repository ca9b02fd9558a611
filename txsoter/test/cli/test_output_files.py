"""Files that subcommands write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from txsoter.cli.output_files import check_writable, write_file

FULL = Path("/dev/full")


def test_written(tmp_path: Path) -> None:
    """New, again, and where a link leads; line ends are not translated, and nothing else is left."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    for path, text in ((tmp_path / "file", "one\r\n"), (link, "\u00e9\n")):
        check_writable(path)
        write_file(path, text)
        assert (tmp_path / "file").read_bytes() == text.encode()
    assert link.is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"file", "link"}


def test_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "x" * 100_000 + "\ud800")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_check(tmp_path: Path) -> None:
    """What could not be written is told of by its own name, and nothing is made."""
    (tmp_path / "file").touch()
    for path, error in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "none" / "file", FileNotFoundError),
        (tmp_path / "file" / "file", NotADirectoryError),
    ):
        with pytest.raises(error) as found:
            check_writable(path)
        assert found.value.filename == str(path) or found.value.filename == path
    check_writable(tmp_path / "new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_devices_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    null, pipe = Path(os.devnull), tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in (null, pipe):
            check_writable(path)
            write_file(path, "text")
            assert not path.is_file()
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is full")
def test_full_disk() -> None:
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        write_file(FULL, "x" * 100_000)
