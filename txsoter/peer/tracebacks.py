"""Failures that are kept in logs, without the objects that their tracebacks refer to."""

from __future__ import annotations

from twisted.python.failure import Failure

__all__ = ["drop_tracebacks"]


def drop_tracebacks(failure: Failure) -> None:
    """Remove the frames from a failure that has been logged.

    They hold the peer and the message, and events are kept: by Twisted itself the last 65,536 until logging begins.
    """
    # from these it is printed, whenever that may be
    _ = failure.frames
    failure.tb = None
    errors: list[BaseException | None] = [failure.value]
    seen: set[int] = set()
    while errors:
        error = errors.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            errors += (error.__cause__, error.__context__)
