"""Tests of :mod:`txsoter.service.scores`."""

from __future__ import annotations

import math
from random import Random
from typing import Any
from unittest import TestCase

from txsoter import CloseCause
from txsoter.errors import FieldError
from txsoter.service.scores import LOOPBACK, THRESHOLD, UNKNOWN_COMMAND_WEIGHT, WEIGHTS, Entry, Scores

HOST = "192.0.2.7"
HOUR = 3600.0


def scores(**options: Any) -> Scores:
    """With round numbers: a score falls to its half in a minute, who reaches 100 is refused for an hour."""
    return Scores(**{"threshold": 100, "half_life": 60, "refusal": HOUR, **options})


class WeightsTests(TestCase):
    """The table of weights."""

    def times_a_minute(self, weight: float) -> float:
        """How often, at an even pace, it has to happen for the threshold to be reached at last."""
        return THRESHOLD * math.log(2) / weight

    def test_every_cause_has_one(self) -> None:
        """A cause that comes to be must be weighed, too."""
        self.assertEqual(set(WEIGHTS), set(CloseCause))
        self.assertTrue(all(0 <= weight < THRESHOLD for weight in WEIGHTS.values()))

    def test_what_is_ours_weighs_nothing(self) -> None:
        """Nobody is refused for what we do ourselves."""
        ours = {CloseCause.DISCONNECT, CloseCause.SELF_CONNECTION, CloseCause.HANDLER_FAILED, CloseCause.LOCAL_FAILURE}
        self.assertEqual({cause for cause, weight in WEIGHTS.items() if weight == 0}, ours)

    def test_ordinary_ends(self) -> None:
        """Whoever comes, goes, is lost or falls silent once a second is not refused."""
        for cause in (
            CloseCause.REMOTE_CLOSED,
            CloseCause.CONNECTION_LOST,
            CloseCause.REJECTED,
            CloseCause.REFUSED_BY_LISTENER,
            CloseCause.IDLE,
        ):
            self.assertGreater(self.times_a_minute(WEIGHTS[cause]), 60)

    def test_waste_weighs_less_than_offences(self) -> None:
        """Other networks and old versions are no attack; what only an attacker or a broken program does is more."""
        waste = {CloseCause.WRONG_GENESIS, CloseCause.INCOMPATIBLE_AGENT, CloseCause.OBSOLETE_VERSION}
        offences = {CloseCause.MALFORMED, CloseCause.BLOOM_DISABLED, CloseCause.STALLED, CloseCause.OVER_BUDGET}
        self.assertLess(max(WEIGHTS[cause] for cause in waste), min(WEIGHTS[cause] for cause in offences))

    def test_one_is_never_enough(self) -> None:
        """Chance does not get anybody refused; three malformed messages within a minute are none."""
        kept = scores()
        outcome = [kept.add(HOST, WEIGHTS[CloseCause.MALFORMED], "", now) for now in (0, 30, 60)]
        self.assertEqual(outcome, [False, False, True])

    def test_unknown_commands(self) -> None:
        """Ten a second may come of a newer version, twelve are a flood."""
        for rate, refused in ((10, False), (12, True)):
            kept = scores()
            outcome = [kept.add(HOST, UNKNOWN_COMMAND_WEIGHT, "", each / rate) for each in range(rate * 600)]
            self.assertEqual(any(outcome), refused)


class ScoresTests(TestCase):
    """Scores."""

    def test_decays(self) -> None:
        """A score falls to its half in a minute, and what comes is added to what is left."""
        kept = scores()
        kept.add(HOST, 80, "", 1000.0)
        for minutes, score in ((0, 80), (0.5, 80 / math.sqrt(2)), (1, 40), (2, 20), (60, 80 / 2**60)):
            self.assertAlmostEqual(kept.score(HOST, 1000.0 + 60 * minutes), score)
        kept.add(HOST, 30, "", 1060.0)
        self.assertAlmostEqual(kept.score(HOST, 1060.0), 70)
        self.assertAlmostEqual(kept.score(HOST, 1120.0), 35)
        self.assertEqual(kept.score("192.0.2.8", 1120.0), 0)

    def test_refused_from_the_threshold_on_for_a_time(self) -> None:
        """Who reaches it is refused, and told apart from who only comes near; then begins anew."""
        kept = scores()
        self.assertIs(kept.add(HOST, 99.5, "", 0), False)
        self.assertIsNone(kept.why_refused(HOST, 0))
        self.assertIs(kept.add(HOST, 0.5, "a malformed message came", 0), True)
        reason = "misbehaved, for another 1 h: a malformed message came"
        self.assertEqual((kept.why_refused(HOST, 0), kept.refused_until(HOST, 0)), (reason, HOUR))
        self.assertEqual(kept.why_refused(HOST, HOUR - 120), reason.replace("1 h", "2 min"))
        self.assertEqual(kept.why_refused(HOST, HOUR - 0.01), reason.replace("1 h", "1 s"))
        self.assertIsNone(kept.why_refused(HOST, HOUR))
        self.assertEqual(kept.score(HOST, HOUR), 0)
        self.assertIs(kept.add(HOST, 99, "", HOUR), False)

    def test_refused_once(self) -> None:
        """What comes while it is refused neither counts nor makes it longer."""
        kept = scores()
        self.assertIs(kept.add(HOST, 100, "", 0), True)
        self.assertIs(kept.add(HOST, 100, "", HOUR - 1), False)
        self.assertEqual(kept.refused_until(HOST, HOUR - 1), HOUR)

    def test_groups(self) -> None:
        """IPv4 addresses are told apart, however they are written; of IPv6 the networks that one subscriber has."""
        same = (("192.0.2.7", "::ffff:192.0.2.7"), ("2001:db8::1", "2001:db8::ffff:2:3:4%eth0"))
        other = (("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8:0:1::1"))
        for first, second in same + other:
            kept = scores()
            kept.add(first, 100, "", 0)
            self.assertEqual(kept.why_refused(second, 0) is not None, (first, second) in same)

    def test_what_has_no_ip(self) -> None:
        """It cannot be told apart, and is neither scored nor refused."""
        kept = scores(whitelist=())
        for host in (None, "", "unix", "expyuzz4wqqyqhjn.onion", "localhost"):
            self.assertIs(kept.add(host, 1000, "", 0), False)
            self.assertIsNone(kept.why_refused(host, 0))
        self.assertEqual(len(kept), 0)

    def test_whitelist(self) -> None:
        """Networks that are whitelisted are neither scored nor refused, even when others of their group are."""
        kept = scores(whitelist=["192.0.2.0/28", "2001:db8::5", "198.51.100.7/24"])
        for host in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::5", "198.51.100.200"):
            self.assertIs(kept.add(host, 1000, "", 0), False)
            self.assertEqual((kept.score(host, 0), kept.why_refused(host, 0)), (0, None))
        for host in ("192.0.2.16", "2001:db8::6", "127.0.0.1"):
            self.assertIs(kept.add(host, 1000, "", 0), True)
        self.assertIsNone(kept.why_refused("2001:db8::5", 0))
        self.assertIsNotNone(kept.why_refused("2001:db8::6", 0))

    def test_loopback(self) -> None:
        """By default loopback is whitelisted: behind it may be a Tor, and with it everybody who uses it."""
        for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertIs(Scores().add(host, 1000, "", 0), False)
        self.assertEqual(LOOPBACK, ("127.0.0.0/8", "::1/128"))
        self.assertIs(Scores().add("128.0.0.1", 1000, "", 0), True)

    def test_nothing_to_add(self) -> None:
        """No points, no entry."""
        kept = scores()
        kept.add(HOST, 0, "", 0)
        self.assertEqual(len(kept), 0)

    def test_bounded(self) -> None:
        """Whoever comes from however many addresses: no more are remembered than may be, the latest ones."""
        kept, random = scores(max_entries=50), Random(3)
        for now in range(5000):
            kept.add(f"2001:db8:{random.randrange(1000):x}::1", random.choice((60, 100)), "", now)
            self.assertLessEqual(len(kept), 100)
        self.assertEqual(len(kept), 100)
        kept = scores(max_entries=2)
        for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
            kept.add(host, 10, "", 0)
        self.assertEqual([kept.score(f"192.0.2.{each}", 0) for each in (1, 2, 3)], [20, 0, 10])

    def test_entries(self) -> None:
        """For people: who is refused and who has a score, the latest first, and nobody whose time is over."""
        kept = scores()
        kept.add("192.0.2.1", 100, "first", 0)
        kept.add("2001:db8::1", 100, "second", 10)
        kept.add("192.0.2.3", 40, "third", 20)
        kept.add("192.0.2.4", 40, "fourth", 80)
        expected = [
            Entry("2001:db8::/64", 100 * 0.5 ** (70 / 60), HOUR + 10, "second"),
            Entry("192.0.2.1", 100 * 0.5 ** (80 / 60), HOUR, "first"),
            Entry("192.0.2.4", 40, None, "fourth"),
            Entry("192.0.2.3", 20, None, "third"),
        ]
        self.assertEqual(kept.entries(80), expected)
        self.assertEqual((kept.refused(80), len(kept)), (2, 4))
        self.assertEqual([each.address for each in kept.entries(HOUR)], ["2001:db8::/64"])
        self.assertEqual((kept.refused(HOUR), len(kept)), (1, 1))

    def test_forgiven(self) -> None:
        """Who is forgiven has no score and may come in."""
        kept = scores()
        kept.add(HOST, 100, "", 0)
        kept.add("192.0.2.8", 50, "", 0)
        for host in (HOST, "192.0.2.8", "192.0.2.9"):
            kept.forgive(host)
        self.assertEqual(kept.entries(0), [])

    def test_values_that_cannot_be(self) -> None:
        """A field error that names what is wrong, and what is allowed."""
        for name in ("threshold", "half_life", "refusal"):
            for value in (0, -1, math.inf, math.nan, "5"):
                with self.assertRaisesRegex(FieldError, rf"Scores\.{name} = .*must be a number above 0"):
                    scores(**{name: value})
        wrong: Any
        for wrong in (0, 1.5, None):
            with self.assertRaisesRegex(FieldError, r"Scores\.max_entries = .*whole number"):
                scores(max_entries=wrong)
        for wrong in ("here", "192.0.2.0/33", None, 1.5):
            with self.assertRaisesRegex(FieldError, r"Scores\.whitelist = .*such as 192\.0\.2\.7"):
                scores(whitelist=[wrong])
