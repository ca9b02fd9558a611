"""``AddressBook``: the addresses that are known, in memory, and their file, which follows them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random, SystemRandom

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txsoter.clock import wall
from txsoter.errors import FieldError, LocalError
from txsoter.ip import is_routable
from txsoter.networks import SIMNET, Network
from txsoter.service.book.book_time import BookTime, loaded, stored
from txsoter.service.book.buckets import Buckets, Skip
from txsoter.service.book.known import Known, Row
from txsoter.service.book.places import Place, place_at
from txsoter.service.book.store import BookDamaged, Changes, Store
from txsoter.service.book.worker import OwnThread, Worker
from txsoter.wire import MAX_ADDRESSES, NetAddress, Services

__all__ = ["AddressBook"]

FLUSH_AFTER = 5.0
"""Seconds for which changes are collected before they are written."""

FLUSH_AGAIN = 60.0
"""Seconds after which writing is tried again when it could not be done."""

AT_ONCE = 1000
"""Addresses written in one transaction: more would hold up the reactor while they are put together."""

MOST_WAITING = 10_000
"""Calls that are remembered until the book has been read."""

SHIFTED = 60
"""Seconds by which the wall clock must have been set for all times on the disk to be put right."""

MOST = (1 << 32) - 1
"""The latest time that the wire can carry, in seconds since 1970."""

PERCENT = 23
"""How much of what we know we tell at most."""

ALL_OF = 50
"""As many we tell however little we know: 23 % of a small network would be nobody."""


class AddressBook(Service):
    """Knows addresses of peers: hears of them, picks some to dial, learns how that went, tells others.

    Everything is answered from memory, at once. With a folder all of it is written to a file there, by a thread of
    its own, some seconds after it has changed and when the service stops. What is called before the file has been
    read is done then; until then there is nothing to pick.

    :param network: whose peers they are. On simnet nothing is learned from others, nor told.
    :param clock: tells the time; by default the reactor. Nothing that is known changes when its wall clock is set.
    :param folder: for the file; None to keep everything in memory only.
    :param allow_unroutable: take loopback, private and other addresses that are not of the internet, too.
    :param worker: where the file is read and written; by default a thread of its own, for which ``clock`` must be a
        reactor.
    :param random: where picks come from, and the secret that says where addresses stand.
    :ivar clock: tells the time.
    """

    log = Logger()

    def __init__(
        self,
        network: Network,
        clock: IReactorTime | None = None,
        folder: Path | None = None,
        allow_unroutable: bool = False,
        worker: Worker | None = None,
        random: Random | None = None,
    ) -> None:
        if clock is None:
            # not at the module's top: importing the reactor installs it
            from twisted.internet import reactor

            clock = IReactorTime(reactor)
        self.network = network
        self.allow_unroutable = allow_unroutable
        self.clock = clock
        self._time = BookTime(clock)
        # the wall clock's lead over it, as the times on the disk have it
        self._stored_shift = self._time.shift
        self._folder = folder
        self._worker: Worker = OwnThread(clock, "address book") if worker is None else worker
        self._random = SystemRandom() if random is None else random
        self._buckets: Buckets | None = None
        self._store: Store | None = None
        self._waiting: list[Callable[[Buckets], object]] = []
        self._loaded_waiters: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._writing = DeferredLock()
        self._cannot_write = False

    # -- time ----------------------------------------------------------------------------------

    def now(self) -> float:
        """The book's own time, in which all times of a :class:`~txsoter.service.book.known.Known` are."""
        return self._time.now()

    def timestamp(self, time: float | None = None) -> int:
        """One of the book's times as the wire has them: seconds since 1970 by the wall clock, in 32 bits.

        :param time: by default now.
        """
        stamp = int(self.now() if time is None else time) + self._time.shift
        return min(max(0, stamp), MOST)

    # -- its life ------------------------------------------------------------------------------

    @property
    def learns(self) -> bool:
        """Whether it takes from others, and tells them: not on simnet."""
        return self.network.magic != SIMNET.magic

    @property
    def is_loaded(self) -> bool:
        """Whether all that was kept has been read."""
        return self._buckets is not None

    def when_loaded(self) -> Deferred[None]:
        """Fires once all that was kept has been read; each call gets a Deferred of its own."""
        if self.is_loaded:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._loaded_waiters.remove)
        self._loaded_waiters.append(waiter)
        return waiter

    def startService(self) -> None:
        """Take possession of the folder, and have the book read.

        :raises txsoter.service.book.BookError: when the folder cannot be used: not a folder, not to be written,
            another process's, or with the book of another network.
        """
        if self.running:
            return
        if self._folder is not None:
            self._store = Store(self._folder, self.network, wall(self.clock), self._random.randbytes(32))
            self._tell_damage()
            # by a call, not now: no thread begins before the reactor runs, which it may never do
            self._timer = self.clock.callLater(0, self._load, self._store)
        elif self._buckets is None:
            self._begin(self._fresh(self._random.randbytes(32)))
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Write what has changed, and let go of the folder; fires once that is done.

        Stop what uses the book before.
        """
        Service.stopService(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self.flush()
        store, self._store = self._store, None
        if store is None:
            return
        buckets, self._buckets = self._buckets, None
        if buckets is None:
            # it was never read: there is no thread yet
            store.close()
            return
        try:
            await self._worker.run(store.close)
        except (sqlite3.Error, OSError) as error:
            self.log.warn("the address book was not closed: {error}", error=str(error))
        self._worker.stop()

    def _load(self, store: Store) -> None:
        self._timer = None

        async def load() -> None:
            try:
                buckets = await self._worker.run(self._read, store, self._time.now())
            except (sqlite3.Error, OSError, LocalError) as error:
                self.log.error(
                    "{path} cannot be read: {error}; addresses are kept in memory only",
                    path=str(store.path),
                    error=str(error),
                )
                self._store = None
                buckets = self._fresh(self._random.randbytes(32))
                store.close()
                self._worker.stop()
            self._tell_damage()
            self._begin(buckets)

        self._writing.run(lambda: Deferred.fromCoroutine(load()))

    def _fresh(self, key: bytes) -> Buckets:
        return Buckets(key, self._random, self.allow_unroutable, self.network.default_port)

    def _read(self, store: Store, now: float) -> Buckets:
        # in the worker's thread: thousands of addresses take longer to put in their places than to read
        kept = store.load()
        buckets = self._fresh(kept.key)
        buckets.load([loaded(row, self._stored_shift, now) for row in kept.rows], kept.own)
        return buckets

    def _tell_damage(self) -> None:
        if self._store is not None and self._store.damaged is not None:
            self.log.warn("{damage}", damage=str(self._store.damaged))
            self._store.damaged = None

    def _begin(self, buckets: Buckets) -> None:
        self._buckets = buckets
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each(buckets)
        self._note_changes()
        while self._loaded_waiters:
            self._loaded_waiters.pop(0).callback(None)

    # -- writing -------------------------------------------------------------------------------

    def flush(self) -> Deferred[None]:
        """Write what has changed; fires once that is on the disk, or could not be done, which is logged."""
        flushed: Deferred[None] = self._writing.run(lambda: Deferred.fromCoroutine(self._write()))
        return flushed

    async def _write(self) -> None:
        buckets, store = self._buckets, self._store
        damages, shift = 0, self._time.shift
        if buckets is not None and abs(shift - self._stored_shift) >= SHIFTED:
            buckets.changed.update(buckets.known)
            self._stored_shift = shift
        while buckets is not None and store is not None and buckets.changed:
            places = [buckets.changed.pop() for _ in range(min(AT_ONCE, len(buckets.changed)))]
            try:
                await self._worker.run(store.write, _changes(buckets, places, self._stored_shift))
            except BookDamaged as damage:
                self.log.warn("{damage}", damage=str(damage))
                buckets.changed.update(buckets.known, buckets.own)
                damages += 1
                if damages > 1:
                    # a disk that damages all that it is given
                    break
            except (sqlite3.Error, OSError) as error:
                buckets.changed.update(places)
                if not self._cannot_write:
                    self._cannot_write = True
                    path = str(store.path)
                    self.log.warn("{path} cannot be written, for now: {error}", path=path, error=str(error))
                break
            else:
                self._could_write(store)
        self._note_changes()

    def _could_write(self, store: Store) -> None:
        if self._cannot_write:
            self._cannot_write = False
            self.log.info("{path} can be written again", path=str(store.path))

    def _note_changes(self) -> None:
        if self._timer is None and self._store is not None and self.running and self._buckets and self._buckets.changed:
            self._timer = self.clock.callLater(FLUSH_AGAIN if self._cannot_write else FLUSH_AFTER, self._flush_due)

    def _flush_due(self) -> None:
        self._timer = None
        self.flush()

    def _do(self, what: Callable[[Buckets], object]) -> None:
        """Do something to what is known, now or as soon as that is there."""
        if self._buckets is not None:
            what(self._buckets)
            self._note_changes()
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(what)

    # -- learning ------------------------------------------------------------------------------

    def hear(self, addresses: Iterable[NetAddress], source: bytes) -> None:
        """Somebody tells of addresses. On simnet nothing is learned.

        :param source: 16 bytes, the IP of who tells.
        """
        buckets = self._buckets
        # hearsay is not worth remembering until the book has been read
        if buckets is None or not self.learns:
            return
        now, shift = self.now(), self._time.shift
        for services, ip, port, timestamp in addresses:
            buckets.hear(Place(ip, port), services, timestamp - shift, source, now)
        self._note_changes()

    def name(self, host: str, port: int, services: int = Services.NETWORK) -> Place:
        """Our own side names a peer.

        :raises FieldError: for what is no IP, or cannot be reached from the internet and is not allowed.
        """
        place = place_at(host, port)
        if not self.accepts(place):
            raise FieldError("host", host, "an address of the internet (others only with allow_unroutable)")
        self._do(lambda buckets: buckets.name(place, services, self.now()))
        return place

    def accepts(self, place: Place) -> bool:
        """Whether an address may stand in it."""
        return self.allow_unroutable or is_routable(place.ip)

    def attempted(self, place: Place) -> None:
        """It is being dialled."""
        now = self.now()
        self._do(lambda buckets: buckets.attempted(place, now))

    def failed(self, place: Place) -> None:
        """It could not be dialled, or is no peer of this network."""
        now = self.now()
        self._do(lambda buckets: buckets.failed(place, now))

    def succeeded(self, place: Place, services: int) -> None:
        """A handshake is over. Whoever it is, dialled by whatever means, is known from now on, but on simnet."""
        now = self.now()

        def note(buckets: Buckets) -> None:
            if self.learns or place in buckets.known:
                buckets.succeeded(place, services, now)

        self._do(note)

    def connected(self, place: Place) -> None:
        """A connection that is ready is still there; to be told each hour."""
        now = self.now()
        self._do(lambda buckets: buckets.connected(place, now))

    def parted(self, place: Place) -> None:
        """A connection that was ready has ended."""
        now = self.now()
        self._do(lambda buckets: buckets.parted(place, now))

    def is_own(self, place: Place) -> None:
        """It is our own address, and never to be dialled or told, now or after a restart."""
        self._do(lambda buckets: buckets.is_own(place))

    # -- asking --------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many addresses are known."""
        return 0 if self._buckets is None else len(self._buckets)

    def sizes(self) -> Mapping[str, int]:
        """How many addresses have worked, and how many are hearsay."""
        tried = 0 if self._buckets is None else self._buckets.tried
        return {"tried": tried, "new": len(self) - tried}

    def fresh(self) -> int:
        """How many are known that are not stale; looks at all of them."""
        now = self.now()
        return 0 if self._buckets is None else sum(not each.is_stale(now) for each in self._buckets.known.values())

    def get(self, place: Place) -> Known | None:
        """What is known of an address; to look at."""
        return None if self._buckets is None else self._buckets.known.get(place)

    def pick(self, skip: Skip | None = None) -> Known | None:
        """An address to dial, at random; None when there is none.

        :param skip: says of one that it is not wanted now.
        """
        return None if self._buckets is None else self._buckets.pick(self.now(), skip)

    def sample(self) -> list[NetAddress]:
        """What we tell others: some at random, at most 1000 and 23 % of all; nothing on simnet."""
        if self._buckets is None or not self.learns:
            return []
        told = self._buckets.sample(self.now(), MAX_ADDRESSES, PERCENT, ALL_OF)
        return [NetAddress(each.services, each.place.ip, each.place.port, self.timestamp(each.seen)) for each in told]


def _changes(buckets: Buckets, places: Iterable[Place], shift: int) -> Changes:
    rows: list[Row] = []
    gone: list[Place] = []
    own: list[Place] = []
    disowned: list[Place] = []
    for place in places:
        known = buckets.known.get(place)
        if known is None:
            gone.append(place)
        else:
            rows.append(stored(known.row(), shift))
        (own if place in buckets.own else disowned).append(place)
    return Changes(rows, gone, own, disowned)
