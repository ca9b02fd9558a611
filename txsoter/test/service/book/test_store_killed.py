"""kill -9 at any moment loses nothing that was committed, and never corrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random

from txsoter.service.book.places import Place
from txsoter.service.book.store import FILE, read_book
from txsoter.test.programs import ROOT
from txsoter.test.service.book.support import FolderCase, at

KILLS = int(os.environ.get("TXSOTER_KILLS", "10"))
"""How often it is killed; each time it begins where it was."""

# An address book on the real reactor, with its thread: a new address each time, the others changed, written as fast
# as can be. It says how many were committed once they are.
PROGRAM = """
import signal, sys
from pathlib import Path
from random import Random
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from txsoter.networks import TESTNET1
from txsoter.service.book import AddressBook, place_at

signal.alarm(60)
book = AddressBook(TESTNET1, reactor, Path(sys.argv[1]))

def place(number):
    return place_at(f"{11 + number % 80}.{number // 80}.1.1", 5070)

async def run():
    await book.when_loaded()
    rng, number = Random(), 0
    while book.get(place(number)) is not None:
        number += 1
    print("loaded", number, flush=True)
    # those that are named do not make way for others
    for each in range(number):
        book.name(place(each).host, 5070)
    new = 1 if number else 1500
    while True:
        for _ in range(new):
            book.name(place(number).host, 5070)
            number += 1
        # all over the file, so that a commit takes its time
        for _ in range(700):
            book.attempted(place(rng.randrange(number)))
        await book.flush()
        print("committed", number, flush=True)
        new = 1

reactor.callWhenRunning(book.startService)
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
reactor.run()
"""


class KillTests(FolderCase):
    def test_killed_while_it_writes(self) -> None:
        """Killed again and again in the middle of writing, it is whole and has all that it said was committed."""
        folder = self.folder
        rng = Random(5)
        committed = 0
        for _ in range(KILLS):
            committed = self.killed(folder, rng, committed)
            connection = sqlite3.connect(f"{(folder / FILE).as_uri()}?mode=ro", uri=True)
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            connection.close()
            kept = {Place(row.ip, row.port) for row in read_book(folder).rows}
            self.assertTrue(kept >= {at(f"{11 + each % 80}.{each // 80}.1.1") for each in range(committed)})
        self.assertGreater(committed, 1500 + KILLS)
        self.assertEqual([each.name for each in folder.iterdir() if "damaged" in each.name], [])

    def killed(self, folder: Path, rng: Random, committed: int) -> int:
        """Run it, and kill it after some commits; how many addresses it has committed."""
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            words = program.stdout.readline().split()
            self.assertEqual(words[0], "loaded")
            self.assertGreaterEqual(int(words[1]), committed)
            lines = [program.stdout.readline() for _ in range(rng.randrange(1, 10))]
            # not always right after a commit
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(rng.uniform(0, 0.05))
            program.send_signal(signal.SIGKILL)
            # what it still said before it died, the last of it maybe in part
            lines += program.stdout.read().splitlines(keepends=True)
        self.assertEqual(program.returncode, -signal.SIGKILL)
        return int(next(line for line in reversed(lines) if line.endswith("\n")).split()[1])
