"""The application of the target ``peer``: listeners that do whatever listeners may do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from inspect import iscoroutine
from typing import Any

from conversation import SMALL
from twisted.internet.defer import Deferred

from txsoter import CloseReason, Listeners
from txsoter.errors import ConnectionClosed, LocalError, RequestFailed
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import Message, Ping, Pong, Reject, Unknown, messages

__all__ = ["Application", "ListenerError", "fails", "matches_nothing"]


class ListenerError(Exception):
    """What listeners fail with on purpose."""


class Application:
    """Listeners that do by turns what the settings say, and what they wait for."""

    def __init__(self, turns: bytes) -> None:
        self.turns = [turn for each in turns for turn in (each & 15, each >> 4)]
        self.count = 0
        self.busy = False
        self.bystander: SoterPeerProtocol | None = None
        self.waiting: list[Deferred[None]] = []
        self.told: list[Deferred[Any]] = []
        self.ready = 0
        self.closed: list[CloseReason] = []

    def listeners(self) -> Listeners:
        hooks: dict[str, Any] = {f"on_{command}": self.hears for command in (*messages(), "unknown")}
        hooks |= {"on_ready": self.is_ready, "on_closed": self.is_closed}
        hooks |= {"on_read": self.looks, "on_write": self.looks, "on_round_trip": self.measures}
        return Listeners(**hooks)

    def is_ready(self, peer: SoterPeerProtocol) -> None:
        self.ready += peer is not self.bystander

    def is_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        if peer is not self.bystander:
            self.closed.append(reason)

    def looks(self, peer: SoterPeerProtocol, size: int, message: Message | None, error: Exception | None) -> None:
        assert (message is None) is (error is not None) or size == 0

    def measures(self, peer: SoterPeerProtocol, seconds: float) -> None:
        assert seconds >= 0

    def hears(self, peer: SoterPeerProtocol, *message: object) -> Any:
        if peer is self.bystander:
            return None
        assert not self.busy, "two handlers at once"
        assert not peer.is_closing, "a message is handled after the end has begun"
        turn = self.turns[self.count % len(self.turns)]
        self.count += 1
        self.busy = True
        try:
            result = self.does(peer, turn)
        finally:
            self.busy = False
        if isinstance(result, Deferred):
            self.busy = not result.called
            return result.addBoth(self.is_done)
        return self.until_done(result) if iscoroutine(result) else result

    def is_done(self, result: object) -> object:
        self.busy = False
        return result

    async def until_done(self, result: Coroutine[Any, Any, object]) -> object:
        self.busy = True
        try:
            return await result
        finally:
            self.busy = False

    def does(self, peer: SoterPeerProtocol, turn: int) -> Any:
        """One thing that a listener may do."""
        if turn == 1:
            raise ListenerError
        if turn == 2:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            return waiting
        if turn == 3:
            return self.keep(peer.send, Ping(self.count))
        if turn == 4:
            return self.awaits(peer)
        if turn == 5:
            peer.disconnect("a listener")
        if turn == 6:
            return Reject(b"version", 0x10, b"no")
        if turn == 7:
            return self.keep(peer.send, Unknown("filler", bytes(SMALL)))
        if turn == 8:
            self.keep(peer.request, Ping(self.count), Pong)
        if turn == 9:
            return self.keep(peer.when_ready)
        if turn == 10:
            return Reject(b"version", 999, b"cannot be written")
        return None

    async def awaits(self, peer: SoterPeerProtocol) -> None:
        try:
            await peer.request(Ping(self.count), Pong, timeout=20)
        except ConnectionClosed:
            raise
        except (RequestFailed, LocalError):
            raise ListenerError from None

    def keep(self, verb: Callable[..., Deferred[Any]], *arguments: Any) -> Deferred[Any] | None:
        """Call a verb; its Deferred must fire. A caller's own mistake changes nothing."""
        with suppress(LocalError):
            deferred = verb(*arguments)
            deferred.addErrback(lambda _: None)
            self.told.append(deferred)
            return deferred
        return None

    def goes_on(self, well: bool = True) -> None:
        """What a listener has waited for comes, or fails."""
        if self.waiting:
            waiting = self.waiting.pop(0)
            if well:
                waiting.callback(None)
            else:
                waiting.errback(ListenerError())


def fails() -> int:
    """A ``newest_block`` that does not work."""
    raise ListenerError


def matches_nothing(message: Message) -> bool:
    """A ``matching`` that does not work."""
    raise ListenerError
