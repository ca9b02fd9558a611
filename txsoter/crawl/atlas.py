"""``Atlas``: everything that a crawl knows, and all its decisions. Knows neither Twisted nor a clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from random import Random

from txsoter.crawl.admission import Quotas, can_be_dialled
from txsoter.crawl.aliases import Aliases, OwnEnds, is_same_node
from txsoter.crawl.candidate import Candidate
from txsoter.crawl.claims import Claims
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.schedule import Schedule
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.ip import is_v4, network_group
from txsoter.service.book.places import Place

__all__ = ["NO_IPV6", "Atlas", "Tally"]

NO_IPV6 = (
    "IPv6 addresses are not dialled, because a soterd that has an IPv6 peer dies when it is asked for its addrcache"
)

MAX_HINTS = 8
"""Other addresses that one visit may have compared with the one that was visited."""

HOUR = 3600

SEEN_AGAIN = 3600.0
"""Seconds by which the time must have changed at which an address was last told of, to be written again."""

CLAIMS_KEPT = 86400.0
"""Seconds for which the claims of a node are remembered that does not answer."""

OUR_WAIT = 60.0
"""Seconds until a visit is repeated that failed for a reason of our own, such as a network that is down."""

# chance, and not a no
_MAY_BE_CHANCE = frozenset({Outcome.TIMED_OUT, Outcome.SILENT, Outcome.CLOSED, Outcome.NOT_COUNTED})


class Tally:
    """Visits of one node in one hour.

    :ivar latency: seconds, the sum over those that succeeded.
    :ivar height: the highest.
    """

    __slots__ = ("height", "latency", "successes", "visits")

    def __init__(self) -> None:
        self.visits = self.successes = self.height = 0
        self.latency = 0.0


class Atlas:
    """Addresses, what they claim, and when they are visited.

    Times are seconds of the crawl's own time: seconds since 1970 that are never set.

    :param rules: see :class:`CrawlRules`.
    :param random: for jitter.
    :ivar candidates: by address.
    :ivar dropped: addresses that were dropped: when, and why.
    :ivar changed: addresses whose record has changed since the store was written, and those that are gone.
    :ivar changed_claims: the same for what they claim.
    :ivar tallies: visits since then, by address and hour since 1970.
    :ivar refused: number of addresses that were told but not taken.
    """

    def __init__(self, rules: CrawlRules, random: Random) -> None:
        self.rules = rules
        self.candidates: dict[Place, Candidate] = {}
        self.claims = Claims()
        self.schedule = Schedule(rules.max_dials, rules.dials_per_second, rules.dials_per_network)
        self.aliases = Aliases(rules.compare_again)
        self.own_ends = OwnEnds()
        self.dropped: OrderedDict[Place, tuple[float, str]] = OrderedDict()
        self.changed: set[Place] = set()
        self.changed_claims: set[Place] = set()
        self.tallies: dict[tuple[Place, int], Tally] = {}
        self.refused = 0
        self._random = random
        self._quotas = Quotas(rules.max_unproven, rules.max_at_host)
        self._aliases_of: dict[Place, set[Place]] = {}
        # repetitions of visits in a single crawl
        self._retries: dict[Place, int] = {}

    # -- learning of addresses -----------------------------------------------------------------

    def name(self, place: Place, now: float) -> None:
        """Take an address that our own side names."""
        candidate = self.candidates.get(place)
        if candidate is None:
            candidate = self._add(place, now)
        elif candidate.debtor is not None:
            self._settle(candidate)
        candidate.is_named = True
        self._plan(candidate, now)

    def hear(self, places: Iterable[Place], source: Place, now: float) -> None:
        """Take addresses that a node tells of; it says nothing by telling its own."""
        group = network_group(source.ip)
        candidates, most = self.candidates, self.rules.max_sources
        for place in places:
            candidate = candidates.get(place)
            if candidate is None:
                if self._may_enter(place, group, now):
                    candidate = self._add(place, now)
                    candidate.sources = (group,)
                    candidate.debtor = group
                    candidate.rank = self._quotas.count(group) + 1
                    self._quotas.add(group, place)
                    self._plan(candidate, now)
                else:
                    self.refused += 1
            elif place != source:
                if now - candidate.last_seen >= SEEN_AGAIN:
                    self.changed.add(place)
                candidate.last_seen = now
                if len(candidate.sources) < most and group not in candidate.sources:
                    candidate.sources += (group,)
                    self.changed.add(place)

    def _may_enter(self, place: Place, group: bytes, now: float) -> bool:
        if not can_be_dialled(place, self.rules.allow_unroutable) or place in self.own_ends.recent:
            return False
        before = self.dropped.get(place)
        if (before is not None and now - before[0] < self.rules.quarantine) or not self._quotas.has_room(group, place):
            return False
        if len(self.candidates) < self.rules.max_nodes:
            return True
        # full: who has introduced the most gives way to who has introduced less
        heaviest = self._quotas.heaviest()
        if heaviest is None or self._quotas.count(heaviest) <= self._quotas.count(group) + 1:
            return False
        latest = self._quotas.latest(heaviest)
        if latest in self.schedule.under_way:
            return False
        self._drop(self.candidates[latest], now, "dropped: there were too many addresses that nobody had proven")
        return True

    def _add(self, place: Place, now: float) -> Candidate:
        candidate = self.candidates[place] = Candidate(place, now)
        self.dropped.pop(place, None)
        self.changed.add(place)
        return candidate

    def _settle(self, candidate: Candidate) -> None:
        if candidate.debtor is not None:
            self._quotas.settle(candidate.debtor, candidate.place)
            candidate.debtor = None
            candidate.rank = 0

    def _drop(self, candidate: Candidate, now: float, why: str) -> None:
        place = candidate.place
        self._settle(candidate)
        self._release_aliases(place)
        self._set_alias(candidate, None)
        del self.candidates[place]
        self.schedule.remove(place)
        if place in self.claims.cached_at:
            self.claims.forget(place)
            self.changed_claims.add(place)
        self.changed.add(place)
        self.dropped[place] = now, why
        if len(self.dropped) > self.rules.max_dropped:
            gone, _ = self.dropped.popitem(last=False)
            self.changed.add(gone)

    # -- visits --------------------------------------------------------------------------------

    def is_dialled(self, place: Place) -> bool:
        """Return whether an address is dialled at all."""
        return self.rules.dial_ipv6 or is_v4(place.ip)

    def _plan(self, candidate: Candidate, due: float) -> None:
        if self.is_dialled(candidate.place) and candidate.place not in self.schedule.under_way:
            self.schedule.put(candidate.place, due, candidate.rank)

    def next_visit(self, now: float) -> tuple[Place, ...]:
        """Begin the next visit: one address, two that are to be visited at the same time, or none now."""
        if len(self.aliases) and self.schedule.room(now) >= 2:
            pair = self.aliases.next_pair(self._can_be_compared, now)
            if pair is not None:
                for place in pair:
                    self.schedule.begin(place)
                return pair
        next_place = self.schedule.take(now)
        return () if next_place is None else (next_place,)

    def _can_be_compared(self, place: Place) -> bool | None:
        """Return whether an address can be compared now; None when it must be waited for."""
        if place in self.schedule.under_way:
            return None
        candidate = self.candidates.get(place)
        return candidate is not None and candidate.is_reachable

    def next_time(self, now: float) -> float | None:
        """Return the time at which the next visit may begin; None until one ends."""
        if len(self.aliases) and self.schedule.room(now) >= 2:
            return now
        return self.schedule.next_time(now)

    @property
    def is_finished(self) -> bool:
        """True when nothing is under way and nothing is planned."""
        return not (self.schedule.under_way or len(self.schedule) or len(self.aliases))

    def connected(self, place: Place, own_end: Place) -> None:
        """Note that a visit has got as far as a connection.

        :param own_end: our end of it.
        """
        self.own_ends.connected(place, own_end)

    def visited(self, results: tuple[VisitResult, ...], now: float) -> None:
        """Note the results of a visit; of two addresses, they are compared."""
        nonces = tuple(self.candidates[result.place].nonce for result in results)
        for result in results:
            self._visited(result, now)
        if len(results) == 2 and all(result.place in self.candidates for result in results):
            self._compare(results[0], results[1], (nonces[0], nonces[1]))

    def _visited(self, result: VisitResult, now: float) -> None:
        place = result.place
        self.schedule.end(place)
        candidate = self.candidates[place]
        candidate.visited(result, now)
        self.changed.add(place)
        if result.answered:
            self._settle(candidate)
            if result.seen_as is not None:
                self.own_ends.vote(network_group(place.ip), result.seen_as.ip)
            self._heard(candidate, result, now)
        elif candidate.failures:
            self._release_aliases(place)
            self._forget_old_claims(candidate, now)
        if candidate.last_success is not None and result.outcome is not Outcome.NOT_COUNTED:
            self._count(result, now)
        why = candidate.is_to_be_dropped(self.rules, now)
        if why:
            self._drop(candidate, now, why)
        elif self.rules.once:
            if self._is_tried_again(candidate, result):
                self._plan(candidate, now + self.rules.retry_wait)
        else:
            wait = OUR_WAIT if result.outcome is Outcome.NOT_COUNTED else candidate.wait(self.rules)
            self._plan(candidate, now + wait * self._random.uniform(0.9, 1.1))

    def _forget_old_claims(self, candidate: Candidate, now: float) -> None:
        """Forget what a node said that has been down for long; until then its edges are as old as before when it is
        back."""
        place = candidate.place
        if place in self.claims.cached_at and now - self.claims.cached_at[place] > CLAIMS_KEPT:
            self.claims.forget(place)
            self.changed_claims.add(place)

    def _is_tried_again(self, candidate: Candidate, result: VisitResult) -> bool:
        retries = self._retries.get(candidate.place, 0)
        if result.answered:
            again = result.inbound is None and is_v4(candidate.place.ip) and not retries
        else:
            worth_it = candidate.is_named or len(candidate.sources) > 1 or candidate.last_success is not None
            again = result.outcome in _MAY_BE_CHANCE and worth_it and retries < self.rules.retries
        if again:
            self._retries[candidate.place] = retries + 1
        return again

    def _count(self, result: VisitResult, now: float) -> None:
        tally = self.tallies.setdefault((result.place, int(now) // HOUR), Tally())
        tally.visits += 1
        if result.answered:
            tally.successes += 1
            tally.latency += result.latency or 0.0
            tally.height = max(tally.height, result.height)

    # -- what nodes say ------------------------------------------------------------------------

    def _heard(self, candidate: Candidate, result: VisitResult, now: float) -> None:
        place = candidate.place
        self.hear(result.told, place, now)
        if result.nonce:
            self.aliases.mark_seen(result.nonce, place, now)
        if candidate.alias_of is not None:
            self.aliases.suspect(place, candidate.alias_of, now)
        if result.outbound is None or result.inbound is None:
            return
        allow, recent = self.rules.allow_unroutable, self.own_ends.recent
        own = {result.own_end, result.seen_as}
        outbound = [each for each in result.outbound if can_be_dialled(each, allow)]
        inbound = [
            each for each in result.inbound if each not in own and each not in recent and can_be_dialled(each, allow)
        ]
        shared = self.claims.replace(place, outbound, inbound, now)
        self.changed_claims.add(place)
        # our connections to other addresses, which only the node that has them sees
        shared.update(recent[each] for each in result.inbound if each in recent and each not in own)
        for other in sorted(shared - {place})[:MAX_HINTS]:
            self.aliases.suspect(place, other, now)
        if len(outbound) > 1:
            self.aliases.mark_seen(frozenset(outbound), place, now)

    # -- several addresses of one node ---------------------------------------------------------

    def node_of(self, place: Place) -> Place:
        """Return the address under which the node is listed that has this one."""
        candidate = self.candidates.get(place)
        return place if candidate is None or candidate.alias_of is None else candidate.alias_of

    def _compare(self, one: VisitResult, other: VisitResult, nonces: tuple[int, int]) -> None:
        first, second = self.candidates[one.place], self.candidates[other.place]
        if is_same_node(one, other, self.own_ends, nonces):
            self._join(first, second)
        elif one.inbound is not None and other.inbound is not None:
            for each, listed in ((first, second), (second, first)):
                if each.alias_of == listed.place:
                    self._set_alias(each, None)

    def _join(self, one: Candidate, other: Candidate) -> None:
        roots = [self.candidates[self.node_of(each.place)] for each in (one, other)]
        root, alias = sorted(roots, key=lambda each: (each.first_success or 0.0, each.place))
        if root is alias:
            return
        for place in [alias.place, *self._aliases_of.get(alias.place, ())]:
            self._set_alias(self.candidates[place], root.place)

    def _set_alias(self, candidate: Candidate, root: Place | None) -> None:
        place, before = candidate.place, candidate.alias_of
        if before == root:
            return
        if before is not None:
            self._aliases_of[before].discard(place)
            if not self._aliases_of[before]:
                del self._aliases_of[before]
        if root is not None:
            self._aliases_of.setdefault(root, set()).add(place)
        candidate.alias_of = root
        self.changed.add(place)

    def _release_aliases(self, root: Place) -> None:
        """List the other addresses of a node that is gone by themselves, until they are compared again."""
        for place in sorted(self._aliases_of.get(root, ())):
            self._set_alias(self.candidates[place], None)
            self.aliases.forget(root, place)

    # -- from the store ------------------------------------------------------------------------

    def restore(self, candidate: Candidate, due: float) -> None:
        """Take over an address that was stored; after that nothing is changed."""
        place = candidate.place
        self.candidates[place] = candidate
        if candidate.alias_of is not None:
            self._aliases_of.setdefault(candidate.alias_of, set()).add(place)
        if candidate.first_success is None and candidate.sources and not candidate.is_named:
            candidate.debtor = candidate.sources[0]
            self._quotas.add(candidate.debtor, place)
            candidate.rank = self._quotas.count(candidate.debtor)
        self._plan(candidate, due)

    def release_orphans(self) -> None:
        """List addresses by themselves whose node is not known any more."""
        for root in sorted(self._aliases_of):
            if root not in self.candidates:
                self._release_aliases(root)
