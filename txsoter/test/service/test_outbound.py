"""OutboundService: so many peers are kept, from the book, and never two where one is enough."""

from __future__ import annotations

import errno
from itertools import pairwise
from typing import Any

from twisted.internet.error import ConnectBindError, getConnectError
from twisted.logger import LogLevel

from txsoter.networks import SIMNET
from txsoter.service.outbound import OutboundService
from txsoter.service.quick_retries import QUICK_TRIES
from txsoter.test.service.book.support import NOW
from txsoter.test.service.dialling import OutboundCase, World


class KeepTests(OutboundCase):
    """So many are kept."""

    def test_found(self) -> None:
        """So many peers are found, and then nobody is dialled: nothing runs."""
        outbound = self.begin(3)
        self.assertEqual(self.world.dialled, [])
        self.wait(5)
        self.assertEqual(len(outbound.ready), 3)
        self.assertEqual(set(outbound.ready), self.peers.peers)
        self.assertEqual(set(outbound.ready.values()), set(self.world.dialled))
        self.wait(100, 1)
        self.assertEqual(len(self.world.dialled), 3)
        self.assertEqual(dict(self.book.sizes()), {"tried": 3, "new": 17})

    def test_none_wanted(self) -> None:
        """Of zero nothing is dialled."""
        self.begin(0)
        self.wait(100, 1)
        self.assertEqual(self.world.dialled, [])

    def test_replaced(self) -> None:
        """One that is gone is replaced, and was good until it went."""
        outbound = self.begin(3)
        self.wait(5)
        gone = self.world.dialled[0]
        self.wait(1000, 50)
        self.world.reset(gone)
        self.assertEqual(len(outbound.ready), 2)
        self.wait(5)
        self.assertEqual(len(outbound.ready), 3)
        known = self.book.get(gone)
        assert known is not None
        self.assertGreater(known.succeeded, NOW + 1000)

    def test_dialled_slowly(self) -> None:
        """Half a second between two attempts, more or less by half: not all at once."""
        outbound = self.begin(8)
        times = []
        while len(outbound.ready) < 8:
            before = len(self.world.dialled)
            self.wait(0.05, 0.05)
            self.assertLessEqual(len(self.world.dialled), before + 1)
            times += [self.clock.seconds()] * (len(self.world.dialled) - before)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertGreaterEqual(min(gaps), 0.2)
        self.assertLessEqual(max(gaps), 0.85)
        self.assertGreater(len({round(gap, 1) for gap in gaps}), 2)

    def test_few_at_once(self) -> None:
        """At most three are dialled at a time, and no more than are wanted."""
        for count, at_once in ((8, 3), (2, 2)):
            self.world = World()
            outbound = self.begin(count)
            self.world.hanging = dict.fromkeys(self.places)
            self.wait(20)
            self.assertEqual(len(self.world.dialled), at_once)
            self.assertEqual(set(outbound.attempts), set(self.world.dialled))
            self.end()

    def test_slower_and_slower(self) -> None:
        """While nobody answers it is dialled less and less often: each half a minute in the end, and that is told."""
        self.world.refuses_all = True
        outbound = self.begin(8, 60)
        self.wait(20)
        early = len(self.world.dialled)
        self.assertGreater(early, 5)
        self.wait(300, 1)
        before = len(self.world.dialled)
        self.wait(600, 1)
        self.assertGreater(len(self.world.dialled) - before, 600 / 45 - 2)
        self.assertLess(len(self.world.dialled) - before, 600 / 15)
        self.assertEqual(len(outbound.ready), 0)
        (warning,) = self.logged()
        self.assertIn("0 of 8 peers found, and no more for now: the last was ", warning)
        self.assertIn("Connection was refused by other side", warning)
        # and at once again when one has answered
        self.world.refuses_all = False
        self.wait(90, 1)
        self.assertEqual(len(outbound.ready), 8)

    def test_the_only_one_is_not_up_yet(self) -> None:
        """It is tried quickly a few times, and then each half a minute; and quickly again when it has been there."""
        outbound = self.begin(1, 1)
        [place] = self.places
        self.world.refusing.add(place)
        started, times = self.clock.seconds(), list[float]()
        while self.clock.seconds() < started + 300:
            before = len(self.world.dialled)
            self.wait(0.25)
            times += [self.clock.seconds() - started] * (len(self.world.dialled) - before)
        self.assertGreaterEqual(len([at for at in times if at <= 12]), 4)
        self.assertEqual(len([at for at in times if at <= 30]), 5)
        self.assertGreaterEqual(min(later - earlier for earlier, later in pairwise(times[5:])), 30)
        self.world.refusing.clear()
        self.wait(90)
        self.assertEqual(list(outbound.ready.values()), [place])
        self.world.refusing.add(place)
        self.wait(60)
        before = len(self.world.dialled)
        self.world.reset(place)
        self.wait(15)
        self.assertGreaterEqual(len(self.world.dialled) - before, 3)

    def test_one_that_takes_us_and_hangs_up_is_not_tried_quickly(self) -> None:
        """It is up; we would be a nuisance."""
        outbound = self.begin(1, 1)
        [place] = self.places
        self.wait(3)
        for _ in range(300):
            if outbound.ready:
                self.world.reset(place)
            self.wait(1, 0.5)
        self.assertLess(len(self.world.dialled), 12)

    def test_nobody_known(self) -> None:
        """An empty book is told of, and looked into again: once somebody is known, he is dialled."""
        outbound = self.begin(2, 0)
        self.wait(200, 1)
        self.assertEqual(
            self.logged(), ["0 of 2 peers found, and no more for now: the address book has nobody else to dial"]
        )
        self.know("11.1.1.1", "12.1.1.1")
        self.wait(100, 1)
        self.assertEqual(len(outbound.ready), 2)

    def test_stopped(self) -> None:
        """What is being dialled is given up, and does not count; who is ready stays. It can be started again."""
        outbound = self.begin(4)
        self.wait(1.2)
        ready = set(outbound.ready)
        self.assertTrue(ready)
        self.world.hanging = dict.fromkeys(self.places)
        self.wait(10, 1)
        self.assertEqual(len(outbound.attempts), 4 - len(ready))
        self.give_up(outbound, ready)
        dialled = len(self.world.dialled)
        self.world.hanging.clear()
        self.wait(60, 1)
        self.assertEqual(len(self.world.dialled), dialled)
        outbound.startService()
        self.wait(60, 1)
        self.assertEqual(len(outbound.ready), 4)

    def test_stopped_while_shaking_hands(self) -> None:
        """So is what has been connected to, and has not shaken hands."""
        self.world.silent = True
        outbound = self.begin(3)
        self.wait(10, 1)
        self.assertEqual(len(self.peers.peers), 3)
        self.give_up(outbound, set())

    def give_up(self, outbound: OutboundService, left: set[Any]) -> None:
        """Stop it: nothing of what it tried is left, or noted as a failure."""
        attempts = set(outbound.attempts)
        self.successResultOf(outbound.stopService())
        self.world.pump()
        self.assertEqual(self.peers.peers, left)
        for place in attempts:
            known = self.book.get(place)
            assert known is not None
            self.assertEqual(known.attempts, 0)

    def test_peer_service_stops_first(self) -> None:
        """When the connections are ended for it, that says nothing of the remotes."""
        self.world.silent = True
        outbound = self.begin(3)
        self.wait(3)
        places = set(outbound.attempts)
        self.assertEqual(len(places), 3)
        self.peers.client_factory.disconnect_all("over")
        self.world.pump()
        for place in places:
            known = self.book.get(place)
            assert known is not None
            self.assertEqual(known.attempts, 0)


class OutcomeTests(OutboundCase):
    """How it went is noted."""

    def test_refused(self) -> None:
        """One where nobody listens has failed, which counts once; it is tried quickly a few times, and then slowly."""
        outbound = self.begin(1, 1)
        self.world.refuses_all = True
        self.wait(29, 1)
        self.assertEqual(len(self.world.dialled), 1 + QUICK_TRIES)
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual((known.attempts, known.tried), (1, False))
        self.wait(60, 1)
        self.assertIn(len(self.world.dialled) - QUICK_TRIES, (2, 3))
        self.assertEqual(outbound.ready, {})

    def test_a_failure_that_is_ours_counts_for_nobody(self) -> None:
        """No route, no IPv6, no descriptors left: it is tried again, and nothing is held against who is there."""
        for number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EMFILE):
            for error in (getConnectError((number, "no way")), ConnectBindError(number, "none"), OSError(number, "no")):
                self.world = World()
                self.world.failing = error
                self.begin(1, 1)
                self.wait(100, 1)
                self.assertGreaterEqual(len(self.world.dialled), 2)
                known = self.book.get(self.places[0])
                assert known is not None
                self.assertEqual((known.attempts, known.counted), (0, 0), error)
                self.end()

    def test_wrong_network(self) -> None:
        """One that is no peer of this network has failed."""
        self.world.silent = True
        self.begin(1, 1)
        self.wait(2)
        self.world.accept(self.places[0], genesis_hash=SIMNET.genesis_hash)
        self.wait(1)
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual((known.attempts, known.tried), (1, False))
        self.assertEqual(self.peers.peers, frozenset())

    def test_nothing_happens(self) -> None:
        """An attempt that hangs is given up after a minute: a proxy may hang for ever."""
        self.begin(1, 1)
        self.world.hanging = dict.fromkeys(self.places)
        self.wait(59, 1)
        self.assertEqual(len(self.service.attempts if self.service else ()), 1)
        self.wait(5, 1)
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual(known.attempts, 1)

    def test_endpoint_that_cannot_be_made(self) -> None:
        """A road that cannot be taken is a failure like others, told when it is all there is."""

        def none(host: str, port: int) -> Any:
            raise ValueError("no road")

        self.world.endpoint_for = none  # type: ignore[method-assign]
        self.begin(1)
        self.wait(300, 1)
        (warning,) = self.logged()
        self.assertIn(": no road", warning)

    def test_ourselves(self) -> None:
        """An address that leads to ourselves is never dialled again."""
        self.world.silent = True
        outbound = self.begin(1, 1)
        self.wait(2)
        remote, _ = self.world.links[self.places[0]]
        remote.say(*remote.heard)
        self.wait(300, 1)
        self.assertEqual(self.world.dialled, self.places)
        self.assertEqual((len(self.book), outbound.ready), (0, {}))

    def test_ready_and_gone(self) -> None:
        """One that accepts us and goes is dialled each half a minute at most."""
        self.begin(1, 1)
        dialled = 0
        for _ in range(20):
            self.wait(10, 1)
            if self.places[0] in self.world.links:
                self.world.reset(self.places[0])
                dialled += 1
        self.assertGreater(dialled, 2)
        self.assertLessEqual(len(self.world.dialled), 8)

    def test_logged(self) -> None:
        """What fails is told at debug level, each of them; what a remote says is sanitised."""
        self.world.refuses_all = True
        self.begin(1, 1)
        self.wait(1.25)
        line = "no peer at 11.1.1.1:5070: Connection was refused by other side."
        self.assertEqual(self.logged(LogLevel.debug), [line])
