"""``StoreKeeper``: an atlas is read from its file, and the file follows it, off the reactor's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txsoter.clock import wall
from txsoter.crawl.atlas import Atlas
from txsoter.crawl.crawl_store import Batch, CrawlDamaged, CrawlStore
from txsoter.crawl.stored_rows import restore, take_changes, totals
from txsoter.errors import LocalError
from txsoter.networks import Network
from txsoter.service.book.book_time import BookTime
from txsoter.service.book.places import Place
from txsoter.service.book.worker import Worker

__all__ = ["StoreKeeper"]

FLUSH_AFTER = 5.0
"""Seconds between two writes: as much may be lost when the process is killed."""

FLUSH_AGAIN = 60.0
"""Seconds after which writing is tried again when it could not be done."""

ROLL_UP_AFTER = 3600.0
"""Seconds between two roll-ups of the history."""


class StoreKeeper:
    """Reads what was kept of a crawl when it starts, and writes what has changed every few seconds and at the end.

    :param atlas: empty.
    :param folder: of the file.
    :param time: tells the atlas's time.
    :param clock: a reactor, or a test's clock.
    :param worker: where the file is read and written.
    """

    log = Logger()

    def __init__(
        self, atlas: Atlas, folder: Path, network: Network, time: BookTime, clock: Any, worker: Worker
    ) -> None:
        self._atlas = atlas
        self._folder = folder
        self._network = network
        self._time = time
        self._clock = clock
        self._wall: Callable[[], float] = wall(clock)
        self._worker = worker
        self._store: CrawlStore | None = None
        self._timer: IDelayedCall | None = None
        self._writing = DeferredLock()
        self._is_loaded = self._cannot_write = False
        self._rolled_up: float | None = None

    def open(self) -> None:
        """Take possession of the folder.

        :raises CrawlError: when it cannot be used: not a folder, not to be written, another process's, or with the
            crawl of another network.
        """
        self._store = CrawlStore(self._folder, self._network, self._wall)

    def load(self) -> Deferred[None]:
        """Read what was kept; fires once the atlas has it, or nothing could be read, which is logged."""
        loaded: Deferred[None] = self._writing.run(lambda: Deferred.fromCoroutine(self._load()))
        return loaded

    async def _load(self) -> None:
        store = self._store
        assert store is not None
        try:
            stored = await self._worker.run(store.load)
        except (sqlite3.Error, OSError, LocalError) as error:
            self._store = None
            self.log.error(
                "{path} cannot be read: {error}; the crawl is kept in memory only",
                path=str(store.path),
                error=str(error),
            )
            store.close()
            return
        if store.damaged is not None:
            self.log.warn("{damage}", damage=str(store.damaged))
        self._is_loaded = True
        restore(self._atlas, stored, self._time.shift, self._time.now())
        self._timer = self._clock.callLater(FLUSH_AFTER, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush().addCallback(lambda _: self._again())

    def _again(self) -> None:
        if self._timer is None and self._store is not None:
            self._timer = self._clock.callLater(FLUSH_AGAIN if self._cannot_write else FLUSH_AFTER, self._due)

    def flush(self) -> Deferred[None]:
        """Write what has changed; fires once that is on the disk, or could not be done, which is logged."""
        flushed: Deferred[None] = self._writing.run(lambda: Deferred.fromCoroutine(self._write()))
        return flushed

    async def _write(self) -> None:
        store, atlas, damages = self._store, self._atlas, 0
        if store is None or not self._is_loaded:
            return
        rolling: float | None = None
        now = self._time.now()
        if self._rolled_up is None or now - self._rolled_up >= ROLL_UP_AFTER:
            self._rolled_up, rolling = now, self._wall()
        while (batch := self._next_batch(rolling)) is not None:
            rolling = None
            try:
                await self._worker.run(store.write, batch)
            except CrawlDamaged as damage:
                self.log.warn("{damage}", damage=str(damage))
                atlas.changed.update(atlas.candidates, atlas.dropped)
                atlas.changed_claims.update(atlas.claims.cached_at)
                damages += 1
                if damages > 1:
                    # a disk that damages all that it is given
                    return
            except (sqlite3.Error, OSError) as error:
                self._put_back(batch)
                if not self._cannot_write:
                    self._cannot_write = True
                    path = str(store.path)
                    self.log.warn("{path} cannot be written, for now: {error}", path=path, error=str(error))
                return
            else:
                if self._cannot_write:
                    self._cannot_write = False
                    self.log.info("{path} can be written again", path=str(store.path))

    def _next_batch(self, rolling: float | None) -> Batch | None:
        batch = take_changes(self._atlas, self._time.shift, rolling)
        if batch is not None and rolling is not None:
            return attrs.evolve(batch, totals=totals(self._atlas, rolling))
        return batch

    def _put_back(self, batch: Batch) -> None:
        """Write the same again the next time; visits that could not be counted are lost."""
        self._atlas.changed.update(Place(row.ip, row.port) for row in batch.nodes)
        self._atlas.changed.update(batch.gone)
        self._atlas.changed_claims.update(batch.speakers)

    async def close(self) -> None:
        """Write what has changed, and let go of the folder."""
        await self.flush()
        store, self._store = self._store, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if store is not None and not self._is_loaded:
            # there is no thread yet
            store.close()
        elif store is not None:
            try:
                await self._worker.run(store.close)
            except (sqlite3.Error, OSError) as error:
                self.log.warn("the store of the crawl was not closed: {error}", error=str(error))
        self._worker.stop()
