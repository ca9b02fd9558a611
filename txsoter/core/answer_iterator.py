"""An asynchronous iterator over the answers to a request, for Twisted and asyncio alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from txsoter.core.answers import Then
from txsoter.core.driver import Driver
from txsoter.core.requests import Request
from txsoter.wire import Encoding

__all__ = ["each_answer"]


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

    def forget() -> None:
        connection.forget(request)
        driver.run()

    try:
        question = request.question
        while True:
            connection.ask(request, question, encoding)
            driver.run()
            while True:
                token = new_token()
                connection.next_answer(request, token, now())
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
        call(forget)
