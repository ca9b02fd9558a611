"""kill -9 at any moment: the headers open again, whole, and without what was not yet written."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from random import Random

from txsoter.chain.light.header_file import KIND, HeaderFile
from txsoter.networks import SIMNET
from txsoter.test.programs import ROOT
from txsoter.test.service.book.support import FolderCase

KILLS = int(os.environ.get("TXSOTER_KILLS", "4"))
"""Number of kills in each way; each time it begins where it was."""

# A header store on the real reactor, with its thread, that grows as fast as it can. It says how many headers have been
# written. Given a size, the kernel ends it in the middle of the write that would take a file past that.
PROGRAM = """
import resource, signal, sys
from pathlib import Path
from random import Random
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from txsoter.chain import HeaderStore
from txsoter.networks import SIMNET
from txsoter.test.chain.light.dags import GENESIS, block_above
from txsoter.wire import Hash

signal.alarm(60)
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
store = HeaderStore(SIMNET, reactor, Path(sys.argv[1]), check_proofs=False)

async def run():
    index = await store.open()
    print("written", len(index), flush=True)
    rng, tips, number = Random(), [GENESIS, GENESIS], len(index) << 20
    while True:
        for _ in range(50):
            number += 1
            block = block_above(rng.sample(tips, 1 if tips[0] == tips[1] else rng.randint(1, 2)), number)
            store.add(index.check_block(block, block.header.time))
            tips = [tips[rng.randrange(2)], block]
        for record in rng.sample(index.numbered(0, len(index)), 20):
            store.set_filter_header(record.hash, Hash(rng.randbytes(32)))
        await store.flush()
        print("written", len(index), flush=True)

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
reactor.run()
"""


class KillTests(FolderCase):
    def written(self, *arguments: str, kill: Random | None = None) -> tuple[int, int]:
        """Run the program to its end; return how many headers it said were written, and its exit status."""
        command = [sys.executable, "-c", PROGRAM, str(self.folder), *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            lines: list[str] = []
            if kill is not None:
                lines = [program.stdout.readline() for _ in range(kill.randrange(2, 12))]
                # not always right after a commit
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(kill.uniform(0, 0.03))
                program.send_signal(signal.SIGKILL)
            lines += program.stdout.read().splitlines(keepends=True)
        # the last line may be there in part
        return max([1, *(int(line.split()[1]) for line in lines if line.endswith("\n"))]), program.returncode

    def assert_whole(self, written: int) -> None:
        """All that was written is there, as a DAG: loading checks parents and heights."""
        file = HeaderFile(self.folder, SIMNET, False, lambda: 0.0)
        try:
            self.assertGreaterEqual(len(file.load()), written)
            self.assertIsNone(file.file.damaged)
        finally:
            file.close()

    def test_killed_at_any_moment(self) -> None:
        rng, before = Random(5), 1
        for _ in range(KILLS):
            written, status = self.written(kill=rng)
            self.assertEqual(status, -signal.SIGKILL)
            self.assertGreater(written, before)
            self.assert_whole(written)
            before = written

    def test_killed_in_the_middle_of_a_write(self) -> None:
        rng, before = Random(6), 1
        self.written(kill=rng)
        for _ in range(KILLS):
            # so that its log begins anew, and its size is that of what is written now
            sqlite3.connect(self.folder / KIND.name).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
            written, status = self.written(str(rng.randrange(150_000, 900_000)))
            self.assertEqual(status, -signal.SIGXFSZ)
            self.assert_whole(max(written, before))
            before = max(written, before)
