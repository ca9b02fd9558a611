"""Tests of :mod:`txsoter.service.status.parts`."""

from __future__ import annotations

import json
import math
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txsoter.capture import CaptureState
from txsoter.service.status import Ban, Dialled, StatusParts
from txsoter.service.status.ages import PageClock
from txsoter.service.status.parts import MAX_ROWS, Parts
from txsoter.test.peer.support import TrialCase

NOTHING = {"book": None, "bans": None, "listening": None, "dialled": None, "capture": None}


class PartsTests(TrialCase):
    def test_what_nobody_has_is_none(self) -> None:
        self.assertEqual(Parts(StatusParts(), PageClock(Clock())).rows(), NOTHING)

    def test_rows(self) -> None:
        parts = StatusParts(
            book=lambda: {"tried": 5, "share": 0.5},
            bans=lambda: [Ban("192.0.2.1", 12.34567, "flooding"), Ban("192.0.2.2")],
            listening=lambda: ["192.0.2.5:8333"],
            dialled=lambda: [Dialled("tcp:a:1", "connected"), Dialled("tcp:b:1", "waiting", 99.0, "refused")],
            capture=lambda: CaptureState("No space left on device", 5000, 0, 17, 1),
        )
        expected = {
            "book": {"tried": 5, "share": 0.5},
            "bans": [
                {"address": "192.0.2.1", "until": 12.346, "reason": "flooding"},
                {"address": "192.0.2.2", "until": None, "reason": ""},
            ],
            "listening": ["192.0.2.5:8333"],
            "dialled": [
                {"name": "tcp:a:1", "state": "connected", "retry_at": None, "detail": ""},
                {"name": "tcp:b:1", "state": "waiting", "retry_at": 99.0, "detail": "refused"},
            ],
            "capture": {
                "reason": "No space left on device",
                "stored": 5000,
                "waiting": 0,
                "dropped": 17,
                "failures": 1,
            },
        }
        self.assertEqual(Parts(parts, PageClock(Clock())).rows(), expected)

    def test_bounds(self) -> None:
        """However many there are, and whatever is in them: JSON can hold it."""
        endless = (f"\x00{number}" + "x" * 9999 for number in range(10**9))
        parts = StatusParts(
            book=lambda: {"a": math.inf, "b": math.nan, "c": 1},
            bans=lambda: [Ban("a", math.inf), Ban("b", math.nan)],
            listening=lambda: endless,
        )
        rows = Parts(parts, PageClock(Clock())).rows()
        self.assertEqual(rows["book"], {"c": 1})
        self.assertEqual([each["until"] for each in rows["bans"]], [None, None])
        self.assertEqual(len(rows["listening"]), MAX_ROWS)
        self.assertLess(len(json.dumps(rows, allow_nan=False)), 40_000)

    def test_an_answer_that_comes_later(self) -> None:
        """Until then there is what was before; and nobody is asked again who has not answered yet."""
        asked: list[Deferred[Any]] = []

        def ask() -> Deferred[Any]:
            asked.append(Deferred())
            return asked[-1]

        parts = Parts(StatusParts(book=ask), PageClock(Clock()))
        self.assertIsNone(parts.rows()["book"])
        self.assertIsNone(parts.rows()["book"])
        self.assertEqual(len(asked), 1)
        asked[0].callback({"tried": 1})
        self.assertEqual(parts.rows()["book"], {"tried": 1})
        self.assertEqual(len(asked), 2)
        asked[1].callback({"tried": 2})
        self.assertEqual(parts.rows()["book"], {"tried": 2})

    def test_one_that_fails_is_none_and_told_once(self) -> None:
        """It is asked again, and the others are shown; when it fails anew after that, it is told anew."""
        answers: list[Any] = [ZeroDivisionError(), ZeroDivisionError(), {"a": 1}, {"a": "no number"}]

        def ask() -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        parts = Parts(StatusParts(book=ask, listening=lambda: ["here"]), PageClock(Clock()))
        books = []
        for _ in range(4):
            rows = parts.rows()
            books.append(rows["book"])
            self.assertEqual(rows["listening"], ["here"])
        self.assertEqual(books, [None, None, {"a": 1}, None])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
