"""``pcap``: the soter connections in a pcap or pcapng file, in the form of captures of our own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import attrs

from txsoter.capture.errors import CaptureError, reason_of
from txsoter.capture.frames import Frame, FrameSplitter, magic_bytes
from txsoter.capture.reels import Reel, Track, frames_size
from txsoter.capture.segments import End, PacketFile, Segment
from txsoter.capture.store import CaptureStore, Folder, Piece
from txsoter.capture.streams import Stretch, TcpStream
from txsoter.core.sanitize import sanitize
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1, Network
from txsoter.wire.message import command_text

__all__ = ["PcapConversion", "Summary"]

NETWORKS = (MAINNET, TESTNET1, REGTEST, SIMNET)

MAX_FLOWS = 1000
"""TCP connections that are followed at a time; with more, the one that was silent the longest is taken for over."""

MAX_HELD = 256 << 20
"""Bytes of messages that are not whole, and of what waits for missing segments, of all connections."""

MAX_WAITING = 1 << 16
"""Bytes of a connection's records that are worth a write."""

UNDECIDED = 5_000_000
"""Bytes after which a connection without a soter message is taken for another protocol's: more than a block has, in
the middle of which a file may begin."""

MAX_ENDED = 10_000
"""Connections that are remembered after their end, for what still comes of them is no new one."""


@attrs.define
class Summary:
    """What was found.

    :ivar connections: soter connections, each a folder.
    :ivar messages: in them.
    :ivar others: TCP connections of other protocols.
    :ivar lost: bytes that the capture lacks, between others that it has.
    """

    connections: int = 0
    messages: int = 0
    others: int = 0
    lost: int = 0


class _Side:
    """One direction of a flow."""

    def __init__(self, source: End) -> None:
        self.source = source
        self.stream = TcpStream()
        self.splitter: FrameSplitter | None = None
        self.track: Track | None = None
        self.fed = 0
        # the sequence number behind its last byte, once that is known
        self.last: int | None = None

    @property
    def finished(self) -> bool:
        """Whether it has said that it is done, and all of what it said is there."""
        return self.last is not None and self.stream.reaches(self.last)

    @property
    def held(self) -> int:
        """Bytes that it keeps."""
        return self.stream.held + (0 if self.splitter is None else self.splitter.held)


class _Flow:
    """A TCP connection.

    :param client: who dialled, as far as that can be told.
    """

    def __init__(self, client: End, server: End, time: int) -> None:
        self.client = _Side(client)
        self.server = _Side(server)
        self.begun = self.time = time
        self.held = 0
        self.lost = 0
        self.is_soter = self.is_other = False
        self.reel: Reel | None = None
        self.folder: Folder | None = None

    def side(self, source: End) -> tuple[_Side, _Side]:
        """The one who speaks, and the other."""
        return (self.client, self.server) if source == self.client.source else (self.server, self.client)


class PcapConversion:
    """Turns segments into folders.

    :param store: where they go.
    :param networks: those to look for.
    :param local: our IP; what comes to it was received.
    :param view: ``server`` or ``client``: whose view is taken of connections that are not ``local``'s.
    """

    def __init__(
        self,
        store: CaptureStore,
        networks: tuple[Network, ...] = NETWORKS,
        local: str | None = None,
        view: str = "server",
    ) -> None:
        self.summary = Summary()
        self._store = store
        self._names = {magic_bytes(each.magic): each.name for each in networks}
        self._ports = {each.default_port for each in networks}
        self._local = local
        self._view = view
        # the one that was silent the longest first
        self._flows: OrderedDict[tuple[End, End], _Flow] = OrderedDict()
        self._ended: OrderedDict[tuple[End, End], None] = OrderedDict()
        self._held = 0

    def convert(self, file: PacketFile, progress: Callable[[PacketFile], object] = lambda file: None) -> Summary:
        """All of a file.

        :raises CaptureError: when it cannot be read, or the folders cannot be written.
        """
        try:
            for segment in file:
                self.feed(segment)
                progress(file)
            self.finish()
        except OSError as error:
            raise CaptureError(self._store.directory, reason_of(error)) from None
        return self.summary

    def feed(self, segment: Segment) -> None:
        """A segment, in the order in which they were captured."""
        key = (min(segment.source, segment.target), max(segment.source, segment.target))
        flow = self._flows.get(key)
        if flow is not None and segment.syn and not flow.side(segment.source)[0].stream.syn(segment.sequence):
            # the same two ports once more
            self._end(key, flow, "another connection began between the same ports")
            flow = None
        if flow is None:
            if not segment.syn and (not segment.data or segment.rst or key in self._ended):
                return
            self._ended.pop(key, None)
            flow = self._flows[key] = _Flow(*self._who_dialled(segment), segment.time)
            while len(self._flows) > MAX_FLOWS:
                self._end(*next(iter(self._flows.items())), "too many connections at a time")
        self._flows.move_to_end(key)
        flow.time = max(flow.time, segment.time)
        side, other = flow.side(segment.source)
        if segment.syn:
            side.stream.syn(segment.sequence)
        first = segment.sequence + 1 if segment.syn else segment.sequence
        if not flow.is_other:
            self._stretches(flow, side, side.stream.feed(segment.time, first % (1 << 32), segment.data, segment.cut))
        if segment.fin:
            side.last = (first + len(segment.data) + segment.cut) % (1 << 32)
        if segment.rst:
            self._ends(key, flow, f"reset by {_text(side.source)}")
        elif side.finished and other.finished:
            self._ends(key, flow, f"closed, last by {_text(side.source)}")
        else:
            self._keep_within(flow)

    def finish(self) -> None:
        """There are no more segments."""
        for key, flow in list(self._flows.items()):
            self._end(key, flow, "the file ends")

    # -- connections ---------------------------------------------------------------------------

    def _who_dialled(self, segment: Segment) -> tuple[End, End]:
        source, target = segment.source, segment.target
        if segment.syn:
            return (target, source) if segment.ack else (source, target)
        # it began before the file did: the port that nodes listen on, or the lower one
        listens = (target[1] not in self._ports, target[1]) <= (source[1] not in self._ports, source[1])
        return (source, target) if listens else (target, source)

    def _we_dialled(self, flow: _Flow) -> bool:
        hosts = [flow.client.source[0], flow.server.source[0]]
        if self._local in hosts and hosts[0] != hosts[1]:
            return hosts[0] == self._local
        return self._view == "client"

    def _ends(self, key: tuple[End, End], flow: _Flow, reason: str) -> None:
        """It has ended itself."""
        self._end(key, flow, reason)
        self._ended[key] = None
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def _end(self, key: tuple[End, End], flow: _Flow, reason: str) -> None:
        del self._flows[key]
        self._held -= flow.held
        flow.held = 0
        for side in (flow.client, flow.server):
            if not flow.is_other:
                self._stretches(flow, side, side.stream.end())
        self.summary.lost += flow.lost
        if flow.is_soter and flow.reel is not None:
            flow.reel.close(flow.time, reason, **({"lost": flow.lost} if flow.lost else {}))
            self._write(flow, last=True)
        else:
            self.summary.others += 1

    def _keep_within(self, flow: _Flow) -> None:
        held = flow.client.held + flow.server.held
        self._held += held - flow.held
        flow.held = held
        if self._held > MAX_HELD:
            key, largest = max(self._flows.items(), key=lambda item: item[1].held)
            self._end(key, largest, "too much of it was not whole")

    # -- messages ------------------------------------------------------------------------------

    def _stretches(self, flow: _Flow, side: _Side, stretches: list[Stretch]) -> None:
        for time, lost, data in stretches:
            splitter, track, reel = self._prepared(flow, side)
            if lost:
                forgotten = splitter.gap()
                flow.lost += lost
                reel.note(time, "lost", direction=track.direction, bytes=lost, forgotten=forgotten)
            frames = splitter.feed(data)
            side.fed += len(data)
            if splitter.skipped != track.skipped:
                reel.note_skipped(track, time)
            if frames:
                self._record(flow, track, frames, time)
            elif not flow.is_soter and flow.client.fed + flow.server.fed > UNDECIDED:
                flow.is_other = True
                flow.reel = None
                for each in (flow.client, flow.server):
                    each.stream.forget()
                    each.splitter = None
                return

    def _prepared(self, flow: _Flow, side: _Side) -> tuple[FrameSplitter, Track, Reel]:
        if flow.reel is None:
            splitters = [
                FrameSplitter(self._names, search=True, begins=each.stream.started)
                for each in (flow.client, flow.server)
            ]
            flow.client.splitter, flow.server.splitter = splitters
            recv, sent = splitters[::-1] if self._we_dialled(flow) else splitters
            flow.reel = Reel(recv, sent, flow.begun)
            for each in (flow.client, flow.server):
                each.track = flow.reel.recv if each.splitter is recv else flow.reel.sent
        assert side.splitter is not None and side.track is not None
        return side.splitter, side.track, flow.reel

    def _record(self, flow: _Flow, track: Track, frames: list[Frame], time: int) -> None:
        reel = flow.reel
        assert reel is not None
        if not flow.is_soter:
            flow.is_soter = True
            self.summary.connections += 1
        self.summary.messages += len(frames)
        reel.record(track, frames, frames_size(frames), time)
        for command, payload, checksum in frames:
            if sha256(sha256(payload).digest()).digest()[:4] != checksum:
                name = sanitize(command_text(command), 12)
                reel.note(time, "malformed", direction=track.direction, command=name, reason="wrong checksum")
        if reel.waiting > MAX_WAITING:
            self._write(flow)

    def _write(self, flow: _Flow, last: bool = False) -> None:
        reel = flow.reel
        assert reel is not None
        if flow.folder is None:
            we_dialled = self._we_dialled(flow)
            remote = flow.server if we_dialled else flow.client
            flow.folder = Folder(flow.begun, _text(remote.source), inbound=not we_dialled)
        magic = reel.recv.splitter.magic or reel.sent.splitter.magic or b""
        opening = {
            "time": flow.begun,
            "note": "opened",
            "network": self._names.get(magic),
            "magic": magic.hex(),
            "address": flow.folder.address,
            "direction": "inbound" if flow.folder.inbound else "outbound",
            "begins": "with the connection" if flow.client.stream.started or flow.server.stream.started else "later",
        }
        self._store.write([Piece(flow.folder, opening, *reel.take(), last=last)])


def _text(end: End) -> str:
    return f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}"


def new_store(directory: Path) -> CaptureStore:
    """A store for what is converted: a directory that is new, or empty.

    :raises CaptureError: for one that is not, or cannot be written.
    """
    try:
        if directory.exists() and any(directory.iterdir()):
            raise CaptureError(directory, "must be a new folder, or an empty one")
    except OSError as error:
        raise CaptureError(directory, reason_of(error)) from None
    store = CaptureStore(directory)
    store.prepare()
    return store
