"""Requests that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from txsoter.core.sanitize import sanitize
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
from txsoter.wire import Block, GetData, InventoryVector, MerkleBlock, Message, NotFound, Ping, Pong, Reject, Tx

__all__ = ["Ended", "Request", "Requests", "check_request"]

Matching = Callable[[Any], object]


def check_request(question: Message, expected: type[Message], timeout: float | None, matching: Matching | None) -> None:
    """Check the arguments of a request.

    :raises FieldError: for the first that cannot be.
    """
    if not (isinstance(expected, type) and issubclass(expected, Message)):
        raise FieldError("expected_type", expected, "a class of txsoter.wire")
    if timeout is not None and not (isinstance(timeout, (int, float)) and 0 < timeout < inf):
        raise FieldError(
            "timeout", timeout, "a number of seconds above 0, or None to wait as long as the connection lasts"
        )
    if matching is not None and not callable(matching):
        raise FieldError("matching", matching, "callable, or None")
    if isinstance(question, GetData) and not question.vectors and matching is None:
        raise FieldError("GetData.vectors", question.vectors, "at least one, to tell the answer by")


class Request:
    """A question, and the rules by which its answer is known.

    :ivar token: the caller's.
    :ivar due: time at which it has failed, or None.
    """

    __slots__ = ("due", "expected", "hashes", "matching", "question", "timeout", "token")

    def __init__(
        self,
        question: Message,
        expected: type[Message],
        timeout: float | None,
        matching: Matching | None,
        token: Any,
        now: float,
    ) -> None:
        self.question = question
        self.expected = expected
        self.matching = matching
        self.timeout = timeout
        self.token = token
        self.due = None if timeout is None else now + timeout
        self.hashes: frozenset[bytes] = (
            frozenset(vector[1] for vector in question.vectors) if isinstance(question, GetData) else frozenset()
        )

    def answered_by(self, message: Message, ids: tuple[bytes, ...]) -> bool:
        """Tell whether ``message``, which has those ids, is the answer. May raise what ``matching`` raises."""
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
        """Return the failure that a ``notfound`` means; None as long as something may still come."""
        if not self.hashes or not self.hashes <= lacking.keys():
            return None
        return RequestNotFound(
            self.question.command, [vector for each, vector in lacking.items() if each in self.hashes]
        )

    def rejected_by(self, reject: Reject) -> RequestFailed | None:
        """Return the failure that a ``reject`` means; None when it is about something else."""
        command = self.question.command
        of_what_it_asks = reject.rejected in (b"block", b"tx") and reject.hash in self.hashes
        if not of_what_it_asks and reject.rejected != command.encode("latin-1"):
            return None
        return RequestRejected(command, reject.code, sanitize(reject.reason))


def _ids(message: Message) -> tuple[bytes, ...]:
    """Return the hashes under which ``message`` may have been asked for."""
    if isinstance(message, (Block, MerkleBlock)):
        return (message.hash,)
    return (message.txid, message.wtxid) if isinstance(message, Tx) else ()


Ended = tuple[Any, "Message | None", "Exception | None"]
"""The token of a request that is over, and its answer or its error."""


class Requests:
    """The requests of one connection.

    An answer goes to the first request, in order of asking, that it fits.

    :ivar waiting: those that wait, in order of asking; empty or None if none does.
    :ivar due: time before which none times out; may be too early, never too late.
    """

    __slots__ = ("due", "waiting")

    def __init__(self) -> None:
        # made when needed
        self.waiting: dict[Request, None] | None = None
        self.due: float | None = None

    def __len__(self) -> int:
        return len(self.waiting) if self.waiting else 0

    def add(self, request: Request) -> None:
        """Wait for the answer to ``request``."""
        if self.waiting is None:
            self.waiting = {}
        self.waiting[request] = None
        if request.due is not None and (self.due is None or request.due < self.due):
            self.due = request.due

    def offer(self, message: Message) -> Iterator[Ended]:
        """Yield the requests that ``message`` ends: any number that ``matching`` fails, then one at the most.

        Their callers are to be told of each before the next is asked for. Requests made meanwhile are not offered it.
        """
        ids, asked = _ids(message), list(self.waiting or ())
        for request in asked:
            try:
                # whoever was told of the one before it may have given it up
                answered = self._waits(request) and request.answered_by(message, ids)
            except Exception as error:
                # matching() is the caller's: its failure is the answer to the one who asked
                if self._waits(request):
                    yield self._end(request, None, error)
                continue
            if answered and self._waits(request):
                yield self._end(request, message, None)
                return
        if isinstance(message, (NotFound, Reject)):
            yield from self._refuse(message, asked)

    def _refuse(self, message: NotFound | Reject, asked: list[Request]) -> Iterator[Ended]:
        lacking = {each[1]: each for each in message.vectors} if isinstance(message, NotFound) else {}
        for request in filter(self._waits, asked):
            refusal = request.rejected_by(message) if isinstance(message, Reject) else request.lacks(lacking)
            if refusal is not None:
                yield self._end(request, None, refusal)
                return

    def expired(self, now: float) -> list[Ended]:
        """Return the requests that have timed out at ``now``."""
        ended: list[Ended] = []
        due: float | None = None
        for request in list(self.waiting or ()):
            if request.due is None:
                continue
            if request.due <= now:
                assert request.timeout is not None
                ended.append(self._end(request, None, RequestTimedOut(request.question.command, request.timeout)))
            elif due is None or request.due < due:
                due = request.due
        self.due = due
        return ended

    def give_up(self, token: Any) -> None:
        """Forget the request with that token; its caller does not want the answer any more."""
        for request in self.waiting or ():
            if request.token is token:
                self._remove(request)
                return

    def fail(self, request: Request, error: Exception) -> list[Ended]:
        """Return ``request`` as failed, if it still waits: it could not be sent."""
        if isinstance(error, ConnectionClosed):
            error = RequestClosed(request.question.command, error.reason)
        return [self._end(request, None, error)] if self._waits(request) else []

    def close(self, reason: CloseReason) -> list[Ended]:
        """Return all requests as failed: the connection is ending."""
        return [
            self._end(request, None, RequestClosed(request.question.command, reason))
            for request in list(self.waiting or ())
        ]

    def _waits(self, request: Request) -> bool:
        return self.waiting is not None and request in self.waiting

    def _end(self, request: Request, answer: Message | None, error: Exception | None) -> Ended:
        self._remove(request)
        return request.token, answer, error

    def _remove(self, request: Request) -> None:
        assert self.waiting is not None
        del self.waiting[request]
        if not self.waiting:
            self.due = None
