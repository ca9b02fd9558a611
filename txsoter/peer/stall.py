"""Which answers the remote owes us, and until when.

Times are the remote's: seconds that leave out those in which our own handlers kept it waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from txsoter.wire import FilterClear, FilterLoad, GetBlocks, GetData, GetHeaders, InventoryType, Message

__all__ = ["HEADERS_FACTOR", "StallDetector"]

HEADERS_FACTOR = 3
"""How much longer than other answers ``headers`` may take."""

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
    :param expect_headers: whether ``getheaders`` must be answered.
    """

    __slots__ = ("_deadlines", "_expect_headers", "_filter_loaded", "_timeout")

    def __init__(self, timeout: float, expect_headers: bool = False) -> None:
        self._timeout = timeout
        self._expect_headers = expect_headers
        self._filter_loaded = False
        self._deadlines: dict[str, float] = {}

    def sent(self, message: Message, now: float) -> None:
        """A message has been sent: note the answer it asks for. A repeat keeps the earliest deadline."""
        observe = _OBSERVED.get(type(message))
        if observe is not None:
            seconds = observe(self, message)
            if seconds is not None:
                self._deadlines.setdefault(message.command, now + seconds)

    @staticmethod
    def observes(kind: type[Message]) -> bool:
        """Whether :meth:`sent` needs to be told of messages of that class."""
        return kind in _OBSERVED

    @staticmethod
    def answers(command: str) -> bool:
        """Whether :meth:`received` needs to be told of such a message."""
        return command in _ANSWERS

    def received(self, command: str) -> None:
        """A message has come: what it answers is no longer owed."""
        question = _ANSWERS.get(command)
        if question is not None:
            self._deadlines.pop(question, None)

    def expired(self, now: float) -> str | None:
        """The command whose answer is overdue, the earliest first; None when all is well."""
        if not self._deadlines:
            return None
        command = min(self._deadlines, key=self._deadlines.__getitem__)
        return command if self._deadlines[command] <= now else None

    @property
    def waiting(self) -> bool:
        """Whether any answer is owed."""
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


_OBSERVED: dict[type[Message], Callable[[StallDetector, Any], float | None]] = {
    GetBlocks: StallDetector._get_blocks,
    GetHeaders: StallDetector._get_headers,
    GetData: StallDetector._get_data,
    FilterLoad: StallDetector._filter_load,
    FilterClear: StallDetector._filter_clear,
}
