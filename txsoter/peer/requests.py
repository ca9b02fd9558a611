"""Questions that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from txsoter.errors import (
    CloseReason,
    ConnectionClosed,
    FieldError,
    RequestClosed,
    RequestFailed,
    RequestNotFound,
    RequestRejected,
    RequestTimedOut,
)
from txsoter.peer.logs import sanitize
from txsoter.wire import Block, GetData, InventoryVector, MerkleBlock, Message, NotFound, Ping, Pong, Reject, Tx

__all__ = ["Requests"]

A = TypeVar("A", bound=Message)


class _Request(Generic[A]):
    """A question, what would answer it, and who waits for that."""

    __slots__ = ("answer", "expected", "hashes", "matching", "question", "timer")

    def __init__(
        self, question: Message, expected: type[A], matching: Callable[[A], object] | None, answer: Deferred[A]
    ) -> None:
        self.question = question
        self.expected = expected
        self.matching = matching
        self.answer = answer
        self.timer: IDelayedCall | None = None
        self.hashes: frozenset[bytes] = (
            frozenset(vector[1] for vector in question.vectors) if isinstance(question, GetData) else frozenset()
        )

    def answered_by(self, message: Message, ids: tuple[bytes, ...]) -> bool:
        if not isinstance(message, self.expected):
            return False
        if self.matching is not None:
            return bool(self.matching(message))
        if self.hashes and ids:
            return not self.hashes.isdisjoint(ids)
        if isinstance(message, Pong) and isinstance(self.question, Ping):
            return message.nonce == self.question.nonce
        return True

    def refused_by(self, message: Message) -> RequestFailed | None:
        """The failure that ``message`` means for it, or None when it means none."""
        command = self.question.command
        if isinstance(message, NotFound) and self.hashes:
            lacking: list[InventoryVector] = [each for each in message.vectors if each[1] in self.hashes]
            return RequestNotFound(command, lacking) if len({each[1] for each in lacking}) == len(self.hashes) else None
        if isinstance(message, Reject):
            about_it = message.hash in self.hashes or message.rejected == command.encode("latin-1")
            return RequestRejected(command, message.code, sanitize(message.reason)) if about_it else None
        return None


def _ids(message: Message) -> tuple[bytes, ...]:
    """The hashes under which ``message`` may have been asked for."""
    if isinstance(message, (Block, MerkleBlock)):
        return (message.hash,)
    return (message.txid, message.wtxid) if isinstance(message, Tx) else ()


class Requests:
    """The questions of one connection that wait for an answer.

    An answer goes to the first question, in order of asking, that it fits.
    """

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[_Request[Any]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, question: Message, expected: type[A], timeout: float | None, matching: Callable[[A], object] | None
    ) -> Deferred[A]:
        """Wait for the answer to ``question``.

        :param timeout: seconds, or None to wait for as long as the connection lasts.
        :return: fires with the answer, or fails with a :exc:`~txsoter.errors.RequestFailed`. Cancelling
            it gives the question up.
        :raises FieldError: for arguments that cannot be.
        """
        if not (isinstance(expected, type) and issubclass(expected, Message)):
            raise FieldError("expected_type", expected, "a class of txsoter.wire")
        if timeout is not None and not (isinstance(timeout, (int, float)) and 0 <= timeout < inf):
            raise FieldError("timeout", timeout, "a number of seconds, or None to wait as long as the connection lasts")
        if matching is not None and not callable(matching):
            raise FieldError("matching", matching, "callable, or None")
        answer: Deferred[A] = Deferred(lambda _: self._finish(request))
        request = _Request(question, expected, matching, answer)
        self._waiting.append(request)
        if timeout is not None:
            request.timer = self._clock.callLater(
                timeout, self._fail, request, RequestTimedOut(question.command, timeout)
            )
        return answer

    def received(self, message: Message) -> None:
        """A message has come: give it to the question that it answers, or tell those that it refuses."""
        ids = _ids(message)
        for request in list(self._waiting):
            if request.answer.called:
                # the one before it has failed, which made somebody give it up
                continue
            try:
                answered = request.answered_by(message, ids)
            except Exception as error:
                # matching() is the caller's: its failure is the answer to the one who asked
                self._fail(request, error)
                continue
            # matching() may have given it up, too
            if answered and not request.answer.called:
                self._finish(request)
                request.answer.callback(message)
                return
        for request in list(self._waiting):
            refusal = request.refused_by(message)
            if refusal is not None and request in self._waiting:
                self._fail(request, refusal)
                return

    def give_up(self, failure: Failure, answer: Deferred[Any]) -> None:
        """A question could not be sent: tell the one who waits for ``answer``."""
        for request in self._waiting:
            if request.answer is answer:
                error: Any = failure.value
                if isinstance(error, ConnectionClosed):
                    error = RequestClosed(request.question.command, error.reason)
                self._fail(request, error)
                return

    def close(self, reason: CloseReason) -> None:
        """The connection has ended: tell all."""
        while self._waiting:
            request = self._waiting[0]
            self._fail(request, RequestClosed(request.question.command, reason))

    def _finish(self, request: _Request[Any]) -> None:
        if request in self._waiting:
            self._waiting.remove(request)
        if request.timer is not None and request.timer.active():
            request.timer.cancel()

    def _fail(self, request: _Request[Any], error: Exception) -> None:
        self._finish(request)
        if not request.answer.called:
            request.answer.errback(error)
