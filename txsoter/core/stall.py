"""Answers that the remote owes us, and their deadlines.

Times are the remote's: seconds that leave out those in which our own handlers kept it waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from txsoter.core.beat import next_beat
from txsoter.wire import FilterClear, FilterLoad, GetBlocks, GetData, GetHeaders, InventoryType, Message

__all__ = ["HEADERS_FACTOR", "OBSERVED", "StallDetector"]

HEADERS_FACTOR = 3
"""The factor by which ``headers`` may take longer than other answers."""

_FILTERED = (InventoryType.FILTERED_BLOCK, InventoryType.WITNESS_FILTERED_BLOCK)

_ANSWERS = {
    "inv": "getblocks",
    "block": "getdata",
    "merkleblock": "getdata",
    "tx": "getdata",
    "notfound": "getdata",
    "headers": "getheaders",
}


class StallDetector:
    """Deadlines for answers, by the command that asks for them.

    A healthy soterd is silent on ``mempool`` when its pool is empty, on ``getdata`` of nothing or of
    filtered blocks without a filter, and on ``getheaders`` while it is not current: the first two start
    no deadline, the last only if ``expect_headers``.

    :param timeout: seconds for an answer.
    :param expect_headers: ``getheaders`` must be answered.
    :param interval: seconds between two checks; None to check never.
    :ivar due: our time of the next check, or None.
    """

    __slots__ = ("_deadlines", "_expect_headers", "_filter_loaded", "_interval", "_timeout", "due")

    def __init__(self, timeout: float, expect_headers: bool = False, interval: float | None = None) -> None:
        self._timeout = timeout
        self._expect_headers = expect_headers
        self._interval = interval
        self.due: float | None = None
        self._filter_loaded = False
        # made when needed
        self._deadlines: dict[str, float] | None = None

    def sent(self, message: Message, now: float) -> None:
        """Note the answer that a message asks for. A repeat keeps the earliest deadline."""
        observe = OBSERVED.get(type(message))
        if observe is not None:
            seconds = observe(self, message)
            if seconds is not None:
                if self._deadlines is None:
                    self._deadlines = {}
                self._deadlines.setdefault(message.command, now + seconds)

    def begin(self, now: float) -> bool:
        """Set the time of the first check, if an answer is owed and none is set; tell whether it was set."""
        if self.due is not None or self._interval is None or not self._deadlines:
            return False
        self.due = now + self._interval
        return True

    def check(self, now: float, remote_now: float) -> str | None:
        """Move on to the next check; return the command whose answer is overdue, or None."""
        assert self.due is not None and self._interval is not None
        command = self.expired(remote_now)
        # a late check is not made up for
        self.due = next_beat(self.due, self._interval, now) if self._deadlines else None
        return command

    @staticmethod
    def answers(command: str) -> bool:
        """Tell whether :meth:`received` needs messages of that command."""
        return command in _ANSWERS

    def received(self, command: str) -> None:
        """Note that a message came: its answer is no longer owed."""
        question = _ANSWERS.get(command)
        if question is not None and self._deadlines:
            self._deadlines.pop(question, None)

    def expired(self, now: float) -> str | None:
        """Return the command whose answer is overdue, the earliest first; None when there is none."""
        if not self._deadlines:
            return None
        command = min(self._deadlines, key=self._deadlines.__getitem__)
        return command if self._deadlines[command] <= now else None

    @property
    def waiting(self) -> bool:
        """An answer is owed."""
        return bool(self._deadlines)

    def _get_blocks(self, message: GetBlocks) -> float | None:
        return self._timeout

    def _get_headers(self, message: GetHeaders) -> float | None:
        return self._timeout * HEADERS_FACTOR if self._expect_headers else None

    def _get_data(self, message: GetData) -> float | None:
        answered = any(self._filter_loaded or vector[0] not in _FILTERED for vector in message.vectors)
        return self._timeout if answered else None

    def _filter_load(self, message: FilterLoad) -> None:
        self._filter_loaded = True

    def _filter_clear(self, message: FilterClear) -> None:
        self._filter_loaded = False


OBSERVED: dict[type[Message], Callable[[StallDetector, Any], float | None]] = {
    GetBlocks: StallDetector._get_blocks,
    GetHeaders: StallDetector._get_headers,
    GetData: StallDetector._get_data,
    FilterLoad: StallDetector._filter_load,
    FilterClear: StallDetector._filter_clear,
}
"""Messages that :meth:`StallDetector.sent` needs."""
