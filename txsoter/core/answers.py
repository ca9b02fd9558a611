"""The answers to a request that may have many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from txsoter.errors import FieldError
from txsoter.wire import Message

__all__ = ["AnswerQueue", "Then", "Until", "check_end"]

Until = Callable[[Any], object]
"""Tells of an answer whether it is the last one."""

Then = Callable[[Any], "Message | None"]
"""Returns the question that follows an answer, or None behind the last one."""

Ended = tuple[Any, "Message | None", "Exception | None"]


class AnswerQueue:
    """The answers to one request that its caller has not taken yet.

    :param count: answers after which it is over, or None.
    :param until: tells of an answer whether it is the last, or None.
    :ivar size: bytes of memory of the answers that wait.
    :ivar is_over: no further answer comes.
    """

    __slots__ = ("_answers", "_error", "_left", "_token", "_until", "is_over", "size")

    def __init__(self, count: int | None, until: Until | None) -> None:
        self._left = count
        self._until = until
        self._answers: deque[tuple[Message, int]] = deque()
        # of the caller that waits for the next answer
        self._token: Any = None
        self._error: Exception | None = None
        self.size = 0
        self.is_over = False

    def __len__(self) -> int:
        return len(self._answers)

    def is_last(self, message: Message) -> bool:
        """Count an answer; tell whether it is the last. May raise what ``until`` raises."""
        if self._left is not None:
            self._left -= 1
        return self._left == 0 or (self._until is not None and bool(self._until(message)))

    def put(self, message: Message, size: int) -> Ended | None:
        """Hand an answer to the caller that waits for it, or keep it; return what that caller is to be told."""
        if self._token is not None:
            return self._pop_token(), message, None
        self._answers.append((message, size))
        self.size += size
        return None

    def finish(self, error: Exception | None) -> Ended | None:
        """End behind the answers that wait; return what the caller that waits for one is to be told."""
        self.is_over = True
        if self._token is not None:
            return self._pop_token(), None, error
        self._error = error
        return None

    def take(self, token: Any) -> Ended | None:
        """Return the next answer, the error or the end; None if there is none yet, and ``token`` waits for it."""
        if self._answers:
            message, size = self._answers.popleft()
            self.size -= size
            return token, message, None
        if self.is_over:
            error, self._error = self._error, None
            return token, None, error
        self._token = token
        return None

    def clear(self) -> None:
        """Forget everything: nobody wants the answers any more."""
        self._answers.clear()
        self._token = self._error = None
        self.size = 0
        self.is_over = True

    def _pop_token(self) -> Any:
        token, self._token = self._token, None
        return token


def check_end(count: int | None, until: Until | None, then: Then | None, has_end: bool) -> None:
    """Check the arguments that say where the answers end.

    :param has_end: the question itself says it.
    :raises FieldError: for the first that cannot be, or if there is none.
    """
    if count is not None and not (isinstance(count, int) and count > 0):
        raise FieldError("count", count, "a whole number above 0, or None")
    for name, function in (("until", until), ("then", then)):
        if function is not None and not callable(function):
            raise FieldError(name, function, "callable with an answer, or None")
    if count is None and until is None and then is None and not has_end:
        raise FieldError("count", None, "given, or until or then: nothing else tells which answer is the last")
