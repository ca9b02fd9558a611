"""Which addresses are kept, which are picked, which are told: the policy, without files, threads or a clock.

It guarantees what Bitcoin's address manager does: what has worked stands apart from hearsay; nobody who tells us
addresses, however many, can reach more than a few of the places where they are kept, nor know which; what does not
work fades; and memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from txsoter.ip import is_routable, is_v4
from txsoter.service.book.known import DAY, FUTURE, HOUR, MINUTE, UNDATED, WEEK, WORKED_ONCE, Known, Row
from txsoter.service.book.places import Place, source_group
from txsoter.service.book.tables import NEW_BUCKETS, TRIED_BUCKETS, Slots, Table

__all__ = ["Buckets"]

PENALTY = 2 * HOUR
"""Seconds by which hearsay counts as older than it says."""

LONG_AGO = 100_000_000
"""A time before this (1973) is no time."""

PRIVILEGED_PORTS = 1024
"""Ports below this one are not learned from hearsay: strangers would point us at other services."""

PROTECTED = 4 * HOUR
"""Seconds for which an address that has worked keeps its place among the tried ones against another that works."""

REFERENCES = 4
"""Slots in which hearsay may stand, if that many sources tell it."""

OWN_LIMIT = 1000
"""How many addresses of our own are remembered."""

TRIES = 100
"""How often the dice are thrown for a pick, before one looks at all, if these are few."""

FEW = 1000
"""Addresses that can be looked at one by one."""

Skip = Callable[[Known], object]
"""Says of an address whether it is not wanted now."""


class Buckets:
    """All that is known.

    :param key: secret, and the same as long as the addresses are kept.
    :param rng: where picks come from.
    :param allow_unroutable: take loopback, private and other addresses that are not of the internet, too.
    :param default_port: of the network.
    :ivar known: by place; to look at.
    :ivar own: places that are our own, in the order in which they were found.
    :ivar changed: places of which something is to be written.
    """

    def __init__(self, key: bytes, rng: Random, allow_unroutable: bool = False, default_port: int = 0) -> None:
        self.known: dict[Place, Known] = {}
        self.own: dict[Place, None] = {}
        self.changed: set[Place] = set()
        self._rng = rng
        self._allow_unroutable = allow_unroutable
        self._default_port = default_port
        self._slots = Slots(key)
        self._new = Table(NEW_BUCKETS)
        self._tried = Table(TRIED_BUCKETS)
        # how many in the hearsay come from each group of sources
        self._sources: dict[bytes, int] = {}
        # what they told and there was no room for
        self._refused: dict[bytes, int] = {}
        # tried ones whose last dial did not fail
        self._sound = 0
        # when anything last worked, IPv4 (True) or IPv6: a failure counts only once since, or being offline would
        # spoil all of a family
        self._last_success = {True: 1, False: 1}

    # -- looking -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.known)

    @property
    def tried(self) -> int:
        """How many have worked."""
        return len(self._tried)

    def accepts(self, place: Place) -> bool:
        """Whether an address may be kept."""
        return 0 < place.port < 1 << 16 and (self._allow_unroutable or is_routable(place.ip))

    # -- learning ------------------------------------------------------------------------------

    def hear(self, place: Place, services: int, seen: int, source: bytes, now: float) -> bool:
        """Somebody tells of an address.

        :param seen: when it was seen, as they say.
        :param source: 16 bytes, the IP of who tells.
        :return: whether it is new to us, and was kept.
        """
        if place.port < PRIVILEGED_PORTS and place.port != self._default_port:
            return False
        if place in self.own or not self.accepts(place):
            return False
        if not LONG_AGO < seen <= now + FUTURE:
            seen = int(now) - UNDATED
        penalty = 0 if place.ip == source else PENALTY
        known = self.known.get(place)
        if known is None:
            kept = self._place_new(Known(place, services, max(0, seen - penalty), source), source, now)
            if not kept:
                self._refuse(source)
            return kept
        if seen <= known.seen:
            return False
        self._heard_again(known, services, seen - penalty, now)
        # each further slot is twice as hard to get
        if not known.tried and len(known.slots) < REFERENCES and not self._rng.getrandbits(len(known.slots)):
            self._place_new(known, source, now)
        return False

    def _refuse(self, source: bytes) -> None:
        group = source_group(source)
        if group in self._sources:
            self._refused[group] = self._refused.get(group, 0) + 1

    def name(self, place: Place, services: int, now: float) -> bool:
        """Our own side names an address: it is kept, whoever has to go for it.

        :return: whether it is kept: not if it is our own, cannot be reached, or there are thousands of such.
        """
        if place in self.own or not self.accepts(place):
            return False
        known = self.known.get(place)
        if known is None:
            known = Known(place, services, int(now), place.ip)
            # others that were named stay where they are
            slots = (self._slots.of_new(place, known.group, b"named %d" % attempt) for attempt in range(TRIES))
            slot = next((slot for slot in slots if not self._is_named(slot)), None)
            if slot is None:
                return False
            there = self._new.get(slot)
            if there is not None:
                self._leave_new(there, slot)
            self._enter_new(known, slot)
        known.explicit = True
        return True

    def _is_named(self, slot: int) -> bool:
        there = self._new.get(slot)
        return there is not None and there.explicit

    def _heard_again(self, known: Known, services: int, seen: int, now: float) -> None:
        interval = HOUR if now - seen < DAY else DAY
        if known.seen < seen - interval:
            known.seen = seen
            self.changed.add(known.place)
        # of a tried one we have been told by itself
        if not known.tried and known.services | services != known.services:
            known.services |= services
            self.changed.add(known.place)

    def _place_new(self, known: Known, source: bytes, now: float) -> bool:
        slot = self._slots.of_new(known.place, known.group, source_group(source))
        there = self._new.get(slot)
        if there is known:
            return False
        if there is not None:
            # one with a second slot loses little
            spare = len(there.slots) > 1 and not known.slots
            if there.explicit or not (spare or there.is_stale(now)):
                return False
            self._leave_new(there, slot)
        self._enter_new(known, slot)
        return True

    # -- how it went ---------------------------------------------------------------------------

    def attempted(self, place: Place, now: float) -> None:
        """It is being dialled."""
        known = self.known.get(place)
        if known is not None:
            known.attempted = int(now)
            self.changed.add(place)

    def failed(self, place: Place, now: float) -> None:
        """It could not be dialled, or is no peer. It counts once until anything of its family has worked again."""
        known = self.known.get(place)
        if known is None or known.counted >= self._last_success[is_v4(place.ip)]:
            return
        self._sound -= known.tried and not known.attempts
        known.counted = int(now)
        known.attempts += 1
        self.changed.add(place)
        if known.attempts >= WORKED_ONCE and now - known.succeeded > WEEK and not known.explicit:
            self.forget(place)

    def succeeded(self, place: Place, services: int, now: float) -> None:
        """A handshake is over: it stands among the tried ones from now on, known before or not."""
        if place in self.own or not self.accepts(place):
            return
        known = self.known.get(place)
        if known is None:
            known = Known(place, services, int(now), place.ip)
        self._worked(place, int(now))
        self._sound += known.tried and known.attempts > 0
        known.services = services
        known.attempted = known.succeeded = int(now)
        known.attempts = 0
        if place in self.known:
            self.changed.add(place)
        if not known.tried:
            self._try(known, now)

    def _worked(self, place: Place, at: int) -> None:
        family = is_v4(place.ip)
        self._last_success[family] = max(self._last_success[family], at)

    def connected(self, place: Place, now: float) -> None:
        """A connection that is ready is still there; to be told more often than each :data:`PROTECTED` seconds."""
        self._still_works(place, now, DAY)

    def parted(self, place: Place, now: float) -> None:
        """A connection that was ready has ended: until now it has worked."""
        self._still_works(place, now, 20 * MINUTE)

    def _still_works(self, place: Place, now: float, unseen: float) -> None:
        known = self.known.get(place)
        if known is not None:
            known.succeeded = int(now)
            # not each time: those whom we tell shall not see whom we are connected to
            if now - known.seen > unseen:
                known.seen = int(now)
            self.changed.add(place)

    def _try(self, known: Known, now: float) -> None:
        slot = self._slots.of_tried(known.place, known.group)
        there = self._tried.get(slot)
        if there is not None and (there.explicit or 0 <= now - there.succeeded < PROTECTED):
            if not known.slots:
                self._place_new(known, known.source, now)
            return
        for each in list(known.slots):
            self._leave_new(known, each, for_good=False)
        if there is not None:
            self._leave_tried(there)
        self._enter_tried(known, slot)
        if there is not None:
            self._demote(there)

    def _demote(self, known: Known) -> None:
        """Back into the hearsay, whoever stands there: it has worked once."""
        slot = self._slots.of_new(known.place, known.group, known.source_group)
        there = self._new.get(slot)
        if there is not None:
            if there.explicit:
                self._drop(known)
                return
            self._leave_new(there, slot)
        self._enter_new(known, slot)

    def forget(self, place: Place) -> None:
        """Keep it no longer."""
        known = self.known.get(place)
        if known is None:
            return
        if known.tried:
            self._leave_tried(known)
        for slot in list(known.slots):
            self._leave_new(known, slot, for_good=False)
        self._drop(known)

    def is_own(self, place: Place) -> None:
        """It is our own address: never keep it again."""
        self.forget(place)
        if place not in self.own:
            self.own[place] = None
            self.changed.add(place)
            if len(self.own) > OWN_LIMIT:
                oldest = next(iter(self.own))
                del self.own[oldest]
                self.changed.add(oldest)

    # -- the tables ----------------------------------------------------------------------------

    def _enter_new(self, known: Known, slot: int) -> None:
        if not known.slots:
            group = known.source_group
            self._sources[group] = self._sources.get(group, 0) + 1
        self._new.put(slot, known)
        known.slots.append(slot)
        self.known[known.place] = known
        self.changed.add(known.place)

    def _leave_new(self, known: Known, slot: int, for_good: bool = True) -> None:
        self._new.clear(slot)
        known.slots.remove(slot)
        self.changed.add(known.place)
        if known.slots:
            return
        group = known.source_group
        left = self._sources.pop(group) - 1
        if left:
            self._sources[group] = left
        else:
            self._refused.pop(group, None)
        if for_good:
            self._drop(known)

    def _enter_tried(self, known: Known, slot: int) -> None:
        known.tried = True
        known.slots.append(slot)
        self._tried.put(slot, known)
        self._sound += not known.attempts
        self.known[known.place] = known
        self.changed.add(known.place)

    def _leave_tried(self, known: Known) -> None:
        self._tried.clear(known.slots.pop())
        self._sound -= not known.attempts
        known.tried = False
        self.changed.add(known.place)

    def _drop(self, known: Known) -> None:
        self.known.pop(known.place, None)
        self.changed.add(known.place)

    # -- picking -------------------------------------------------------------------------------

    def pick(self, now: float, skip: Skip | None = None) -> Known | None:
        """An address to dial, at random; None when there is none, or hardly one, that is wanted.

        Hearsay gets half of the picks at most, and not more than its sources count against the addresses that work.
        """
        first = self._tried if self._rng.random() >= self._share_of_new() else self._new
        for table in (first, self._new if first is self._tried else self._tried):
            found = self._pick_from(table, now, skip)
            if found is not None:
                return found
        return self._pick_of_few(now, skip) if len(self.known) <= FEW else None

    def _share_of_new(self) -> float:
        sources = len(self._sources)
        if not len(self._tried) or not sources:
            return float(sources > 0)
        return min(0.5, sources / (sources + self._sound))

    def _pick_from(self, table: Table, now: float, skip: Skip | None) -> Known | None:
        if not len(table):
            return None
        rng, eagerness = self._rng, 1.0
        for _ in range(TRIES):
            known = table.pick(rng)
            if skip is None or not skip(known):
                if rng.random() < eagerness * self._weight(known, now):
                    return known
                eagerness *= 1.2
        return None

    def _weight(self, known: Known, now: float) -> float:
        """Its chance; hearsay counts by the part that was kept of all that its sources told."""
        if known.tried or not self._refused:
            return known.chance(now)
        group = known.source_group
        kept = self._sources[group]
        return known.chance(now) * kept / (kept + self._refused.get(group, 0))

    def _pick_of_few(self, now: float, skip: Skip | None) -> Known | None:
        left = [known for known in self.known.values() if skip is None or not skip(known)]
        return self._rng.choices(left, [self._weight(known, now) for known in left])[0] if left else None

    def sample(self, now: float, most: int, percent: int, least: int) -> list[Known]:
        """Some to tell others of, at random and none of them stale.

        :param most: of them.
        :param percent: of all that we know.
        :param least: as many, if there are, however small a part of all that is not.
        """
        count = min(most, max(least, len(self.known) * percent // 100))
        fresh = [known for known in self.known.values() if not known.is_stale(now)]
        return self._rng.sample(fresh, min(count, len(fresh)))

    # -- keeping -------------------------------------------------------------------------------

    def load(self, rows: Iterable[Row], own: Iterable[Place]) -> None:
        """Take in what was kept. What cannot stand where it says is left out, and out of what is kept next."""
        self.own.update(dict.fromkeys(own))
        amiss = set()
        for row in rows:
            known = Known.from_row(row)
            slots, known.slots = known.slots, []
            table, most = (self._tried, 1) if known.tried else (self._new, REFERENCES)
            enter = self._enter_tried if known.tried else self._enter_new
            if known.place not in self.own and self.accepts(known.place):
                for slot in slots[:most]:
                    if slot < table.size and table.get(slot) is None:
                        enter(known, slot)
            if known.slots != slots or not slots:
                amiss.add(known.place)
            if known.slots:
                self._worked(known.place, known.succeeded)
        self.changed = amiss
