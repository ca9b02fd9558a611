"""Results of visits, as the rules get them, and an atlas with a clock of its own."""

from __future__ import annotations

from random import Random
from typing import Any

from txsoter.crawl.atlas import Atlas
from txsoter.crawl.map_of import explain, make_map
from txsoter.crawl.network_map import NetworkMap
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.service.book.places import Place
from txsoter.test.service.book.support import NOW, at

__all__ = ["World", "answered", "failed", "internet"]


def internet(number: int, port: int = 5070) -> Place:
    """An address of the internet, each in a network of its own."""
    return at(f"{11 + number // 250}.{number % 250}.1.1", port)


def answered(place: Place, **fields: Any) -> VisitResult:
    """A visit that succeeded; its lists may be any iterables."""
    given: dict[str, Any] = {
        "latency": 0.05,
        "services": 9,
        "protocol_version": 70013,
        "user_agent": b"/soterwire:0.6.0/soterd:4.2.0/",
        "height": 100,
        "nonce": hash(place) & 0xFFFFFFFF,
        "outbound": (),
        "inbound": (),
        **fields,
    }
    for name in ("told", "outbound", "inbound"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    return VisitResult(place=place, outcome=Outcome.ANSWERED, **given)


def failed(place: Place, outcome: Outcome = Outcome.REFUSED, detail: str = "") -> VisitResult:
    """A visit that did not."""
    return VisitResult(place=place, outcome=outcome, detail=detail)


class World:
    """An atlas, and nodes that answer as ``answers`` says; the others refuse the connection.

    :ivar answers: results by address; a function of none is called for each visit.
    :ivar visited: the addresses in the order of their visits.
    """

    def __init__(self, **rules: Any) -> None:
        self.now = float(NOW)
        self.atlas = Atlas(CrawlRules(**rules), Random(1))
        self.answers: dict[Place, Any] = {}
        self.visited: list[Place] = []

    def says(self, place: Place, **fields: Any) -> None:
        """Let a node answer so from now on."""
        self.answers[place] = answered(place, **fields)

    def name(self, *places: Place) -> None:
        """Name addresses to begin with."""
        for place in places:
            self.atlas.name(place, self.now)

    def visit(self, place: Place) -> VisitResult:
        """The result of a visit now."""
        self.visited.append(place)
        answer = self.answers.get(place)
        if answer is None:
            return failed(place)
        result: VisitResult = answer() if callable(answer) else answer
        return result

    def run(self, seconds: float = 0.0, step: float = 1.0) -> None:
        """Make all visits that are due until then; each takes no time."""
        until = self.now + seconds
        while True:
            while places := self.atlas.next_visit(self.now):
                self.atlas.visited(tuple(map(self.visit, places)), self.now)
            if self.now >= until:
                return
            due = self.atlas.next_time(self.now)
            self.now = min(until, max(self.now + step, self.now if due is None else due))

    def finish(self, most: float = 600.0) -> None:
        """Make all visits of a single crawl."""
        until = self.now + most
        while not self.atlas.is_finished:
            assert self.now < until, "it does not come to an end"
            self.run(0.1, 0.1)

    def map(self) -> NetworkMap:
        """The map as of now."""
        return make_map(self.atlas, "testnet1", self.now, lambda time: time)

    def why(self, place: Place) -> str:
        """Why an address is listed or not."""
        return explain(self.atlas, place, self.now)

    def kinds(self) -> dict[str, str]:
        """The judgement of each address."""
        return {node.name: node.kind.value for node in self.map().nodes}

    def edges(self) -> dict[tuple[str, str], str]:
        """Who claims each edge: "from", "to", or both; with a star when it is unmatched."""
        return {
            (edge.source, edge.target): "+".join(sorted(edge.claimed_by)) + "*" * edge.unmatched
            for edge in self.map().edges
        }
