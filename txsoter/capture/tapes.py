"""A tape: what a peer says and hears on one connection, until it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from twisted.python.failure import Failure

from txsoter.capture.frames import FrameSplitter, magic_bytes
from txsoter.capture.reels import Reel, Track, frames_size
from txsoter.capture.store import Folder, Note, Piece
from txsoter.core.sanitize import sanitize
from txsoter.core.state import State
from txsoter.wire import Services

if TYPE_CHECKING:
    from txsoter.errors import MalformedMessage
    from txsoter.peer.protocol import SoterPeerProtocol

__all__ = ["Recorder", "Tape"]


class Recorder(Protocol):
    """Who writes tapes."""

    def conversation_clock(self) -> Callable[[], int]:
        """A clock for a conversation that begins now: it gives microseconds since 1970."""
        ...

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may wait to be written."""
        ...

    def added(self, tape: Tape, size: int) -> None:
        """So many bytes more wait on a tape, or notes do."""
        ...

    def forget(self, tape: Tape) -> None:
        """The tape is at its end."""
        ...

    def failed(self, failure: Failure) -> None:
        """Nothing can be recorded any more."""
        ...


class Tape:
    """Records one connection.

    :param recorder: who writes what is recorded.
    :param peer: whose connection.
    """

    __slots__ = (
        "_closed",
        "_dropped",
        "_folder",
        "_gap",
        "_micros",
        "_negotiated",
        "_network",
        "_peer",
        "_recorder",
        "_reel",
        "_said",
    )

    def __init__(self, recorder: Recorder, peer: SoterPeerProtocol, address: str) -> None:
        self._micros = recorder.conversation_clock()
        network, now = peer.config.network, self._micros()
        magic = magic_bytes(network.magic)
        self._recorder = recorder
        self._peer: SoterPeerProtocol | None = peer
        self._network = network
        self._folder = Folder(now, address, peer.inbound)
        self._reel = Reel(FrameSplitter([magic]), FrameSplitter([magic]), now)
        self._negotiated: Note = {}
        self._dropped = self._gap = 0
        self._said = False
        self._closed = False

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self._take(self._reel.recv, data)

    def sent(self, data: bytes) -> None:
        """Bytes were handed to the transport."""
        self._take(self._reel.sent, data)

    def _take(self, track: Track, data: bytes) -> None:
        if self._closed:
            return
        try:
            self._said = True
            frames = track.splitter.feed(data)
            if track.splitter.skipped != track.skipped:
                self._reel.note_skipped(track, self._micros())
            if frames:
                size = frames_size(frames)
                if self._recorder.has_room(size):
                    now = self._micros()
                    if self._gap:
                        self._reel.note(now, "gap", messages=self._gap)
                        self._gap = 0
                    self._reel.record(track, frames, size, now)
                    self._recorder.added(self, size)
                else:
                    self._dropped += len(frames)
                    self._gap += len(frames)
        except Exception:
            # whatever it is, it must not reach the peer
            self._recorder.failed(Failure())

    def malformed(self, error: MalformedMessage) -> None:
        """The peer has found what came to be malformed."""
        if not self._closed:
            command = None if error.command is None else sanitize(error.command, 12)
            now, reason = self._micros(), sanitize(error.reason)
            self._reel.note(now, "malformed", direction="recv", command=command, reason=reason)

    def close(self, reason: str) -> None:
        """The connection has ended, or nothing more is recorded.

        :param reason: why, unless the peer has one.
        """
        if self._closed:
            return
        if self._peer is not None and self._peer.close_reason is not None:
            reason = str(self._peer.close_reason)
        dropped = {"dropped": self._dropped} if self._dropped else {}
        self._reel.close(self._micros(), reason, **dropped)
        self._closed = True
        # a connection on which nothing was said leaves nothing
        if self._said:
            self._recorder.added(self, 0)
        self._recorder.forget(self)
        self._peer = None

    def drop(self) -> None:
        """Forget what is not written."""
        self._reel.take()

    def stop(self) -> None:
        """Record no more, and forget what is not written."""
        self._closed = True
        self._peer = None
        self.drop()

    def piece(self) -> Piece:
        """What is to be written now."""
        return Piece(self._folder, self._opening(), *self._reel.take(), last=self._closed)

    def _opening(self) -> Note:
        """The first note of a folder: all that is needed to read the messages behind it."""
        peer = self._peer
        if not self._negotiated and peer is not None and peer.state is State.READY:
            # it does not change any more
            stats = peer.stats()
            witness = {"recv": stats.witness, "sent": bool(peer.config.services & Services.WITNESS)}
            self._negotiated = {"pver": stats.negotiated_version, "witness": witness}
        return {
            "time": self._folder.time,
            "note": "opened",
            "network": self._network.name,
            "magic": magic_bytes(self._network.magic).hex(),
            "address": self._folder.address,
            "direction": "inbound" if self._folder.inbound else "outbound",
            **self._negotiated,
        }
