"""Tests of :mod:`txsoter.crawl.layout` and the process that it runs in."""

from __future__ import annotations

import io
import json
import math
import sys
from typing import Any
from unittest import TestCase
from unittest.mock import patch

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter.crawl.layout import OUTSIDE, layout
from txsoter.crawl.layout_process import GRACE, LayoutFailed, LayoutProcess, main
from txsoter.crawl.map_graph import indexed_edges
from txsoter.errors import LocalError
from txsoter.test.crawl.maps import chance_map
from txsoter.test.peer.cases import over_sockets, real_reactor

GRAPH = chance_map(60, 180)
PAIRS = indexed_edges([node.name for node in GRAPH.nodes], GRAPH)


class LayoutTests(TestCase):
    def test_everything_has_a_place_in_the_circle(self) -> None:
        points = layout(60, PAIRS, {}, 0.2)
        self.assertEqual(len(points), 60)
        self.assertLess(max(math.hypot(*point) for point in points), OUTSIDE)
        self.assertEqual(len(set(points)), 60)

    def test_neighbours_are_nearer_than_others(self) -> None:
        points = layout(60, PAIRS, {}, 0.2)
        near = [math.dist(points[one], points[other]) for one, other in PAIRS]
        far = [math.dist(one, other) for one in points for other in points if one != other]
        self.assertLess(sum(near) / len(near), 0.8 * sum(far) / len(far))

    def test_the_picture_does_not_jump(self) -> None:
        """Nodes that were there stay where they were, or nearly; a new one comes beside its neighbours."""
        points = layout(59, [pair for pair in PAIRS if 59 not in pair], {}, 0.2)
        before = dict(enumerate(points))
        after = layout(60, PAIRS, before, 0.2)
        moved = sorted(math.dist(after[node], before[node]) for node in before)
        self.assertLess(moved[30], 0.06)
        self.assertLess(moved[-1], 0.2)
        around = [before[one + other - 59] for one, other in PAIRS if 59 in (one, other)]
        middle = [sum(point[axis] for point in around) / len(around) for axis in (0, 1)]
        self.assertLess(math.dist(after[59], (middle[0], middle[1])), 0.3)

    def test_it_comes_to_rest(self) -> None:
        """Layout after layout of the same graph moves it less, and not away."""
        before = dict(enumerate(layout(60, PAIRS, {}, 0.2)))
        first = dict(before)
        for _ in range(6):
            after = dict(enumerate(layout(60, PAIRS, before, 0.2)))
            last = max(math.dist(after[node], before[node]) for node in before)
            before = after
        self.assertLess(last, 0.06)
        self.assertLess(max(math.hypot(*point) for point in before.values()), 1.3)
        self.assertLess(sorted(math.dist(first[node], before[node]) for node in first)[30], 0.3)

    def test_what_is_not_connected_lies_around(self) -> None:
        pairs = [(0, 1), (1, 2), (3, 4)]
        points = layout(7, pairs, {}, 0.1)
        radii = [math.hypot(*point) for point in points]
        self.assertTrue(all(radius < OUTSIDE for radius in radii[:3]))
        self.assertTrue(all(radius > OUTSIDE - 0.01 for radius in radii[3:]))
        self.assertEqual(len(set(points)), 7)
        again = layout(8, pairs, dict(enumerate(points)), 0.1)
        self.assertEqual(again[3:7], points[3:7])
        self.assertNotIn(again[7], points)

    def test_a_large_one_in_two_steps(self) -> None:
        """Those with the most neighbours first, then the others beside them."""
        found = chance_map(120, 400)
        pairs = indexed_edges([node.name for node in found.nodes], found)
        with patch("txsoter.crawl.layout.CORE", 30):
            points = layout(120, pairs, {}, 0.2)
        self.assertEqual(len(set(points)), 120)
        self.assertLess(max(map(abs, sum(points, ()))), OUTSIDE + 1)

    def test_nothing(self) -> None:
        self.assertEqual(layout(0, [], {}, 1.0), [])
        self.assertEqual(len(set(layout(3, [], {}, 1.0))), 3)
        self.assertEqual(len(layout(2, [(0, 1)], {}, 0.05)), 2)

    def test_without_rustworkx(self) -> None:
        with patch.dict(sys.modules, {"rustworkx": None}):
            self.assertRaisesRegex(LocalError, r"txsoter\[crawl\]", layout, 2, [(0, 1)], {}, 1.0)


class Reactor(Clock):
    """Starts processes in memory, and calls in other threads at once.

    :ivar process: the last one.
    :ivar said: what was written to it.
    :ivar killed: whether it was.
    """

    pid: int | None = 1
    killed = False

    def spawnProcess(self, process: Any, executable: str, args: Any, **how: Any) -> None:
        self.process, self.said = process, b""
        process.transport = self
        process.connectionMade()

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, done: Any, call: Any, *arguments: Any, **keywords: Any) -> None:
        try:
            found = call(*arguments, **keywords)
        except Exception:
            done(False, Failure())
        else:
            done(True, found)

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)

    def write(self, data: bytes) -> None:
        self.said += data

    def closeStdin(self) -> None:
        pass

    def signalProcess(self, signal: str) -> None:
        self.killed = True

    def end(self, status: Any) -> None:
        self.pid = None
        self.process.processEnded(Failure(status))


class ProcessTests(TestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.layouts = LayoutProcess(self.reactor)
        self.found: list[Any] = []
        laying_out = self.layouts.layout(2, [(0, 1)], {0: (0.5, 0.25)}, 3.0)
        laying_out.addBoth(self.found.append)

    def assert_failed(self, words: str) -> None:
        (failure,) = self.found
        self.assertIsInstance(failure.value, LayoutFailed)
        self.assertIn(words, str(failure.value))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_it_is_told_and_says(self) -> None:
        self.assertEqual(json.loads(self.reactor.said), [2, [[0, 1]], [[0, [0.5, 0.25]]], 3.0])
        self.reactor.process.outReceived(b"[[0,1],")
        self.reactor.process.outReceived(b"[2,3]]")
        self.assertEqual(self.found, [])
        self.reactor.end(ProcessDone(0))
        self.assertEqual(self.found, [[(0, 1), (2, 3)]])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_it_fails(self) -> None:
        self.reactor.process.errReceived(b"Traceback\n" * 1000 + b"LocalError: no such thing\n")
        self.reactor.end(ProcessTerminated(1))
        self.assert_failed("LocalError: no such thing")

    def test_another_number_of_positions(self) -> None:
        self.reactor.process.outReceived(b"[[0,1]]")
        self.reactor.end(ProcessDone(0))
        self.assert_failed("1 positions for 2 nodes")

    def test_it_takes_too_long(self) -> None:
        self.reactor.advance(3 + GRACE - 1)
        self.assertFalse(self.reactor.killed)
        self.reactor.advance(2)
        self.assertTrue(self.reactor.killed)
        self.reactor.end(ProcessTerminated(None, 9))
        self.assert_failed("signal 9")

    def test_it_says_too_much(self) -> None:
        for _ in range(33):
            self.reactor.process.outReceived(bytes(1 << 20))
        self.assertTrue(self.reactor.killed)
        self.reactor.end(ProcessTerminated(None, 9))
        self.assert_failed("signal 9")

    def test_stopping_waits_for_its_end(self) -> None:
        stopped: list[Any] = []
        self.layouts.stop().addCallback(stopped.append)
        self.assertTrue(self.reactor.killed)
        self.assertEqual(stopped, [])
        self.reactor.end(ProcessTerminated(None, 9))
        self.assertEqual(stopped, [None])
        self.assert_failed("signal 9")
        self.layouts.layout(2, [(0, 1)], {}, 3.0).addErrback(self.found.append)
        self.assertIn("stopped", str(self.found.pop().value))


def test_what_the_process_does() -> None:
    """It reads one request, and writes the positions; run here, where it may not become nicer."""
    request = json.dumps([3, [[0, 1], [1, 2]], [[0, [0.5, 0.25]]], 0.05])
    out = io.StringIO()
    with patch("sys.stdin", io.StringIO(request)), patch("sys.stdout", out), patch("os.nice") as nice:
        main()
    assert nice.called
    assert len(json.loads(out.getvalue())) == 3


@over_sockets()
async def test_in_a_process() -> None:
    points = await LayoutProcess(real_reactor()).layout(60, PAIRS, {}, 0.1)
    assert len({tuple(point) for point in points}) == 60


@over_sockets()
async def test_a_process_is_killed() -> None:
    layouts = LayoutProcess(real_reactor())
    laying_out: Deferred[Any] = layouts.layout(60, PAIRS, {}, 1000.0)
    stopping = layouts.stop()
    with pytest.raises(LayoutFailed):
        await laying_out
    await stopping
