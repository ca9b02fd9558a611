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

    def lacks(self, lacking: dict[bytes, InventoryVector]) -> RequestFailed | None:
        """The failure that a ``notfound`` means for it, by hash; None as long as something may still come."""
        if not self.hashes or not self.hashes <= lacking.keys():
            return None
        return RequestNotFound(
            self.question.command, [vector for each, vector in lacking.items() if each in self.hashes]
        )

    def rejected_by(self, reject: Reject) -> RequestFailed | None:
        """The failure that a ``reject`` means for it, or None when it is about something else."""
        command = self.question.command
        of_what_it_asks = reject.rejected in (b"block", b"tx") and reject.hash in self.hashes
        if not of_what_it_asks and reject.rejected != command.encode("latin-1"):
            return None
        return RequestRejected(command, reject.code, sanitize(reject.reason))


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
        # by the class of the answer, in order of asking
        self._waiting: dict[type[Message], dict[_Request[Any], None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) if self._waiting else 0

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
        if isinstance(question, GetData) and not question.vectors and matching is None:
            raise FieldError("GetData.vectors", question.vectors, "at least one, to tell the answer by")
        answer: Deferred[A] = Deferred(lambda _: self._finish(request))
        request = _Request(question, expected, matching, answer)
        self._waiting.setdefault(expected, {})[request] = None
        if timeout is not None:
            request.timer = self._clock.callLater(
                timeout, self._fail, request, RequestTimedOut(question.command, timeout)
            )
        return answer

    def received(self, message: Message) -> None:
        """A message has come: give it to the question that it answers, or tell those that it refuses."""
        ids = _ids(message)
        kinds = [kind for kind in type(message).__mro__ if kind in self._waiting]
        for request in [each for kind in kinds for each in self._waiting[kind]]:
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
        if isinstance(message, NotFound):
            lacking = {each[1]: each for each in message.vectors}
            self._refuse(lambda request: request.lacks(lacking))
        elif isinstance(message, Reject):
            self._refuse(lambda request: request.rejected_by(message))

    def _refuse(self, why: Callable[[_Request[Any]], RequestFailed | None]) -> None:
        """Tell the first question, in order of asking, for which there is a failure."""
        for request in self._all():
            refusal = why(request)
            if refusal is not None:
                self._fail(request, refusal)
                return

    def _all(self) -> list[_Request[Any]]:
        return [each for waiting in self._waiting.values() for each in waiting]

    def give_up(self, failure: Failure, answer: Deferred[Any]) -> None:
        """A question could not be sent: tell the one who waits for ``answer``."""
        for request in self._all():
            if request.answer is answer:
                error: Any = failure.value
                if isinstance(error, ConnectionClosed):
                    error = RequestClosed(request.question.command, error.reason)
                self._fail(request, error)
                return

    def close(self, reason: CloseReason) -> None:
        """The connection has ended: tell all."""
        while self._waiting:
            request = self._all()[0]
            self._fail(request, RequestClosed(request.question.command, reason))

    def _finish(self, request: _Request[Any]) -> None:
        waiting = self._waiting.get(request.expected, {})
        waiting.pop(request, None)
        if not waiting:
            self._waiting.pop(request.expected, None)
        if request.timer is not None and request.timer.active():
            request.timer.cancel()

    def _fail(self, request: _Request[Any], error: Exception) -> None:
        self._finish(request)
        if not request.answer.called:
            request.answer.errback(error)
