"""``SeedService``: whom to begin with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.logger import Logger
from zope.interface import implementer

from txsoter.errors import FieldError
from txsoter.peer.addressing import host_and_port
from txsoter.service.book.book import AddressBook
from txsoter.service.book.known import DAY
from txsoter.service.book.places import Place, place_at
from txsoter.wire import NetAddress, Services

__all__ = ["SeedService", "resolve"]

ENOUGH = 100
"""Addresses that are not stale with which no seeds are asked for."""

MOST_ANSWERS = 64
"""Addresses of one name that are looked at."""

SEED_AGE = 5 * DAY
"""How many seconds ago a seed counts as seen: it is dialled, but others are told of it only after that."""

FIRST_RETRY, LAST_RETRY = 60.0, 3600.0
"""Seconds after which names that could not be resolved are tried again: at first, and at most."""


class SeedService(Service):
    """Puts peers that were named, and the network's seeds if too few others are known, into an address book.

    Names that cannot be resolved are tried again, less and less often: at boot there may be no network yet.

    :param book: whose network's seeds they are.
    :param resolver: for host names, such as a reactor's ``nameResolver``; None to leave them alone (asking for them
        beside a proxy would tell who asks).
    :param named: host and port of peers that our own side names.
    :param seeds: whether the network's seeds are wanted at all.
    :param random: for jitter.
    """

    log = Logger()

    def __init__(
        self,
        book: AddressBook,
        resolver: IHostnameResolver | None = None,
        named: Iterable[tuple[str, int]] = (),
        seeds: bool = True,
        random: Random | None = None,
    ) -> None:
        self._book = book
        self._resolver = resolver
        self._named = tuple(named)
        self._seeds = seeds
        self._random = SystemRandom() if random is None else random
        self._retry: IDelayedCall | None = None
        self._run = 0

    def startService(self) -> None:
        """Begin as soon as the book has been read."""
        Service.startService(self)
        self._run += 1
        run = self._run

        def begin(_: None) -> None:
            if self._is_current(run):
                self._begin(run)

        self._book.when_loaded().addCallback(begin)

    def stopService(self) -> None:
        """Ask no more; what is answered still is not listened to."""
        Service.stopService(self)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _is_current(self, run: int) -> bool:
        return bool(self.running) and run == self._run

    def _begin(self, run: int) -> None:
        wanted = [(host, port, True) for host, port in self._named]
        if self._seeds and self._book.learns and self._book.fresh() < ENOUGH:
            wanted += [(host, self._book.network.default_port, False) for host in self._book.network.seeds]
        names = []
        for host, port, is_named in wanted:
            try:
                self._take(place_at(host, port), is_named)
            except FieldError:
                names.append((host, port, is_named))
        if names and self._resolver is None:
            hosts = ", ".join(host for host, _, _ in names)
            self.log.warn("not looked up, because there is no resolver: {hosts}", hosts=hosts)
        elif names:
            self._look_up(run, names, FIRST_RETRY)

    def _look_up(self, run: int, names: Sequence[tuple[str, int, bool]], wait: float) -> None:
        self._retry = None
        left = set(names)
        failed: list[tuple[str, int, bool]] = []

        def answered(places: list[Place], name: tuple[str, int, bool]) -> None:
            if not self._is_current(run):
                return
            left.discard(name)
            if not places:
                failed.append(name)
            for place in places:
                self._take(place, name[2])
            if not left and failed:
                hosts = ", ".join(sorted({host for host, _, _ in failed}))
                self.log.info("cannot be resolved, for now: {hosts}", hosts=hosts)
                jittered = wait * self._random.uniform(0.9, 1.1)
                longer = min(LAST_RETRY, 2 * wait)
                self._retry = self._book.clock.callLater(jittered, self._look_up, run, tuple(failed), longer)

        assert self._resolver is not None
        for name in names:
            resolve(self._resolver, name[0], name[1]).addCallback(answered, name)

    def _take(self, place: Place, is_named: bool) -> None:
        if not is_named:
            seen = self._book.timestamp() - SEED_AGE
            self._book.hear([NetAddress(Services.NETWORK, place.ip, place.port, seen)], place.ip)
        elif self._book.accepts(place):
            self._book.name(place.host, place.port)
        else:
            self.log.warn("{place} is no address of the internet, and others are not allowed", place=str(place))


@implementer(IResolutionReceiver)
class _Answers:
    """Waits for all of a name's addresses."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._places: list[Place] = []
        self.done: Deferred[list[Place]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver has begun."""

    def addressResolved(self, address: IAddress) -> None:
        """One of them."""
        host, _ = host_and_port(address)
        if host is not None and len(self._places) < MOST_ANSWERS:
            self._places.append(place_at(host, self._port))

    def resolutionComplete(self) -> None:
        """That was all."""
        self.done.callback(self._places)


def resolve(resolver: IHostnameResolver, host: str, port: int) -> Deferred[list[Place]]:
    """The places that a name means; none when it means none, or could not be resolved."""
    try:
        # as getaddrinfo() does; when it fails there, Twisted's resolver never tells that it is done
        host.encode("idna")
    except UnicodeError:
        return succeed([])
    answers = _Answers(port)
    receiver: Any = answers
    resolver.resolveHostName(receiver, host, port)
    return answers.done
