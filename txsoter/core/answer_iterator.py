"""Requests with many answers: an asynchronous iterator over these, for Twisted and asyncio alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from txsoter.core.answers import AnswerQueue, Then, Until
from txsoter.core.connection import Connection
from txsoter.core.driver import Driver
from txsoter.core.requests import Matching, Request, check_request_all
from txsoter.errors import RequestClosed
from txsoter.wire import Encoding, Message

__all__ = ["ask", "each_answer", "forget", "make_request_all", "next_answer"]


def make_request_all(
    connection: Connection,
    message: Message,
    expected: type[Message] | tuple[type[Message], ...],
    timeout: float | None,
    matching: Matching | None,
    count: int | None,
    until: Until | None,
    then: Then | None,
    encoding: Encoding = Encoding.BASE,
) -> Request:
    """Return a request with many answers.

    :param timeout: seconds for each answer, from when it is waited for.
    :param count: answers after which it is over.
    :param until: tells of an answer whether it is the last.
    :raises LocalError: if the message cannot be encoded, or another argument cannot be.
    """
    classes = check_request_all(message, expected, timeout, matching, count, until, then)
    connection.encode(message, encoding)
    return Request(message, classes, timeout, matching, None, 0.0, AnswerQueue(count, until))


def ask(connection: Connection, request: Request, message: Message, encoding: Encoding = Encoding.BASE) -> None:
    """Send the first question of a request with many answers, or one that follows it.

    :raises LocalError: if the message cannot be encoded, or there is no connection yet.
    """
    channel = connection.channel
    connection.check_askable()
    assert request.queue is not None
    if request.queue.is_over:
        return
    if channel.state.is_closing:
        assert channel.reason is not None
        request.queue.finish(RequestClosed(message.command, channel.reason))
        return
    request.ask(message)
    channel.requests.add(request)
    connection.send(message, encoding, request)


def next_answer(connection: Connection, request: Request, token: Any, now: float) -> None:
    """Ask for the next of many answers: a :class:`~txsoter.core.events.RequestEnded` event has it.

    It has neither an answer nor an error behind the last one.
    """
    channel = connection.channel
    told = channel.requests.take(request, token, now)
    channel.rearm = True
    if told is not None:
        channel.end_requests((told,))


def forget(connection: Connection, request: Request) -> None:
    """Want no further answer of a request with many."""
    connection.channel.requests.forget(request)


async def each_answer(
    driver: Driver,
    request: Request,
    then: Then | None,
    encoding: Encoding,
    now: Callable[[], float],
    new_token: Callable[[], Awaitable[Any]],
    call: Callable[[Callable[[], None]], object],
) -> AsyncGenerator[Any, None]:
    """Yield the answers to a request, which is sent when the first one is asked for.

    :param now: gives the time of the connection's clock.
    :param new_token: makes a Deferred or a future.
    :param call: calls a function in the connection's thread: the garbage collector may end this in any.
    """
    connection = driver.connection

    def leave() -> None:
        forget(connection, request)
        driver.run()

    try:
        question = request.question
        while True:
            ask(connection, request, question, encoding)
            driver.run()
            while True:
                token = new_token()
                next_answer(connection, request, token, now())
                driver.run()
                answer = await token
                if answer is None:
                    return
                yield answer
                if then is not None:
                    break
            following = then(answer)
            if following is None:
                return
            question = following
    finally:
        call(leave)
