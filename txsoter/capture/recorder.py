"""``Capture``: records what peers say and hear, and changes nothing of it.

::

    capture = Capture("captures", reactor)
    capture.setServiceParent(application)
    service = PeerService(config, protocol=capture)

What is recorded is taken at the transport's edge: bytes as they are read, and as they are handed to the transport.
They are split into frames in the reactor's thread, for that takes a microsecond a message whichever thread does it;
files are written by another, one write of whole records at a time, so that a disk that is slow holds up nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.capture.errors import CaptureError, reason_of
from txsoter.capture.store import CaptureStore
from txsoter.capture.taped import TapedPeer, taped
from txsoter.capture.tapes import Tape
from txsoter.clock import monotonic
from txsoter.errors import FieldError
from txsoter.peer.protocol import SoterPeerProtocol

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

__all__ = ["MAX_CONNECTION", "MAX_TOTAL", "Capture", "CaptureState"]

MAX_TOTAL = 1 << 30
"""What all captures in a directory take on the disk by default, in bytes."""

MAX_CONNECTION = 1 << 28
"""What the capture of one connection takes by default, in bytes."""

FLUSH_SIZE = 1 << 20
"""Bytes that are worth a write."""

FLUSH_INTERVAL = 1.0
"""Seconds after which fewer are written too."""

MAX_WAITING = 1 << 26
"""Bytes that may wait for the disk; what comes beyond that is not recorded."""

FIRST_RETRY = 1.0
"""Seconds after a failure of the disk until it is tried again."""

LAST_RETRY = 300.0
"""The most seconds until then: each failure doubles them, and twice as many without one begin anew."""


@attrs.frozen
class CaptureState:
    """How a capture goes.

    :ivar reason: why nothing is recorded now; None while it records.
    :ivar stored: bytes that its folders take on the disk.
    :ivar waiting: bytes that are recorded and not written yet.
    :ivar dropped: reads and writes that were not recorded.
    :ivar failures: how often recording has stopped by a failure.
    """

    reason: str | None
    stored: int
    waiting: int
    dropped: int
    failures: int


def unset_micros() -> Callable[[], int]:
    """Return a clock that gives microseconds since 1970, and that nobody can set from now on."""
    ahead = time.time_ns() - time.monotonic_ns()
    return lambda: (time.monotonic_ns() + ahead) // 1000


class Capture(Service):
    """Makes peers whose conversations are recorded: what :class:`~txsoter.service.PeerService` takes as ``protocol``.

    Each connection gets a folder (see :mod:`txsoter.capture.records`), once something was said. It records while the
    service runs; peers that it makes at other times are ordinary ones. When the disk fails, nothing is recorded until
    it can be written again, which is tried after one second, two, and so on up to five minutes: connections then go on
    in new folders. A fault of the capture's own ends it for good. Peers notice neither.

    :param directory: where the folders go; made if it is not there.
    :param reactor: for the time to write, and its thread pool.
    :param max_total: bytes that the directory may take; those written to the longest ago go first.
    :param max_connection: bytes of one connection; the newest are kept.
    :param protocol: the class of its peers.
    :param micros: gives the time in microseconds since 1970; by default the wall clock's at a conversation's beginning,
        and from then on what has really passed, so that a recording has no gaps that were none.
    :param in_thread: runs what waits for the disk; by default in a thread of the reactor's pool.
    :raises FieldError: for limits that cannot be.
    :ivar stopped: why nothing is recorded now, or None.
    :ivar dropped: reads and writes that were not recorded because too much waited for the disk, or it failed.
    :ivar failures: how often recording has stopped by a failure.
    """

    log = Logger()

    def __init__(
        self,
        directory: str | Path,
        reactor: Any,
        *,
        max_total: int = MAX_TOTAL,
        max_connection: int = MAX_CONNECTION,
        protocol: type[SoterPeerProtocol] = SoterPeerProtocol,
        micros: Callable[[], int] | None = None,
        in_thread: Callable[[Callable[[], None]], Deferred[None]] | None = None,
        store: CaptureStore | None = None,
    ) -> None:
        if max_connection < 1:
            raise FieldError("Capture.max_connection", max_connection, "a number of bytes above 0")
        if max_total < max_connection:
            raise FieldError("Capture.max_total", max_total, f"at least max_connection, {max_connection}")
        self.stopped: str | None = None
        self.dropped = self.failures = 0
        self._micros = micros
        self._now = monotonic(reactor)
        self._reactor = reactor
        self._store = CaptureStore(Path(directory), max_total, max_connection) if store is None else store
        self._in_thread = self._in_pool if in_thread is None else in_thread
        self._peer_class = taped(protocol)
        self._flush_size = min(FLUSH_SIZE, max(1, max_connection // 8))
        self._tapes: set[Tape] = set()
        # those that have something to be written, in the order in which they got it
        self._full: dict[Tape, None] = {}
        self._waiting = 0
        self._writing: int | None = None
        self._later: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._retry_after = FIRST_RETRY
        self._failed_at = 0.0
        self._comes_back = True
        self._is_slow = False
        self._idle: list[Deferred[None]] = []

    def __call__(self, config: PeerConfig, inbound: bool = False) -> SoterPeerProtocol:
        """A peer that is recorded."""
        peer: TapedPeer = self._peer_class(config, inbound)
        peer.capture = self
        return peer

    @property
    def waiting(self) -> int:
        """Bytes that are recorded and not written yet."""
        return self._waiting + (self._writing or 0)

    def state(self) -> CaptureState:
        """Return how it goes."""
        reason = self.stopped if self.running else "it does not run"
        return CaptureState(reason, self._store.total, self.waiting, self.dropped, self.failures)

    def startService(self) -> None:
        """Make the directory, and record from now on.

        :raises CaptureError: when it cannot be written.
        """
        self._store.prepare()
        self.stopped = None
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Record no more; fires once everything is written."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        self._cancel("_retry")
        for tape in list(self._tapes):
            tape.close("the capture ends")
        self.flush()
        return self._when_idle().addCallback(lambda _: self._store.release())

    # -- what tapes call -----------------------------------------------------------------------

    def tape(self, peer: SoterPeerProtocol, address: str) -> Tape | None:
        """A tape for a connection that begins; None when nothing is recorded, nor will be."""
        if not self.running or (self.stopped is not None and not self._comes_back):
            return None
        tape = Tape(self, peer, address)
        self._tapes.add(tape)
        return tape

    def conversation_clock(self) -> Callable[[], int]:
        """A clock for a conversation that begins now."""
        return unset_micros() if self._micros is None else self._micros

    def forget(self, tape: Tape) -> None:
        """A connection has ended."""
        self._tapes.discard(tape)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may be recorded now."""
        if self.stopped is None and self.waiting + size <= MAX_WAITING:
            return True
        if self.stopped is None and not self._is_slow:
            self._is_slow = True
            self.log.warn("the disk does not keep up with the capture: messages are left out")
        self.dropped += 1
        return False

    def added(self, tape: Tape, size: int) -> None:
        """So many bytes more wait on a tape."""
        if self.stopped is not None:
            return
        self._waiting += size
        self._full[tape] = None
        if self._waiting >= self._flush_size:
            self.flush()
        elif self._later is None and self._writing is None:
            self._later = self._reactor.callLater(FLUSH_INTERVAL, self._flush_later)

    def failed(self, failure: Failure) -> None:
        """A fault of our own: record no more, for good; the first call says so."""
        if self.stopped is None or self._comes_back:
            self._comes_back = False
            self._stop_recording(repr(failure.value))
            self.log.failure("the capture's own fault", failure)
            for tape in self._tapes:
                tape.stop()
            self._tapes.clear()

    def _stop_recording(self, reason: str) -> None:
        """Drop what waits, and record nothing."""
        self.stopped = reason
        self.failures += 1
        directory = str(self._store.directory)
        self.log.warn("capturing to {directory} stops: {reason}", directory=directory, reason=reason)
        for tape in self._tapes:
            tape.drop()
        self._full.clear()
        self._waiting = 0
        for timer in ("_later", "_retry"):
            self._cancel(timer)

    # -- writing -------------------------------------------------------------------------------

    def _flush_later(self) -> None:
        self._later = None
        self.flush()

    def flush(self) -> None:
        """Have written what waits, unless that is being done."""
        if self._writing is not None or not self._full:
            return
        self._cancel("_later")
        pieces = [tape.piece() for tape in self._full]
        self._full.clear()
        self._writing, self._waiting = self._waiting, 0
        self._in_thread(lambda: self._store.write(pieces)).addCallbacks(self._written, self._not_written)

    def _written(self, _: None) -> None:
        self._writing = None
        if self._full:
            self.flush()
        else:
            self._tell_idle()

    def _not_written(self, failure: Failure) -> None:
        self._writing = None
        if isinstance(failure.value, OSError):
            self._disk_failed(reason_of(failure.value))
        else:
            self.failed(failure)
        self._tell_idle()

    def _disk_failed(self, reason: str) -> None:
        """Record nothing until the disk can be written again."""
        now = self._now()
        if self._failed_at + 2 * LAST_RETRY < now:
            self._retry_after = FIRST_RETRY
        self._failed_at = now
        if self.stopped is None:
            self._stop_recording(reason)
        elif self._comes_back:
            self.stopped = reason
        if self.running and self._comes_back:
            self._retry = self._reactor.callLater(self._retry_after, self._try_again)
            self._retry_after = min(LAST_RETRY, self._retry_after * 2)

    def _try_again(self) -> None:
        self._retry = None
        self._writing = 0
        self._in_thread(self._store.reopen).addCallbacks(self._can_be_written, self._cannot_be_written)

    def _can_be_written(self, _: None) -> None:
        self._writing = None
        if self._comes_back:
            self.stopped = None
            self.log.info("capturing to {directory} again", directory=str(self._store.directory))
        self._tell_idle()

    def _cannot_be_written(self, failure: Failure) -> None:
        self._writing = None
        if isinstance(failure.value, CaptureError):
            self._disk_failed(failure.value.reason)
        else:
            self.failed(failure)
        self._tell_idle()

    def _in_pool(self, write: Callable[[], None]) -> Deferred[None]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), write)

    def _cancel(self, name: str) -> None:
        timer = getattr(self, name)
        setattr(self, name, None)
        if timer is not None:
            timer.cancel()

    def _when_idle(self) -> Deferred[None]:
        if self._writing is None:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle

    def _tell_idle(self) -> None:
        while self._idle:
            self._idle.pop().callback(None)
