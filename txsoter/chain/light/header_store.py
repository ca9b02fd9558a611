"""``HeaderStore``: the headers of a network in memory, and their file, which follows them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txsoter.chain.light.header_file import HeaderFile
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.clock import wall
from txsoter.errors import LocalError
from txsoter.networks import Network
from txsoter.service.book.worker import OwnThread, Worker
from txsoter.state_file import StateDamaged
from txsoter.wire import Hash

__all__ = ["HeaderStore"]

FLUSH_AFTER = 1.0
"""Seconds for which changes are collected before they are written."""

FLUSH_AGAIN = 60.0
"""Seconds after which writing is tried again if it failed."""

AT_ONCE = 2000
"""Headers written in one transaction: more would hold up the reactor while they are put together."""


class HeaderStore:
    """The headers of a network's DAG: answered from memory, and written to a file in batches, by a thread of its own.

    Killed at any moment it loses the last seconds at most; parents are never written behind their children.

    :param network: whose headers they are.
    :param clock: tells the time.
    :param folder: for the file; None to keep everything in memory only.
    :param check_proofs: whether proof of work is checked; a file is of one kind or the other.
    :param worker: where the file is read and written; by default a thread of its own, for which ``clock`` must be a
        reactor.
    """

    log = Logger()

    def __init__(
        self,
        network: Network,
        clock: IReactorTime,
        folder: Path | None = None,
        check_proofs: bool = True,
        worker: Worker | None = None,
    ) -> None:
        self._network = network
        self._clock = clock
        self._folder = folder
        self._check_proofs = check_proofs
        self._worker: Worker = OwnThread(clock, "header store") if worker is None else worker
        self._index: HeaderIndex | None = None
        self._file: HeaderFile | None = None
        # records in the file, and the numbers of those whose filter header has changed since
        self._written = 0
        self._changed: dict[int, None] = {}
        self._timer: IDelayedCall | None = None
        self._writing = DeferredLock()
        self._cannot_write = False

    @property
    def index(self) -> HeaderIndex:
        """The headers; to change them call the store's own methods.

        :raises LocalError: while it is not open.
        """
        if self._index is None:
            raise LocalError("the header store is not open")
        return self._index

    @property
    def is_open(self) -> bool:
        """True once the file, if there is one, has been read."""
        return self._index is not None

    # -- its life ------------------------------------------------------------------------------

    def open(self) -> Deferred[HeaderIndex]:
        """Take possession of the folder, and read the file.

        :return: fires with the index. If the file cannot be read, that is logged, and headers are kept in memory only.
        :raises txsoter.state_file.StateError: if the folder cannot be used: not a folder, not to be written,
            another process's, or with the headers of another network.
        """
        if self._folder is not None:
            self._file = HeaderFile(self._folder, self._network, self._check_proofs, wall(self._clock))
            self._tell_damage(self._file)
        opened: Deferred[HeaderIndex] = self._writing.run(lambda: Deferred.fromCoroutine(self._open(self._file)))
        return opened

    async def _open(self, file: HeaderFile | None) -> HeaderIndex:
        if file is None:
            self._index = self._index or HeaderIndex(self._network, self._check_proofs)
            return self._index
        try:
            index = await self._worker.run(file.load)
        except (sqlite3.Error, OSError, LocalError) as error:
            self.log.error(
                "{path} cannot be read: {error}; headers are kept in memory only",
                path=str(file.file.path),
                error=str(error),
            )
            self._file = None
            self._index = HeaderIndex(self._network, self._check_proofs)
            file.close()
            self._worker.stop()
            return self._index
        self._tell_damage(file)
        self._written = file.rows
        self._index = index
        return index

    def _tell_damage(self, file: HeaderFile) -> None:
        if file.file.damaged is not None:
            self.log.warn("{damage}", damage=str(file.file.damaged))
            file.file.damaged = None

    def close(self) -> Deferred[None]:
        """Write what has changed, and close the file; fires once that is done."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self.flush()
        self._cancel_timer()
        file, self._file = self._file, None
        if file is None:
            return
        try:
            await self._worker.run(file.close)
        except (sqlite3.Error, OSError) as error:
            self.log.warn("the header store was not closed: {error}", error=str(error))
        self._worker.stop()

    # -- changes -------------------------------------------------------------------------------

    def add(self, record: HeaderRecord) -> bool:
        """Add a record; return False if it is there already.

        :raises FieldError: see :meth:`HeaderIndex.add`.
        """
        added = self.index.add(record)
        if added and self._timer is None:
            self._write_later(FLUSH_AFTER)
        return added

    def set_filter_header(self, block_hash: bytes, filter_header: Hash | None) -> HeaderRecord:
        """Note the header of a block's committed filter, or None to forget it; return the record as it is now.

        :raises KeyError: if the block is not there.
        """
        record = self.index.set_filter_header(block_hash, filter_header)
        number = self.index.number(block_hash)
        if self._file is not None and number < self._written:
            self._changed[number] = None
        if self._timer is None:
            self._write_later(FLUSH_AFTER)
        return record

    # -- writing -------------------------------------------------------------------------------

    def _write_later(self, seconds: float) -> None:
        if self._file is not None:
            self._timer = self._clock.callLater(seconds, self._write_now)

    def _write_again(self) -> None:
        self._cancel_timer()
        self._write_later(FLUSH_AGAIN)

    def _write_now(self) -> None:
        self._timer = None
        self.flush()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def flush(self) -> Deferred[None]:
        """Write what has changed; fires once that is on the disk, or has failed, which is logged."""
        flushed: Deferred[None] = self._writing.run(lambda: Deferred.fromCoroutine(self._write()))
        return flushed

    async def _write(self) -> None:
        index, file, damages = self._index, self._file, 0
        while index is not None and file is not None and (self._written < len(index) or self._changed):
            first = self._written
            records = index.numbered(first, first + AT_ONCE)
            numbers = list(self._changed)[:AT_ONCE]
            changes = [(number, index.numbered(number, number + 1)[0].filter_header) for number in numbers]
            for number in numbers:
                del self._changed[number]
            # before: what changes meanwhile is written again
            self._written = first + len(records)
            try:
                await self._worker.run(file.write, first, records, changes)
            except StateDamaged as damage:
                self.log.warn("{damage}", damage=str(damage))
                self._written = 0
                self._changed.clear()
                damages += 1
                if damages > 1:
                    # a disk that damages all that it gets
                    self._write_again()
                    return
            except (sqlite3.Error, OSError) as error:
                self._written = first
                self._changed.update(dict.fromkeys(number for number in numbers if number < first))
                if not self._cannot_write:
                    self._cannot_write = True
                    self.log.error("headers cannot be written: {error}; trying again", error=str(error))
                self._write_again()
                return
            else:
                if self._cannot_write:
                    self._cannot_write = False
                    self.log.info("headers are written again")
