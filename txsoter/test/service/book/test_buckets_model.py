"""Whatever happens to it, an address book's tables agree with each other, and what is written with what is known."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txsoter.ip import is_v4
from txsoter.service.book.buckets import Buckets
from txsoter.service.book.known import Row
from txsoter.service.book.places import Place
from txsoter.service.book.tables import Table
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import DAY, NOW, at, buckets, ip

# so few that they meet in the tables
PLACES = [at(f"{first}.{second}.1.1") for first in (11, 12, 13) for second in range(4)]
PLACES += [at(f"2a0{second}::1") for second in range(3)]
SOURCES = [ip("20.1.1.1"), ip("21.1.1.1"), ip("22.1.1.1")]

places = st.sampled_from(PLACES)
calls = st.one_of(
    st.tuples(st.just("hear"), places, st.integers(0, 9), st.integers(-40, 1), st.sampled_from(SOURCES)),
    st.tuples(st.just("name"), places, st.just(1)),
    st.tuples(st.just("attempted"), places),
    st.tuples(st.just("failed"), places),
    st.tuples(st.just("succeeded"), places, st.integers(0, 9)),
    st.tuples(st.just("connected"), places),
    st.tuples(st.just("parted"), places),
    st.tuples(st.just("forget"), places),
    st.tuples(st.just("is_own"), places),
)


class Crowded(Buckets):
    """With so few slots that all are wanted by several."""

    def __init__(self) -> None:
        super().__init__(bytes(32), Random(1))
        of_new, of_tried = self._slots.of_new, self._slots.of_tried
        crowded: Any = self._slots
        crowded.of_new = lambda *arguments: of_new(*arguments) % 5 * 16
        crowded.of_tried = lambda *arguments: of_tried(*arguments) % 3 * 16


class ModelTests(TrialCase):
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.lists(st.tuples(calls, st.integers(0, 3 * DAY)), max_size=60))
    def test_tables_agree(self, history: list[tuple[tuple[Any, ...], int]]) -> None:
        """After any history: each slot has one address, the counts are right, and what was written is what is known."""
        book, now = Crowded(), NOW
        written: dict[Place, Row] = {}
        own: set[Place] = set()
        for (verb, place, *arguments), passed in history:
            now += passed
            if verb == "hear":
                arguments[1] = now + arguments[1] * DAY
            getattr(book, verb)(place, *arguments, *(() if verb in ("forget", "is_own") else (now,)))
            for changed in book.changed:
                written.pop(changed, None)
                if changed in book.known:
                    written[changed] = book.known[changed].row()
                own.discard(changed)
                if changed in book.own:
                    own.add(changed)
            book.changed.clear()
            self.check(book)
        self.assertEqual(written, {place: known.row() for place, known in book.known.items()})
        self.assertEqual(own, set(book.own))
        again = buckets()
        again.load(written.values(), own)
        self.assertEqual(again.changed, set())
        self.assertEqual({place: known.row() for place, known in again.known.items()}, written)
        self.check(again)
        self.assertEqual((again._sound, again._last_success), (book._sound, self.last_success(book)))

    def check(self, book: Buckets) -> None:
        for tried, table in ((False, book._new), (True, book._tried)):
            at_slot = {slot: known for known in book.known.values() if known.tried is tried for slot in known.slots}
            self.assertEqual(at_slot, table._at)
            slots = [slot for known in book.known.values() if known.tried is tried for slot in known.slots]
            self.assertEqual(len(slots), len(set(slots)))
            self.check_table(table)
        for place, known in book.known.items():
            self.assertEqual(known.place, place)
            self.assertTrue(known.slots)
            self.assertLessEqual(len(known.slots), 1 if known.tried else 4)
            self.assertNotIn(place, book.own)
        sources = Counter(known.source_group for known in book.known.values() if not known.tried)
        self.assertEqual(sources, book._sources)
        self.assertTrue(book._refused.keys() <= sources.keys())
        self.assertEqual(book._sound, sum(known.tried and not known.attempts for known in book.known.values()))

    def check_table(self, table: Table) -> None:
        taken: dict[int, set[int]] = {}
        for slot in table._at:
            taken.setdefault(slot // 16, set()).add(slot)
        self.assertEqual({bucket: set(slots) for bucket, slots in table._buckets.items()}, taken)
        self.assertEqual(sorted(table._filled), sorted(taken))
        self.assertEqual(
            {bucket: table._filled[at] for bucket, at in table._position.items()}, {each: each for each in taken}
        )

    def last_success(self, book: Buckets) -> dict[bool, int]:
        succeeded = {True: [1], False: [1]}
        for place, known in book.known.items():
            succeeded[is_v4(place.ip)].append(known.succeeded)
        return {family: max(times) for family, times in succeeded.items()}


class LoadTests(TrialCase):
    """Buckets.load: a file may say anything that its columns can hold."""

    def test_what_cannot_stand_there(self) -> None:
        """Slots that do not exist or are taken, our own, unreachable: left out, and to be written so."""
        book = buckets()
        for place in PLACES:
            book.hear(place, 1, NOW, SOURCES[0], NOW)
        book.succeeded(PLACES[0], 1, NOW)
        good = {place: known.row() for place, known in book.known.items()}
        row = good[PLACES[1]]
        tried = good[PLACES[0]]
        amiss = [
            row._replace(ip=ip("30.1.1.1")),
            row._replace(ip=ip("30.1.1.2"), slots=b""),
            row._replace(ip=ip("30.1.1.3"), slots=b"\xff\xff"),
            tried._replace(ip=ip("30.1.1.4")),
            tried._replace(ip=ip("30.1.1.5"), slots=b"\x10\x00"),
            row._replace(ip=ip("127.0.0.1"), slots=b"\0\0"),
            row._replace(ip=ip("30.1.1.6"), slots=b"\0\0"),
        ]
        again = buckets()
        again.load([*good.values(), *amiss], [Place(ip("30.1.1.6"), 5070)])
        self.assertEqual({place: known.row() for place, known in again.known.items()}, good)
        self.assertEqual(again.changed, {Place(each.ip, each.port) for each in amiss})

    def test_some_slots(self) -> None:
        """One that can stand in some of its slots stands there, in four at most."""
        book = buckets()
        book.hear(PLACES[0], 1, NOW, SOURCES[0], NOW)
        row = book.known[PLACES[0]].row()
        again = buckets()
        again.load([row._replace(slots=b"\0\1\0\2\0\2\0\4\0\5")], [])
        self.assertEqual(again.known[PLACES[0]].slots, [1, 2, 4])
        self.assertEqual(again.changed, {PLACES[0]})
