"""Requests that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from txsoter.core.answers import AnswerQueue, Then, Until, check_end
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
from txsoter.wire import (
    Block,
    GetData,
    InventoryVector,
    MerkleBlock,
    Message,
    NotFound,
    Ping,
    Pong,
    Reject,
    Tx,
)

__all__ = ["Ended", "Request", "Requests", "check_request", "check_request_all"]

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


def check_request_all(
    question: Message,
    expected: type[Message] | tuple[type[Message], ...],
    timeout: float | None,
    matching: Matching | None,
    count: int | None,
    until: Until | None,
    then: Then | None,
) -> tuple[type[Message], ...]:
    """Check the arguments of a request with many answers; return the classes of these.

    :raises FieldError: for the first that cannot be.
    """
    classes = expected if isinstance(expected, tuple) and expected else (expected,)
    for each in classes:
        check_request(question, each, timeout, matching)  # type: ignore[arg-type]  # which it says
    check_end(count, until, then, isinstance(question, GetData) and matching is None)
    return classes  # type: ignore[return-value]  # checked


class Request:
    """A question, and the rules by which its answer is known.

    :ivar token: the caller's.
    :ivar due: time at which it has failed, or None.
    :ivar hashes: those that were asked for by ``getdata``, and have not come.
    :ivar queue: of the answers, if there may be many.
    """

    __slots__ = ("due", "expected", "hashes", "matching", "question", "queue", "timeout", "token")

    def __init__(
        self,
        question: Message,
        expected: type[Message] | tuple[type[Message], ...],
        timeout: float | None,
        matching: Matching | None,
        token: Any,
        now: float,
        queue: AnswerQueue | None = None,
    ) -> None:
        self.question = question
        self.expected = expected
        self.matching = matching
        self.timeout = timeout
        self.token = token
        self.queue = queue
        # of many answers, each has its time from when it is waited for
        self.due = None if timeout is None or queue is not None else now + timeout
        self.hashes: set[bytes] = set()
        self.ask(question)

    def ask(self, question: Message) -> None:
        """Go on with another question."""
        self.question = question
        self.hashes = {vector[1] for vector in question.vectors} if isinstance(question, GetData) else set()

    def answered_by(self, message: Message, ids: tuple[bytes, ...]) -> bool:
        """Tell whether ``message``, which has those ids, is the answer. May raise what ``matching`` raises."""
        if not isinstance(message, self.expected):
            return False
        if self.matching is not None:
            return bool(self.matching(message))
        if self.hashes and isinstance(message, NotFound):
            return any(vector[1] in self.hashes for vector in message.vectors)
        if ids and isinstance(self.question, GetData):
            return not self.hashes.isdisjoint(ids)
        if isinstance(message, Pong) and isinstance(self.question, Ping):
            return message.nonce == self.question.nonce
        return True

    def is_over(self, message: Message, ids: tuple[bytes, ...]) -> bool:
        """Count one of many answers; tell whether it is the last. May raise what ``until`` raises.

        :raises InvalidProof: for a filtered block that does not tell which transactions follow it.
        """
        assert self.queue is not None
        if self.hashes:
            self.hashes.difference_update(
                [vector[1] for vector in message.vectors] if isinstance(message, NotFound) else ids
            )
        if isinstance(message, MerkleBlock) and self.has_hashes and issubclass(Tx, self.expected):
            self.hashes.update(message.matched())
        return self.queue.is_last(message) or (self.has_hashes and not self.hashes)

    @property
    def has_hashes(self) -> bool:
        """Whether answers are known by their hashes."""
        return isinstance(self.question, GetData) and self.matching is None

    def lacks(self, lacking: dict[bytes, InventoryVector]) -> RequestFailed | None:
        """Return the failure that a ``notfound`` means; None as long as the answer may still come.

        Of many answers each is wanted.
        """
        if self.hashes.isdisjoint(lacking) or (self.queue is None and not self.hashes <= lacking.keys()):
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
"""The token of a caller, or None if nobody is to be told, and the answer or the error; neither where answers end."""


class Requests:
    """The requests of one connection.

    An answer goes to the first request, in order of asking, that it fits.

    :ivar waiting: those that wait, in order of asking; empty or None if none does.
    :ivar due: time before which none times out; may be too early, never too late.
    :ivar full: number of those with answers that wait to be taken.
    :ivar untaken: bytes of memory of such answers, also of requests that are over.
    """

    __slots__ = ("due", "full", "untaken", "waiting")

    def __init__(self) -> None:
        # made when needed
        self.waiting: dict[Request, None] | None = None
        self.due: float | None = None
        self.full = 0
        self.untaken = 0

    def __len__(self) -> int:
        return len(self.waiting) if self.waiting else 0

    def add(self, request: Request) -> None:
        """Wait for the answer to ``request``."""
        if self.waiting is None:
            self.waiting = {}
        self.waiting[request] = None
        self._note_due(request)

    def _note_due(self, request: Request) -> None:
        if request.due is not None and (self.due is None or request.due < self.due):
            self.due = request.due

    @property
    def wants_more(self) -> bool:
        """Whether a request waits that would take an answer now."""
        return self.waiting is not None and self.full < len(self.waiting)

    def offer(self, message: Message, size: int = 0) -> Iterator[Ended]:
        """Yield the requests that ``message`` ends: any number that ``matching`` fails, then one at the most.

        Their callers are to be told of each before the next is asked for. Requests made meanwhile are not offered it.

        :param size: bytes of memory that the message takes.
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
                if request.queue is None:
                    yield self._end(request, message, None)
                else:
                    yield from self._one_of_many(request, request.queue, message, ids, size)
                return
        if isinstance(message, (NotFound, Reject)):
            yield from self._refuse(message, asked)

    def _one_of_many(
        self, request: Request, queue: AnswerQueue, message: Message, ids: tuple[bytes, ...], size: int
    ) -> Iterator[Ended]:
        try:
            is_last = request.is_over(message, ids)
        except Exception as error:
            # until() is the caller's
            if self._waits(request):
                yield self._end(request, None, error)
            return
        if not self._waits(request):
            return
        told = queue.put(message, size)
        if told is None:
            self.untaken += size
            self.full += len(queue) == 1
        request.due = None
        if is_last:
            self._remove(request)
            queue.finish(None)
        if told is not None:
            yield told

    def take(self, request: Request, token: Any, now: float) -> Ended | None:
        """Return the next of many answers, the error or the end; None if ``token`` has to wait for it."""
        queue = request.queue
        assert queue is not None
        before = queue.size
        was_full = self._waits(request) and len(queue) > 0
        told = queue.take(token)
        self.untaken -= before - queue.size
        if was_full and not queue:
            self.full -= 1
        if told is None and request.timeout is not None:
            request.due = now + request.timeout
            self._note_due(request)
        return told

    def forget(self, request: Request) -> None:
        """Want no further answer of a request with many."""
        assert request.queue is not None
        if self._waits(request):
            self._remove(request)
        self.untaken -= request.queue.size
        request.queue.clear()

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
        if request.queue is not None:
            # nobody is to be told now, if nobody waits for an answer now
            return request.queue.finish(error) or (None, None, error)
        return request.token, answer, error

    def _remove(self, request: Request) -> None:
        assert self.waiting is not None
        del self.waiting[request]
        self.full -= bool(request.queue)
        if not self.waiting:
            self.due = None
