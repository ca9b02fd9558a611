"""The time that a remote is accountable for."""

from __future__ import annotations

__all__ = ["RemoteClock"]


class RemoteClock:
    """A clock that stands still while we keep the remote waiting. It may be stopped for several reasons at once.

    :ivar stood_still: seconds for which it has stood still, but for the time since it was stopped last.
    :ivar stopped_at: time at which it was stopped, or None while it runs.
    """

    __slots__ = ("_reasons", "stood_still", "stopped_at")

    def __init__(self) -> None:
        self.stood_still = 0.0
        self._reasons = 0
        self.stopped_at: float | None = None

    def seconds(self, now: float) -> float:
        """Return the remote's time."""
        return (now if self.stopped_at is None else self.stopped_at) - self.stood_still

    def due(self, when: float, now: float) -> float:
        """Return our time at which the remote's time is ``when``, if the clock goes on now.

        While it stands still that is at least a second away: it is to be asked again, but not all the time.
        """
        if self.stopped_at is None:
            return when + self.stood_still
        return max(when + self.stood_still + now - self.stopped_at, now + 1.0)

    def stop(self, now: float) -> None:
        """Add a reason to stand still."""
        self._reasons += 1
        if self.stopped_at is None:
            self.stopped_at = now

    def go_on(self, now: float) -> None:
        """Remove a reason."""
        self._reasons -= 1
        if not self._reasons and self.stopped_at is not None:
            self.stood_still += now - self.stopped_at
            self.stopped_at = None
