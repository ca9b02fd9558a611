"""``txsoter verify``: check the blocks in files."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterable
from functools import partial
from io import BufferedReader
from typing import Any, NamedTuple

from txsoter.cli.block_files import BlockFile
from txsoter.cli.dag_checks import DagChecker, FailedBlock
from txsoter.cli.output import aligned
from txsoter.command_line import NETWORKS, Parser, network
from txsoter.core.sanitize import sanitize
from txsoter.errors import InvalidBlock
from txsoter.networks import MAINNET
from txsoter.progress import Progress, bar, duration

__all__ = ["add_arguments"]

DESCRIPTION = """\
Checks the blocks in files, without any network connection: that a block's header commits to its transactions and its
parents, that it has parents, its proof of work, and its time. Transactions are not validated. Blocks may come in any
order. The parents of a block may be in any of the files; those that are in none are named at the end.

Formats, told by a file's first bytes:
  blocks, one behind the other
  records of magic, length and block: bootstrap.dat, the blk*.dat of Bitcoin Core, the *.fdb of soterd; or frames
  lines of hex, or of JSON with the block in hex as "raw", "payload" or "block"
Each may be compressed by gzip. The commands that write such files:

  txsoter fetch HOST --hex > blocks.hex
  txsoter capture show --json --hex --command block DIR > blocks.jsonl
"""

EPILOG = """\
A line is printed for each failure, then a summary:
  checked     blocks that were read and checked
  failed      blocks that break a rule
  repeated    blocks that were in the files before
  unreadable  positions at which there is no block
  others      lines of JSON about something else
  blocks      blocks in the DAG, the genesis block included
  blue        how many of them are blue
  height      the greatest height
  tip         a block without children
  waiting     blocks whose ancestors are not all there
  missing     a parent that is in none of the files, or failed
The exit status is 1 if a block failed, or something could not be read. Missing parents are not an error.

--json prints one object per line. A failure has file, byte or line (its position), hash (null where no block could be
read), rule, reason. The last line is the summary, with a list for tips and for missing: parent, child, failed.
"""

SHOWN_MISSING = 20
"""Missing parents that the text names."""


class Location(NamedTuple):
    """A position in a file, in bytes or lines."""

    file: str
    unit: str
    position: int


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``verify``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file of blocks; - for standard input")
    parser.add_argument(
        "--network", type=network, default=MAINNET, metavar="NAME", help=f"one of {NETWORKS} (default: mainnet)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check all files, one after the other."""
    with Progress(sys.stderr) as progress:
        verification = Verification(options, progress)
        for name in options.files:
            verification.read(name)
        progress.stage(f"colouring {len(verification.checker.index)} blocks")
        summary = verification.summary()
    print(json.dumps(summary) if options.json else _text(summary))
    return 1 if summary["failed"] or summary["unreadable"] else 0


class Verification:
    """The blocks of files, and the faults in them."""

    def __init__(self, options: argparse.Namespace, progress: Progress) -> None:
        self.checker: DagChecker[Location] = DagChecker(options.network, time.time)
        self._network = options.network
        self._as_json = options.json
        self._progress = progress
        self._started = time.monotonic()
        self._unreadable = self._others = 0
        # bytes of the files that are behind us, and of all
        self._done = 0
        self._total = sum(map(_size, options.files))

    def read(self, name: str) -> None:
        """Check the blocks of a file."""
        place = Location(name, "byte", 0)
        blocks = None
        try:
            with open(0 if name == "-" else name, "rb", closefd=name != "-") as stream:
                blocks = BlockFile(stream, self._network)
                found = None
                for found in blocks:
                    place = Location(name, blocks.unit, found.position)
                    if found.block is None:
                        self._unreadable += 1
                        self._print(place, None, "encoding", found.problem)
                    else:
                        self._print_failures(self.checker.check(found.block, place))
                    self._progress.show(partial(self._line, name, stream))
                if found is None:
                    self._unreadable += 1
                    self._print(place, None, "encoding", "no block in the file")
            self._done += _size(name)
        except (OSError, EOFError, zlib.error) as error:
            self._unreadable += 1
            reason = getattr(error, "strerror", None) or str(error)
            self._print(place, None, "file", f"cannot be read from here on: {reason}")
        if blocks is not None:
            self._others += blocks.others

    def _print_failures(self, failures: Iterable[FailedBlock[Location]]) -> None:
        for place, error in failures:
            self._print(place, error, error.rule, error.reason)

    def _print(self, place: Location, error: InvalidBlock | None, rule: str, reason: str) -> None:
        if sys.stdout.isatty():
            self._progress.clear()
        block_hash = None if error is None else str(error.block_hash)
        reason = reason.removeprefix(f"{rule}: ")
        if self._as_json:
            where = {"file": place.file, place.unit: place.position}
            print(json.dumps({**where, "hash": block_hash, "rule": rule, "reason": reason}))
        else:
            words = f"block {block_hash}: {rule}: {reason}" if error is not None else reason
            print(f"{sanitize(place.file, 200)}, {place.unit} {place.position}: {words}")

    def _line(self, name: str, stream: BufferedReader) -> str:
        done = self._done + (stream.tell() if stream.seekable() else 0)
        took = time.monotonic() - self._started
        checked = self.checker.checked
        left = f", {duration(took * (self._total - done) / done)} left" if 0 < done < self._total else ""
        words = f"{checked} blocks, {checked / took:.0f} a second{left}, {sanitize(name, 40)}"
        return f"{bar(done, self._total)} {words}".lstrip()

    def summary(self) -> dict[str, Any]:
        """Return what --json prints last."""
        checker, index = self.checker, self.checker.index
        missing = [
            {"parent": str(each.hash), "child": str(each.child), "failed": each.failed} for each in checker.missing()
        ]
        return {
            "checked": checker.checked,
            "failed": checker.failed,
            "repeated": checker.repeated,
            "unreadable": self._unreadable,
            "others": self._others,
            "blocks": len(index),
            "waiting": checker.waiting,
            "height": index.max_height,
            "tips": [str(tip.hash) for tip in index.tips],
            "blue": checker.blue_blocks(),
            "missing": missing,
        }


def _size(name: str) -> int:
    """Return the bytes of a file; 0 for what is no regular file, or is not there."""
    try:
        status = os.stat(name)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _text(summary: dict[str, Any]) -> str:
    rows = [(key, str(summary[key])) for key in ("checked", "failed")]
    rows += [(key, str(summary[key])) for key in ("repeated", "unreadable", "others") if summary[key]]
    rows += [(key, str(summary[key])) for key in ("blocks", "blue", "height")]
    rows += [("tip", tip) for tip in summary["tips"]]
    missing = summary["missing"]
    if summary["waiting"]:
        rows.append(("waiting", str(summary["waiting"])))
    for each in missing[:SHOWN_MISSING]:
        why = "failed, is" if each["failed"] else "is"
        rows.append(("missing", f"{each['parent']} {why} a parent of {each['child']}"))
    if len(missing) > SHOWN_MISSING:
        rows.append(("missing", f"{len(missing) - SHOWN_MISSING} more, which --json names"))
    return aligned(rows)
