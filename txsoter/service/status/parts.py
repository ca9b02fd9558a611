"""Optional panels of the status page: address book, bans, ports, who is dialled, the capture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.capture import CaptureState
from txsoter.service.status.ages import PageClock
from txsoter.service.status.text import shown

__all__ = ["MAX_ROWS", "Ban", "Dialled", "Parts", "StatusParts"]

MAX_ROWS = 100
"""How many rows of a part are shown."""


@attrs.frozen
class Ban:
    """One who may not come in.

    :ivar address: or network.
    :ivar until: in seconds of ``txsoter.clock.monotonic(clock)``, the service's; None for good.
    :ivar reason: for people.
    """

    address: str
    until: float | None = None
    reason: str = ""


@attrs.frozen
class Dialled:
    """One who is kept connected.

    :ivar name: of the endpoint.
    :ivar state: in a word, such as connected, connecting, waiting, given up.
    :ivar retry_at: when it is dialled again, in seconds as a :class:`Ban`'s; None where that is not known.
    :ivar detail: more about it, for people.
    """

    name: str
    state: str
    retry_at: float | None = None
    detail: str = ""


@attrs.frozen(kw_only=True)
class StatusParts:
    """Where a status page asks. Each may be left out; each may return a Deferred, and must not block.

    They are asked at most once a second, and only while somebody looks.

    :ivar book: counts by name, such as ``{"tried": 12, "new": 340}``.
    :ivar bans: see :class:`Ban`; the first hundred are shown, as of the other two.
    :ivar listening: the addresses of our ports, for people.
    :ivar dialled: see :class:`Dialled`.
    :ivar capture: how recording goes.
    """

    book: Callable[[], Mapping[str, float] | Deferred[Mapping[str, float]]] | None = None
    bans: Callable[[], Iterable[Ban] | Deferred[Iterable[Ban]]] | None = None
    listening: Callable[[], Iterable[str] | Deferred[Iterable[str]]] | None = None
    dialled: Callable[[], Iterable[Dialled] | Deferred[Iterable[Dialled]]] | None = None
    capture: Callable[[], CaptureState | Deferred[CaptureState]] | None = None


class Parts:
    """Asks the parts, and remembers what they answered last.

    :param clock: for their times.
    """

    log = Logger()

    def __init__(self, parts: StatusParts, clock: PageClock) -> None:
        self._clock = clock
        self._asked: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {}
        for name, rows in (
            ("book", _book),
            ("bans", self._bans),
            ("listening", _listening),
            ("dialled", self._dialled),
            ("capture", _capture),
        ):
            ask = getattr(parts, name)
            if ask is not None:
                self._asked[name] = ask, rows
        self._answers: dict[str, Any] = dict.fromkeys(attrs.fields_dict(StatusParts))
        self._waiting: set[str] = set()
        self._failed: set[str] = set()

    def rows(self) -> dict[str, Any]:
        """What there is, by part, ready for JSON; None for a part that is left out, failed, or has not answered yet."""
        for name, (ask, rows) in self._asked.items():
            if name not in self._waiting:
                self._ask(name, ask, rows)
        return dict(self._answers)

    def _ask(self, name: str, ask: Callable[[], Any], rows: Callable[[Any], Any]) -> None:
        def answered(answer: Any) -> None:
            self._waiting.discard(name)
            self._answers[name] = rows(answer)
            self._failed.discard(name)

        def failed(failure: Failure) -> None:
            self._waiting.discard(name)
            self._answers[name] = None
            # told once, not once a second
            if name not in self._failed:
                self._failed.add(name)
                self.log.failure("the status page cannot show its part {name}", failure, name=name)

        self._waiting.add(name)
        try:
            answer = ask()
        except Exception:
            failed(Failure())
            return
        asked = answer if isinstance(answer, Deferred) else _fired(answer)
        asked.addCallback(answered).addErrback(failed)

    def _bans(self, bans: Iterable[Ban]) -> list[dict[str, Any]]:
        return [
            {"address": shown(each.address), "until": self._clock.stamp(each.until), "reason": shown(each.reason)}
            for each in _first(bans)
        ]

    def _dialled(self, dialled: Iterable[Dialled]) -> list[dict[str, Any]]:
        return [
            {
                "name": shown(each.name),
                "state": shown(each.state, 40),
                "retry_at": self._clock.stamp(each.retry_at),
                "detail": shown(each.detail),
            }
            for each in _first(dialled)
        ]


def _fired(answer: Any) -> Deferred[Any]:
    fired: Deferred[Any] = Deferred()
    fired.callback(answer)
    return fired


def _first(rows: Iterable[Any]) -> Iterator[Any]:
    return islice(rows, MAX_ROWS)


def _book(book: Mapping[str, float]) -> dict[str, float]:
    counts = ((shown(name, 40), count) for name, count in _first(book.items()))
    return {name: count for name, count in counts if math.isfinite(count)}


def _listening(addresses: Iterable[str]) -> list[str]:
    return [shown(each) for each in _first(addresses)]


def _capture(state: CaptureState) -> dict[str, Any]:
    return {**attrs.asdict(state), "reason": None if state.reason is None else shown(state.reason)}
