"""``txsoter verify``."""

from __future__ import annotations

import gzip
import json
import re
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from txsoter.cli.verify import EPILOG
from txsoter.test.cli.support import command, run_main
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.wire import Block, Encoding

BLOCKS = [block for _, block in recorded()]
TIP = str(BLOCKS[-1].hash)


def write(path: Path, blocks: Iterable[Block]) -> Path:
    """Write blocks to a file, one behind the other."""
    path.write_bytes(b"".join(block.to_payload(encoding=Encoding.WITNESS) for block in blocks))
    return path


def verify(*arguments: object) -> tuple[int, list[str]]:
    """The exit status, and the lines that were printed."""
    status, out, err = run_main("verify", "--network", "simnet", *arguments)
    assert err == ""
    return status, out.splitlines()


def verify_json(*arguments: object) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """The exit status, the failures, and the summary."""
    status, lines = verify("--json", *arguments)
    *failures, summary = map(json.loads, lines)
    return status, failures, summary


def test_blocks_that_pass(tmp_path: Path) -> None:
    """Of several files, whose blocks build on each other's."""
    late, early = write(tmp_path / "late", BLOCKS[30:]), write(tmp_path / "early", BLOCKS[:40])
    status, lines = verify(late, early)
    assert status == 0
    assert lines == [
        "checked   63",
        "failed    0",
        "repeated  10",
        "blocks    54",
        "blue      54",
        "height    50",
        f"tip       {TIP}",
    ]
    assert verify_json(late, early) == (
        0,
        [],
        {
            "checked": 63,
            "failed": 0,
            "repeated": 10,
            "unreadable": 0,
            "others": 0,
            "blocks": 54,
            "waiting": 0,
            "height": 50,
            "tips": [TIP],
            "blue": 54,
            "missing": [],
        },
    )


def test_help_names_all_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "file", [*BLOCKS[:3], BLOCKS[4], Block()])
    _, failures, summary = verify_json(path, tmp_path / "none")
    assert len(failures) == 2
    keys = set().union(*failures, summary, *summary["missing"])
    assert keys - {"tips"} <= set(re.findall(r"\w+", EPILOG))


def test_a_block_that_fails(tmp_path: Path) -> None:
    """One line names the file, the position, the block and the rule; the others are checked."""
    false = Block(BLOCKS[3].header, 0, BLOCKS[3].parents, 0, BLOCKS[4].nonces, BLOCKS[3].transactions)
    path = write(tmp_path / "file", [*BLOCKS[:3], false, *BLOCKS[4:]])
    at = sum(len(block.to_payload(encoding=Encoding.WITNESS)) for block in BLOCKS[:3])
    status, lines = verify(path)
    assert status == 1
    assert lines[0].startswith(f"{path}, byte {at}: block {BLOCKS[3].hash}: ")
    assert lines[1:] == [
        "checked  53",
        "failed   1",
        "blocks   4",
        "blue     4",
        "height   3",
        f"tip      {BLOCKS[2].hash}",
        "waiting  49",
        f"missing  {BLOCKS[3].hash} failed, is a parent of {BLOCKS[4].hash}",
    ]
    status, (failure,), summary = verify_json(path)
    assert (status, summary["failed"], summary["waiting"]) == (1, 1, 49)
    assert (failure["file"], failure["byte"], failure["hash"]) == (str(path), at, str(BLOCKS[3].hash))
    assert lines[0].endswith(f": {failure['rule']}: {failure['reason']}")
    assert not failure["reason"].startswith(failure["rule"])
    assert summary["missing"] == [{"parent": str(BLOCKS[3].hash), "child": str(BLOCKS[4].hash), "failed": True}]


def test_missing_parents(tmp_path: Path) -> None:
    """They are named, and are no failure; of many, the first twenty."""
    status, lines = verify(write(tmp_path / "file", BLOCKS[1:]))
    assert status == 0
    assert lines[-2:] == ["waiting  52", f"missing  {BLOCKS[0].hash} is a parent of {BLOCKS[1].hash}"]
    status, lines = verify(write(tmp_path / "file", BLOCKS[1::2]))
    _, _, summary = verify_json(tmp_path / "file")
    missing = [line for line in lines if line.startswith("missing")]
    assert (status, len(missing)) == (0, 21)
    assert missing[-1] == f"missing  {len(summary['missing']) - 20} more, which --json names"
    assert [line.split()[1] for line in missing[:20]] == [each["parent"] for each in summary["missing"][:20]]


def test_a_file_that_cannot_be_read_to_its_end(tmp_path: Path) -> None:
    """The files behind it are checked; each is one line, and status 1."""
    whole = write(tmp_path / "whole", BLOCKS)
    lines = b"".join(block.to_payload().hex().encode() + b"\n" for block in BLOCKS)
    (tmp_path / "packed").write_bytes(gzip.compress(lines)[:-4])
    (tmp_path / "text").write_bytes(lines.replace(b"\n", b"\nx\n", 1))
    (tmp_path / "empty").touch()
    names = ("none", "packed", "text", "empty", "")
    status, lines_out = verify(*(tmp_path / name for name in names), whole)
    assert status == 1
    assert lines_out[:5] == [
        f"{tmp_path}/none, byte 0: cannot be read from here on: No such file or directory",
        f"{tmp_path}/packed, line 53: cannot be read from here on: "
        "Compressed file ended before the end-of-stream marker was reached",
        f"{tmp_path}/text, line 2: a block that is not in hex",
        f"{tmp_path}/empty, byte 0: no block in the file",
        f"{tmp_path}, byte 0: cannot be read from here on: Is a directory",
    ]
    assert lines_out[5:9] == ["checked     159", "failed      0", "repeated    106", "unreadable  5"]
    _, failures, _ = verify_json(tmp_path / "text")
    assert [(each["line"], each["hash"], each["rule"]) for each in failures] == [(2, None, "encoding")]


def test_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block may be two hours ahead of the system's clock."""
    path = write(tmp_path / "file", BLOCKS[:1])
    monkeypatch.setattr("time.time", lambda: BLOCKS[0].header.time - 7201.0)
    assert verify(path)[0] == 1
    monkeypatch.setattr("time.time", lambda: BLOCKS[0].header.time - 7200.0)
    assert verify(path)[0] == 0


@over_sockets()
async def test_what_fetch_prints() -> None:
    """``--hex`` is read from a pipe."""
    node = FakeNode(recorded())
    arguments = ("fetch", "--network", "simnet", "--hex")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as fetched:
        assert await fetched.ended() == 0, fetched.err
    async with command("verify", "--network", "simnet", "-") as program:
        program.transport.write(fetched.out.encode())
        program.transport.closeStdin()
        assert await program.ended() == 0
    assert program.err == ""
    assert program.out.splitlines()[:4] == ["checked  54", "failed   0", "blocks   54", "blue     54"]


@over_sockets()
async def test_progress_on_a_terminal(tmp_path: Path) -> None:
    """A bar, which no line runs into."""
    path = write(tmp_path / "file", [*BLOCKS * 20, *BLOCKS[:1], Block()])
    async with command("verify", "--network", "simnet", str(path), tty=True) as program:
        assert await program.ended() == 1
    assert re.search(r"\r\[#* *\] +\d+ % \d+ blocks, \d+ a second", program.out)
    assert "colouring 54 blocks" in program.out
    failure, *_ = (line for line in program.out.splitlines() if "has no parents" in line)
    assert failure.startswith(f"{path}, byte ")


@over_sockets()
async def test_interrupted() -> None:
    """Ctrl-C while it reads: quiet, status 130."""
    async with command("verify", "--network", "simnet", "-", "--json") as program:
        program.transport.write(b"ab\n" * 300_000)
        await program.says('"line": 2')
        program.signal(signal.SIGINT)
        assert await program.ended() == 130
    assert program.err == ""
