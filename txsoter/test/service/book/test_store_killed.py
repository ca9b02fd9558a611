"""kill -9 at any moment loses nothing that was committed, and never corrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from random import Random

from txsoter.networks import TESTNET1
from txsoter.service.book import AddressBook
from txsoter.service.book.places import Place
from txsoter.service.book.store import FILE, read_book
from txsoter.test.programs import ROOT
from txsoter.test.service.book.support import AtOnce, FolderCase, at, world

KILLS = int(os.environ.get("TXSOTER_KILLS", "5"))
"""How often it is killed in each way; each time it begins where it was."""

FIRST = 1500
"""Addresses that there are before: so that what is written is all over the file."""

# An address book on the real reactor, with its thread: another address each time, many others changed, written as fast
# as can be. It says how many there were in what has been committed. Given a size, the kernel ends it in the middle of
# the write that would take a file past that.
PROGRAM = """
import resource, signal, sys
from pathlib import Path
from random import Random
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from txsoter.networks import TESTNET1
from txsoter.service.book import AddressBook, place_at

signal.alarm(60)
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
book = AddressBook(TESTNET1, reactor, Path(sys.argv[1]))

def place(number):
    return place_at(f"{11 + number % 80}.{number // 80}.1.1", 5070)

async def run():
    await book.when_loaded()
    rng, number = Random(), 0
    while book.get(place(number)) is not None:
        number += 1
    # those that are named do not make way for others
    for each in range(number):
        book.name(place(each).host, 5070)
    print("committed", number, flush=True)
    while True:
        for _ in range(5):
            book.name(place(number).host, 5070)
            number += 1
        for _ in range(700):
            book.attempted(place(rng.randrange(number)))
        await book.flush()
        print("committed", number, flush=True)

reactor.callWhenRunning(book.startService)
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
reactor.run()
"""


class KillTests(FolderCase):
    def setUp(self) -> None:
        super().setUp()
        clock = world()
        book = AddressBook(TESTNET1, clock, self.folder, worker=AtOnce())
        book.startService()
        clock.advance(0)
        for number in range(FIRST):
            book.name(self.place(number).host, 5070)
        self.successResultOf(book.stopService())

    def place(self, number: int) -> Place:
        """As in the program."""
        return at(f"{11 + number % 80}.{number // 80}.1.1")

    def assert_whole(self, committed: int) -> None:
        """The file is in order, and has what was committed."""
        connection = sqlite3.connect(f"{(self.folder / FILE).as_uri()}?mode=ro", uri=True)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        connection.close()
        kept = {Place(row.ip, row.port) for row in read_book(self.folder).rows}
        self.assertTrue(kept >= {self.place(each) for each in range(committed)})
        self.assertEqual([each.name for each in self.folder.iterdir() if "damaged" in each.name], [])

    def run_it(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(self.folder), *arguments]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def committed(self, lines: list[str]) -> int:
        """What it has said last, which may be in part."""
        return int(next(line for line in reversed(lines) if line.endswith("\n")).split()[1])

    def test_killed_at_any_moment(self) -> None:
        """Killed again and again while it writes, it is whole and has all that it said was committed."""
        rng = Random(5)
        committed = FIRST
        for _ in range(KILLS):
            with self.run_it() as program:
                assert program.stdout is not None
                lines = [program.stdout.readline() for _ in range(rng.randrange(2, 10))]
                # not always right after a commit
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(rng.uniform(0, 0.05))
                program.send_signal(signal.SIGKILL)
                lines += program.stdout.read().splitlines(keepends=True)
            self.assertEqual(program.returncode, -signal.SIGKILL)
            self.assertGreater(self.committed(lines), committed)
            committed = self.committed(lines)
            self.assert_whole(committed)

    def test_killed_in_the_middle_of_a_write(self) -> None:
        """So it is when a commit has been written in part."""
        rng = Random(6)
        committed = FIRST
        for _ in range(KILLS):
            # so that its log begins anew, and its size is that of what is written now
            sqlite3.connect(self.folder / FILE).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
            # no less than the log's index, which is a file, too
            with self.run_it(str(rng.randrange(40_000, 1_500_000))) as program:
                assert program.stdout is not None
                lines = ["committed 0\n", *program.stdout.read().splitlines(keepends=True)]
            self.assertEqual(program.returncode, -signal.SIGXFSZ)
            committed = max(committed, self.committed(lines))
            self.assert_whole(committed)
