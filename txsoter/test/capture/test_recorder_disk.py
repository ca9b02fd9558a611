"""``Capture`` and the disk: what is written when, how much may be there, and disks that are slow, full or not there."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, fail

from txsoter import SIMNET, PeerConfig
from txsoter.capture import Capture, CaptureError, recorder
from txsoter.capture.records import RECEIVED, SENT
from txsoter.capture.store import CaptureStore, open_to_append
from txsoter.core.state import State
from txsoter.errors import FieldError
from txsoter.service import PeerService
from txsoter.test.capture.support import START, RecorderCase, notes_in, records_in, wire_bytes
from txsoter.testing import MemoryLink, ScriptedPeer
from txsoter.wire import Message, Ping, Unknown, VerAck, write_message


def framed(message: Message) -> bytes:
    return write_message(message, SIMNET.magic)


class WritingTests(RecorderCase):
    def test_written_after_a_second_or_a_mebibyte(self) -> None:
        """What comes first; until then it waits in memory."""
        capture = self.capture()
        pair = self.scripted(capture)
        self.assertGreater(capture.waiting, 0)
        self.clock.advance(0.99)
        self.assertEqual(self.folders(), [])
        self.clock.advance(0.01)
        self.assertEqual(len(records_in(self.only_folder(), SENT)), 2)
        before = (self.only_folder() / RECEIVED).stat().st_size
        pair.say(Unknown("filler", bytes(recorder.FLUSH_SIZE - 25)))
        self.assertEqual((self.only_folder() / RECEIVED).stat().st_size, before)
        pair.say(VerAck())
        self.assertEqual(capture.waiting, 0)
        self.assertGreater((self.only_folder() / RECEIVED).stat().st_size, recorder.FLUSH_SIZE)

    def test_one_write_at_a_time_and_the_rest_behind_it(self) -> None:
        """While the disk is busy records wait, and go out together, in order, once it is not."""
        jobs: list[tuple[Any, Deferred[None]]] = []

        def later(write: Any) -> Deferred[None]:
            jobs.append((write, Deferred()))
            return jobs[-1][1]

        capture = self.capture(in_thread=later)
        pair = self.scripted(capture)
        for number in range(5):
            pair.say(Ping(number))
            self.clock.advance(5)
        self.assertEqual(len(jobs), 1)
        stopped = capture.stopService()
        while jobs:
            self.assertNoResult(stopped)
            write, done = jobs.pop(0)
            write()
            done.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(wire_bytes(self.only_folder(), SENT), pair.remote.raw)
        self.assertEqual(notes_in(self.only_folder())[-1]["reason"], "the capture ends")

    def test_stopping_writes_all_and_peers_go_on(self) -> None:
        capture = self.capture()
        pair = self.scripted(capture)
        pair.say(Ping(1))
        self.successResultOf(capture.stopService())
        records = records_in(self.only_folder(), SENT)
        self.assertEqual(records[-1].name, "pong")
        pair.hear()
        pair.say(Ping(2))
        self.assertEqual([each.command for each in pair.hear()], ["pong"])
        self.assertEqual(records_in(self.only_folder(), SENT), records)
        self.assertEqual(notes_in(self.only_folder())[-1]["reason"], "the capture ends")

    def test_a_service_that_stops_says_so(self) -> None:
        """Peers that are just being closed have a reason; the capture that ends with them notes it."""
        capture = self.capture(start=False)
        service = PeerService(PeerConfig(network=SIMNET, clock=self.clock), protocol=capture)
        capture.setServiceParent(service)
        service.startService()
        peer, remote = service._outbound.buildProtocol(None), ScriptedPeer()
        link = MemoryLink(peer, remote)
        link.pump()
        stopped = service.stopService()
        link.pump()
        self.successResultOf(stopped)
        reason = notes_in(self.only_folder())[-1]["reason"]
        self.assertEqual(reason, "closed by us: disconnect() was called: the service stops")

    def test_a_disk_that_does_not_keep_up_costs_messages_not_memory(self) -> None:
        """Past the limit they are left out, counted and noted, and one warning is logged; the peer notices nothing."""
        self.patch_limit(100_000)
        jobs: list[Any] = []
        stuck: Deferred[None] = Deferred()

        def never(write: Any) -> Deferred[None]:
            jobs.append(write)
            return stuck if len(jobs) == 1 else execute(write)

        capture = self.capture(in_thread=never)
        pair = self.scripted(capture)
        self.clock.advance(1)
        for _ in range(10):
            pair.say(Unknown("filler", bytes(20_000)))
        self.assertLessEqual(capture.waiting, 100_000)
        self.assertEqual(capture.dropped, 6)
        self.assertEqual(self.lines, ["the disk does not keep up with the capture: messages are left out"])
        pair.say(Ping(1))
        self.assertEqual(pair.hear()[-1].command, "pong")
        jobs[0]()
        stuck.callback(None)
        pair.peer.disconnect()
        pair.pump()
        self.clock.advance(1)
        self.assertEqual(notes_in(self.only_folder())[-1]["dropped"], 6)
        self.assertEqual(len([each for each in records_in(self.only_folder(), RECEIVED) if each.name == "filler"]), 4)

    def patch_limit(self, limit: int) -> None:
        self.addCleanup(setattr, recorder, "MAX_WAITING", recorder.MAX_WAITING)
        recorder.MAX_WAITING = limit

    def test_limits_that_cannot_be(self) -> None:
        with self.assertRaises(FieldError):
            Capture(self.folder, self.clock, max_connection=0)
        with self.assertRaises(FieldError):
            Capture(self.folder, self.clock, max_total=1000, max_connection=1001)

    def test_limits_are_kept(self) -> None:
        """By the whole of it: many connections, each with more than it may have."""
        capture = self.capture(max_total=200_000, max_connection=50_000)
        for number in range(8):
            pair = self.scripted(capture)
            for _ in range(20):
                pair.say(Unknown("filler", bytes([number]) * 5000))
            pair.peer.disconnect()
            pair.pump()
            self.written(capture)
        size = sum(file.stat().st_size for folder in self.folders() for file in folder.iterdir())
        self.assertLess(size, 200_000)
        self.assertGreater(size, 100_000)
        self.assertEqual(records_in(self.folders()[-1], RECEIVED)[-1].payload[0], 7)


class FailingTests(RecorderCase):
    def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(self) -> None:
        (self.folder / "file").write_text("")
        capture = Capture(self.folder / "file", self.clock)
        with self.assertRaises(CaptureError) as caught:
            capture.startService()
        self.assertEqual(str(caught.exception), f"{self.folder}/file: cannot be captured to: File exists")
        self.assertFalse(capture.running)
        self.successResultOf(capture.stopService())

    def test_a_full_disk_stops_the_capture_until_there_is_room(self) -> None:
        """Peers go on, those that live and those that come; nothing waits; what is recorded then is in new folders."""
        full = False

        class Store(CaptureStore):
            def write(self, pieces: Any) -> None:
                if full:
                    raise OSError(28, "No space left on device")
                super().write(pieces)

        capture = self.capture(Store(self.folder))
        pairs = [self.scripted(capture) for _ in range(3)]
        self.written(capture)
        before = {folder: records_in(folder, RECEIVED) for folder in self.folders()}
        self.assertEqual([len(each) for each in before.values()], [2, 2, 2])
        full = True
        for pair in pairs:
            pair.say(Ping(1))
        self.clock.advance(1)
        self.assertEqual(self.lines, [f"capturing to {self.folder} stops: No space left on device"])
        self.assertEqual(capture.state().reason, "No space left on device")
        self.assertEqual((capture.waiting, capture.state().failures), (0, 1))
        pairs.append(self.scripted(capture))
        for pair in pairs:
            pair.hear()
            pair.say(Ping(99))
            self.assertEqual([each.command for each in pair.hear()], ["pong"])
            self.assertIs(pair.peer.state, State.READY)
        self.assertEqual(capture.waiting, 0)
        self.assertEqual({folder: records_in(folder, RECEIVED) for folder in self.folders()}, before)
        full = False
        self.clock.advance(recorder.FIRST_RETRY)
        self.assertIsNone(capture.state().reason)
        for pair in pairs:
            pair.say(Ping(7))
        self.written(capture)
        added = [folder for folder in self.folders() if folder not in before]
        for folder in added:
            self.assertEqual([each.name for each in records_in(folder, RECEIVED)], ["ping"])
            self.assertEqual([each.name for each in records_in(folder, SENT)], ["pong"])
            opened, gap, *_ = notes_in(folder)
            self.assertEqual((opened["note"], gap["note"]), ("opened", "gap"))
            self.assertGreaterEqual(gap["messages"], 2)
        self.assertEqual(len(added), 4)
        self.assertEqual({folder: records_in(folder, RECEIVED) for folder in before}, before)

    def test_a_disk_that_stays_full_is_tried_less_and_less_often(self) -> None:
        """Up to five minutes; each time is a line in the log, and no more."""
        written: list[float] = []

        def write(job: Any) -> Deferred[None]:
            if job == store.reopen:
                return execute(job)
            written.append(self.clock.seconds())
            return fail(OSError(28, "No space left on device"))

        store = CaptureStore(self.folder)
        capture = self.capture(store, in_thread=write)
        pair = self.scripted(capture)
        for number in range(4 * 3600):
            pair.say(Ping(number))
            self.clock.advance(1)
        gaps = [round(later - earlier) for earlier, later in pairwise(written)]
        self.assertEqual(gaps[:8], [2, 3, 5, 9, 17, 33, 65, 129])
        self.assertEqual(set(gaps[9:]), {301})
        self.assertEqual(len(self.lines), len(written))

    def test_a_folder_that_was_removed_is_made_again(self) -> None:
        capture = self.capture(directory="captures")
        pair = self.scripted(capture)
        self.clock.advance(1)
        shutil.rmtree(self.folder / "captures")
        pair.say(Ping(1))
        self.clock.advance(1)
        self.assertEqual(capture.state().reason, "No such file or directory")
        self.clock.advance(recorder.FIRST_RETRY)
        pair.say(Ping(2))
        self.written(capture)
        [folder] = [each for each in (self.folder / "captures").iterdir() if each.is_dir()]
        self.assertEqual([each.payload[0] for each in records_in(folder, RECEIVED)], [2])
        self.assertEqual((self.folder / "captures").stat().st_mode & 0o777, 0o700)
        with self.assertRaises(CaptureError, msg="it holds the folder's lock again"):
            CaptureStore(self.folder / "captures").prepare()

    def test_a_moment_without_file_descriptors(self) -> None:
        """It is over when there are some again, even if they lack for the first attempts, too."""
        lacking = False

        def open_file(path: Path) -> int:
            if lacking:
                raise OSError(24, "Too many open files")
            return open_to_append(path)

        capture = self.capture(CaptureStore(self.folder, open_file=open_file))
        pair = self.scripted(capture)
        self.written(capture)
        lacking = True
        pair.say(Ping(1))
        self.clock.pump([1] * 6)
        self.assertEqual(capture.state().reason, "cannot be captured to: Too many open files")
        self.assertEqual(capture.state().failures, 1)
        lacking = False
        self.clock.pump([1] * 8)
        self.assertIsNone(capture.state().reason)
        pair.say(Ping(2))
        self.written(capture)
        self.assertEqual([each.payload[0] for each in records_in(self.folders()[-1], RECEIVED)], [2])
        self.assertEqual(len(self.lines), 1)

    def test_another_process_that_took_the_folder_meanwhile(self) -> None:
        """It is recorded to again when that has ended."""
        capture = self.capture(directory="captures")
        pair = self.scripted(capture)
        self.clock.advance(1)
        shutil.rmtree(self.folder / "captures")
        pair.say(Ping(1))
        self.clock.advance(0.999)
        other = CaptureStore(self.folder / "captures")
        self.clock.advance(0.001)
        self.assertEqual(capture.state().reason, "No such file or directory")
        other.prepare()
        self.clock.advance(recorder.FIRST_RETRY)
        self.assertEqual(capture.state().reason, "another process captures to it")
        other.release()
        self.clock.advance(2 * recorder.FIRST_RETRY)
        self.assertIsNone(capture.state().reason)

    def test_stopped_while_it_waits_for_the_disk(self) -> None:
        """No timer is left."""
        capture = self.capture(in_thread=lambda write: fail(OSError(28, "No space left on device")))
        self.scripted(capture)
        self.clock.advance(1)
        self.assertIsNotNone(capture.state().reason)
        self.successResultOf(capture.stopService())
        self.clock.pump([1] * 5)
        self.assertEqual((capture.state().reason, capture.failures), ("it does not run", 1))

    def test_stopped_while_it_tries_the_disk_again(self) -> None:
        """It waits for that."""
        jobs: list[Deferred[None]] = []

        def later(write: Any) -> Deferred[None]:
            jobs.append(Deferred())
            return jobs[-1]

        capture = self.capture(in_thread=later)
        self.scripted(capture)
        self.clock.advance(1)
        jobs.pop().errback(OSError(28, "No space left on device"))
        self.clock.advance(recorder.FIRST_RETRY)
        stopped = capture.stopService()
        self.assertNoResult(stopped)
        jobs.pop().callback(None)
        self.successResultOf(stopped)

    def test_a_fault_of_the_captures_own_does_not_reach_the_peer(self) -> None:
        """Wherever it is: it is logged, and the capture stops for good."""
        times = iter([START] * 12)
        capture = self.capture(micros=lambda: next(times))
        pair = self.scripted(capture)
        for number in range(30):
            pair.say(Ping(number))
        self.assertEqual(len([each for each in pair.hear() if each.command == "pong"]), 30)
        self.assertEqual(capture.stopped, "StopIteration()")
        self.assertEqual(len(self.flushLoggedErrors(StopIteration)), 1)

    def test_a_fault_in_writing_does_not_either(self) -> None:
        capture = self.capture(in_thread=lambda write: fail(ValueError("a bug")))
        pair = self.scripted(capture)
        self.clock.advance(1)
        self.assertEqual(capture.stopped, "ValueError('a bug')")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        pair.say(Ping(1))
        self.assertEqual(pair.hear()[-1].command, "pong")
