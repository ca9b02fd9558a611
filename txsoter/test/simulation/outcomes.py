"""Results that are there later, for peers that are cores: as much of a Deferred as a simulation needs, and no more."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from twisted.internet.defer import CancelledError

__all__ = ["Failed", "Outcome", "drive"]


class Failed:
    """An error as a result, with the face of a Failure."""

    __slots__ = ("value",)

    def __init__(self, value: BaseException) -> None:
        self.value = value

    def check(self, *kinds: type[BaseException]) -> type[BaseException] | None:
        """The error's class, if it is one of these."""
        return type(self.value) if isinstance(self.value, kinds) else None


class Outcome:
    """A result that is there later.

    :param give_up: called when somebody does not want it any more.
    :ivar called: it is there.
    """

    __slots__ = ("_callbacks", "_give_up", "called", "result")

    def __init__(self, give_up: Callable[[Any], object] | None = None) -> None:
        self._give_up = give_up
        self._callbacks: list[Callable[[Any], Any]] = []
        self.called = False
        self.result: Any = None

    def callback(self, result: Any) -> None:
        """It is there."""
        assert not self.called, "an outcome came twice"
        self.called = True
        self.result = result
        while self._callbacks:
            self.result = self._callbacks.pop(0)(self.result)

    def errback(self, error: BaseException) -> None:
        """It is an error."""
        self.callback(Failed(error))

    def addBoth(self, callback: Callable[[Any], Any]) -> Outcome:
        """Call ``callback`` with the result, whose own is the result from then on."""
        if self.called and not self._callbacks:
            self.result = callback(self.result)
        else:
            self._callbacks.append(callback)
        return self

    def addErrback(self, callback: Callable[[Any], Any]) -> Outcome:
        """The same, for errors alone."""
        return self.addBoth(lambda result: callback(result) if isinstance(result, Failed) else result)

    def addCallback(self, callback: Callable[[Any], Any]) -> Outcome:
        """The same, for what is no error."""
        return self.addBoth(lambda result: result if isinstance(result, Failed) else callback(result))

    def cancel(self) -> None:
        """Give up."""
        if not self.called:
            if self._give_up is not None:
                self._give_up(self)
            if not self.called:
                self.errback(CancelledError())

    def __await__(self) -> Generator[Outcome, None, Any]:
        if not self.called:
            yield self
        result, self.result = self.result, None
        if isinstance(result, Failed):
            raise result.value
        return result


def drive(coroutine: Coroutine[Outcome, None, Any], done: Callable[[Any, BaseException | None], object]) -> None:
    """Run a coroutine that awaits outcomes; call ``done`` with its result or its error."""

    def step() -> None:
        try:
            awaited = coroutine.send(None)
        except StopIteration as stop:
            done(stop.value, None)
        except Exception as error:
            done(None, error)
        else:
            awaited.addBoth(resume)

    def resume(_: Any) -> None:
        # the coroutine takes the result from the outcome itself
        step()

    step()
