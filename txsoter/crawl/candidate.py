"""``Candidate``: one address, everything known of it, and the judgement that follows."""

from __future__ import annotations

from txsoter.crawl.network_map import NodeKind
from txsoter.crawl.reliability import count_visit
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.service.book.places import Place

__all__ = ["Candidate"]


class Candidate:
    """An address that may be a node's. Times are seconds of the crawl's own time.

    :ivar sources: the networks of those who told of it, up to a limit.
    :ivar is_named: our own side named it; then it is not called fake, nor dropped.
    :ivar first_seen: when it was first heard of.
    :ivar last_seen: when somebody last told of it, or it answered.
    :ivar visits: number of visits that count.
    :ivar failures: of them, those in a row at the end that failed.
    :ivar last_attempt: when the last visit ended.
    :ivar first_success: when it first answered.
    :ivar last_success: when it last answered.
    :ivar up_since: when the first of the visits began to succeed that have all succeeded since.
    :ivar outcome: of the last visit.
    :ivar detail: of the last visit.
    :ivar reliability: see :mod:`txsoter.crawl.reliability`.
    :ivar alias_of: address of the node that this is another address of.
    :ivar is_ourselves: it is this process.
    :ivar debtor: the network of sources against whose quota it counts.
    """

    __slots__ = (
        "alias_of",
        "debtor",
        "detail",
        "failures",
        "first_seen",
        "first_success",
        "height",
        "is_named",
        "is_ourselves",
        "last_attempt",
        "last_seen",
        "last_success",
        "latency",
        "nonce",
        "outcome",
        "place",
        "protocol_version",
        "rank",
        "reliability",
        "services",
        "sources",
        "up_since",
        "user_agent",
        "visits",
    )

    def __init__(self, place: Place, now: float) -> None:
        self.place = place
        self.sources: tuple[bytes, ...] = ()
        self.debtor: bytes | None = None
        self.rank = 0
        self.is_named = self.is_ourselves = False
        self.first_seen = self.last_seen = now
        self.visits = self.failures = 0
        self.last_attempt: float | None = None
        self.first_success: float | None = None
        self.last_success: float | None = None
        self.up_since: float | None = None
        self.latency: float | None = None
        self.services = 0
        self.protocol_version: int | None = None
        self.user_agent = b""
        self.height: int | None = None
        self.nonce = 0
        self.outcome: Outcome | None = None
        self.detail = ""
        self.reliability: list[float] | None = None
        self.alias_of: Place | None = None

    def __repr__(self) -> str:
        return f"<{self.kind.value} {self.place}>"

    # -- a visit -------------------------------------------------------------------------------

    def visited(self, result: VisitResult, now: float) -> None:
        """Note the result of a visit."""
        if result.outcome is Outcome.NOT_COUNTED:
            if not self.visits:
                self.outcome, self.detail = result.outcome, result.detail
            return
        age = 0.0 if self.last_attempt is None else max(0.0, now - self.last_attempt)
        self.last_attempt = now
        self.outcome, self.detail = result.outcome, result.detail
        if result.outcome is Outcome.OURSELVES:
            self.is_ourselves = True
            return
        self.is_ourselves = False
        self.visits += 1
        self.reliability = count_visit(self.reliability, result.answered, age)
        if not result.answered:
            self.failures += 1
            self.up_since = None
            return
        self.failures = 0
        self.last_success = self.last_seen = now
        if self.first_success is None:
            self.first_success = now
        if self.up_since is None:
            self.up_since = now
        self.latency = result.latency
        self.services, self.protocol_version = result.services, result.protocol_version
        self.user_agent, self.height, self.nonce = result.user_agent, result.height, result.nonce

    # -- judgement -----------------------------------------------------------------------------

    @property
    def is_reachable(self) -> bool:
        """True when its last visit succeeded, alias or not."""
        return self.last_success is not None and self.failures == 0 and not self.is_ourselves

    @property
    def kind(self) -> NodeKind:
        """The judgement."""
        if self.is_ourselves:
            return NodeKind.OURSELVES
        if self.alias_of is not None:
            return NodeKind.ALIAS
        if self.last_success is not None:
            return NodeKind.DOWN if self.failures else NodeKind.REACHABLE
        if self.visits and len(self.sources) <= 1 and not self.is_named:
            return NodeKind.FAKE
        return NodeKind.SEEN

    def reason(self, now: float, note: str = "") -> str:
        """Return why it does not count as a node, in words; empty when it does.

        :param note: why it is not dialled, if that is so.
        """
        kind = self.kind
        if kind is NodeKind.REACHABLE:
            return ""
        if kind is NodeKind.OURSELVES:
            return Outcome.OURSELVES.value
        if kind is NodeKind.ALIAS:
            return f"it is another address of {self.alias_of}"
        if self.outcome is None:
            return f"it was never dialled{note and f': {note}'}"
        last = f"{self.outcome.value}{self.detail and f' ({self.detail})'}"
        if not self.visits:
            return f"it was not visited yet: {last}"
        if self.last_success is not None:
            return f"it has not answered for {_duration(now - self.last_success)}, {self.failures} times: {last}"
        told = "a single source told of it" if kind is NodeKind.FAKE else f"{len(self.sources)} sources told of it"
        if self.is_named:
            told = "it was named by this side"
        return f"it never answered, dialled {self.visits} times: {last}; {told}"

    def is_to_be_dropped(self, rules: CrawlRules, now: float) -> str:
        """Return why it is not worth dialling any more, in words; empty when it is."""
        if self.is_named or not self.failures:
            return ""
        if self.last_success is not None:
            if now - self.last_success < rules.forget_proven:
                return ""
            return f"dropped: it has not answered for {_duration(now - self.last_success)}"
        if self.failures < rules.forget_failing:
            return ""
        if self.kind is NodeKind.FAKE:
            return f"dropped: it never answered, dialled {self.visits} times, and a single source told of it"
        if now - self.first_seen < rules.forget_unproven:
            return ""
        return f"dropped: it never answered in {_duration(now - self.first_seen)}, dialled {self.visits} times"

    def wait(self, rules: CrawlRules) -> float:
        """Return the seconds until it is visited again, before jitter."""
        if not self.failures:
            return rules.revisit
        # a node that was up a moment ago may just be restarting
        doublings = self.failures - (2 if self.last_success is not None else 1)
        return min(rules.longest_wait, rules.revisit * 2.0 ** max(0, min(doublings, 30)))


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} seconds"
