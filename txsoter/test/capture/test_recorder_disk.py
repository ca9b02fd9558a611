"""``Capture`` and the disk: what is written when, how much may be there, and disks that are slow, full or not there."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.python.failure import Failure

from txsoter import SIMNET, PeerConfig
from txsoter.capture import Capture, CaptureError, recorder
from txsoter.capture.records import RECEIVED, SENT
from txsoter.capture.store import CaptureStore
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

    def test_a_full_disk_stops_the_capture_with_one_warning(self) -> None:
        """Peers go on, those that live and those that come; nothing more is recorded, and nothing waits."""
        full = False

        class Store(CaptureStore):
            def write(self, pieces: Any) -> None:
                if full:
                    raise OSError(28, "No space left on device")
                super().write(pieces)

        capture = self.capture(Store(self.folder))
        pairs = [self.scripted(capture) for _ in range(3)]
        self.written(capture)
        before = [records_in(folder, RECEIVED) for folder in self.folders()]
        self.assertEqual([len(each) for each in before], [2, 2, 2])
        full = True
        for number in range(10):
            for pair in pairs:
                pair.say(Ping(number))
            self.clock.advance(2)
        self.assertEqual(self.lines, [f"capturing to {self.folder} stops: No space left on device"])
        capture.failed(Failure(OSError(5, "Input/output error")))
        self.assertEqual(len(self.lines), 1)
        self.assertEqual(capture.stopped, "No space left on device")
        self.assertEqual(capture.waiting, 0)
        for pair in (*pairs, self.scripted(capture)):
            pair.hear()
            pair.say(Ping(99))
            self.assertEqual([each.command for each in pair.hear()], ["pong"])
            self.assertIs(pair.peer.state, State.READY)
            self.end(pair)
        self.assertEqual([records_in(folder, RECEIVED) for folder in self.folders()], before)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_fault_of_the_captures_own_does_not_reach_the_peer(self) -> None:
        """Wherever it is: it is logged, and the capture stops."""
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
