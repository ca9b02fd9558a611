"""The floor of connections: bare Twisted protocols that move the same bytes as ours and do nothing else.

``bare`` looks at no byte that it need not; ``checksum`` finds each frame's end and checks its checksum.
A connection begins with what it is for, so that the accepting end knows when it is over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import cycle, islice
from time import perf_counter
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from benchmarks import inputs
from benchmarks.pace import LIMIT, Latencies, pace
from txsoter.wire import Encoding, Ping, Pong, VerAck, write_message

__all__ = ["FloorDriver", "FloorServer", "floor_factory"]

_PREAMBLE = struct.Struct("<cQ")
ECHO, SINK, FRAMES, HANDSHAKE = b"e", b"s", b"f", b"h"
_LENGTH = struct.Struct("<I")
_HEADER_SIZE, _PING_SIZE = 24, 32

_VERSION_FRAME = write_message(
    next(each for each in inputs.SAMPLES if each.name == "version").build(False), inputs.MAGIC
)
_VERACK_FRAME = write_message(VerAck(), inputs.MAGIC)
_PONG_FRAME = write_message(Pong(7), inputs.MAGIC)
_PING_COMMAND, _PONG_START = write_message(Ping(7), inputs.MAGIC)[4:16], _PONG_FRAME[:16]


class Frames:
    """Finds the ends of frames, and checks their checksums if told to."""

    def __init__(self, check: bool) -> None:
        self._check = check
        self._parts: list[bytes] = []
        self._have = self._need = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The whole frames that end in ``data``."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        offset, size, need, check, length_at = 0, len(data), _HEADER_SIZE, self._check, _LENGTH.unpack_from
        while size - offset >= _HEADER_SIZE:
            need = _HEADER_SIZE + length_at(data, offset + 16)[0]
            end = offset + need
            if end > size:
                break
            if check:
                payload = data[offset + _HEADER_SIZE : end]
                if sha256(sha256(payload).digest()).digest()[:4] != data[offset + 20 : offset + 24]:
                    raise ValueError("checksum")
            yield data[offset:end]
            offset, need = end, _HEADER_SIZE
        if offset < size:
            self._parts.append(data[offset:])
            self._have, self._need = size - offset, need


class _Bare(Protocol):
    """What both ends have in common."""

    transport: Any

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)


class FloorServer(_Bare):
    """The accepting end.

    :ivar received: bytes behind the preamble.
    """

    def __init__(self, check: bool) -> None:
        super().__init__()
        self._frames = Frames(check)
        self._check = check
        self._kind = b""
        self._total = self.received = 0

    def dataReceived(self, data: bytes) -> None:
        """Do what the preamble says."""
        if not self._kind:
            self._kind, self._total = _PREAMBLE.unpack_from(data)
            data = data[_PREAMBLE.size :]
        kind = self._kind
        before = self.received
        self.received += len(data)
        if kind == HANDSHAKE:
            if before < len(_VERSION_FRAME) <= self.received:
                self.transport.write(_VERSION_FRAME + _VERACK_FRAME)
        elif kind == ECHO and not self._check:
            self.transport.write(data)
        elif kind == SINK:
            if self._check:
                for _ in self._frames.feed(data):
                    pass
            if self.received == self._total:
                self.transport.write(_PONG_FRAME)
        else:
            answers = [_PONG_START + frame[16:] for frame in self._frames.feed(data) if frame[4:16] == _PING_COMMAND]
            if answers:
                self.transport.write(b"".join(answers))


class FloorFactory(Factory):
    """Makes accepting ends."""

    noisy = False

    def __init__(self, make: Callable[[], Protocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> Protocol:
        return self._make()


def floor_factory(check: bool) -> FloorFactory:
    """The accepting end's factory."""
    return FloorFactory(lambda: FloorServer(check))


@implementer(IPushProducer)
class _Client(_Bare):
    """The dialling end: hands what it reads to ``heard``, and writes pieces as fast as they are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: Callable[[bytes], None] = lambda data: None
        self._pieces: Iterator[bytes] = iter(())
        self._paused = False

    def dataReceived(self, data: bytes) -> None:
        self.heard(data)

    def begin(self, kind: bytes, total: int = 0) -> None:
        """Say what the connection is for."""
        self.transport.write(_PREAMBLE.pack(kind, total))

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write all pieces."""
        self._pieces = pieces
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused:
            piece = next(self._pieces, None)
            if piece is None:
                self.transport.unregisterProducer()
                return
            self.transport.write(piece)

    def stopProducing(self) -> None:
        self._pieces = iter(())

    def close(self) -> Deferred[None]:
        """Hang up; fires when that is done."""
        self.transport.loseConnection()
        return self.closed


class FloorDriver:
    """Does at the dialling end what a txsoter driver does, in its modes."""

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint, check: bool) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._check = check

    async def _connect(self) -> _Client:
        return cast(_Client, await self._endpoint.connect(FloorFactory(_Client)))

    def _done(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        return done.addTimeout(LIMIT, self._reactor)

    async def pings(self, count: int, window: int) -> dict[str, float]:
        """Round trips of 32 bytes."""
        client, done = await self._connect(), self._done()
        ahead = min(window, count)
        frames = b"".join(write_message(Ping(nonce), inputs.MAGIC) for nonce in range(ahead))
        walk = Frames(True)
        sent, got, over = ahead, 0, 0

        def heard(data: bytes) -> None:
            nonlocal sent, got, over
            if self._check:
                fresh = sum(1 for _ in walk.feed(data))
            else:
                fresh, over = divmod(over + len(data), _PING_SIZE)
            got += fresh
            more = min(fresh, count - sent)
            if more:
                client.transport.write(frames[: more * _PING_SIZE])
                sent += more
            if got == count and not done.called:
                done.callback(None)

        client.heard = heard
        client.begin(ECHO)
        started = perf_counter()
        client.transport.write(frames)
        await done
        seconds = perf_counter() - started
        await client.close()
        return {"seconds": seconds}

    async def flow(self, mode: str, count: int) -> dict[str, float]:
        """Frames as fast as they are taken."""
        frames = {
            "inv": lambda: inputs.frames(inputs.inventories()),
            "inv-tuples": lambda: inputs.frames(inputs.inventories()),
            "block": lambda: inputs.frames(inputs.blocks()),
            "block-mixed": lambda: inputs.frames(inputs.mixed_blocks(), Encoding.WITNESS),
        }[mode]()
        total = sum(len(frame) for frame in islice(cycle(frames), count))
        client, done = await self._connect(), self._done()
        client.heard = lambda data: done.callback(None)
        client.begin(SINK, total)
        started = perf_counter()
        client.stream(islice(cycle(frames), count))
        await done
        seconds = perf_counter() - started
        await client.close()
        return {"seconds": seconds, "bytes": total}

    async def transactions(self, seconds: float) -> dict[str, float]:
        """Transactions at a steady rate, and how long pings beside them take."""
        client, latencies, walk = await self._connect(), Latencies(), Frames(self._check)
        client.begin(FRAMES)
        txs = inputs.frames(inputs.transactions())

        def heard(data: bytes) -> None:
            for frame in walk.feed(data):
                latencies.answered(int.from_bytes(frame[24:32], "little"))

        client.heard = heard

        def ping(nonce: int) -> None:
            client.transport.write(write_message(Ping(nonce), inputs.MAGIC))

        await pace(self._reactor, seconds, lambda index: client.transport.write(txs[index % len(txs)]), ping, latencies)
        await client.close()
        return latencies.result()

    async def handshake(self) -> None:
        """Version there, version and verack back, verack there; and the end."""
        client, done = await self._connect(), self._done()
        left = len(_VERSION_FRAME) + len(_VERACK_FRAME)

        def heard(data: bytes) -> None:
            nonlocal left
            left -= len(data)
            if left == 0:
                client.transport.write(_VERACK_FRAME)
                done.callback(None)

        client.heard = heard
        client.begin(HANDSHAKE)
        client.transport.write(_VERSION_FRAME)
        await done
        await client.close()
