"""Limits of a DNS server, whose clients' addresses are easily forged: what each network, and all, may be sent."""

from __future__ import annotations

import enum
import ipaddress

from txsoter.core.rate_limit import RateLimit
from txsoter.ip import parse_ip

__all__ = ["MAX_SOURCES", "SOURCE_ANSWERS", "TOTAL_ANSWERS", "TOTAL_BYTES", "Limits", "Verdict"]

SOURCE_ANSWERS = 10.0
"""Answers a second to one network, 24 bits of IPv4 or 56 of IPv6, and at once after a second of rest."""

TOTAL_ANSWERS = 1000.0
"""Answers a second to all."""

TOTAL_BYTES = 256 * 1024.0
"""Bytes of answers a second to all."""

MAX_SOURCES = 4096
"""Networks that are remembered; those that have asked the longest ago are forgotten."""


class Verdict(enum.Enum):
    """The answer that a question may have."""

    ANSWER = "answer"
    """A whole one."""
    TRUNCATE = "truncate"
    """One that says "ask by TCP", and is no longer than the question: whoever has forged nothing still gets through."""
    DROP = "drop"
    """None."""


class Limits:
    """Rate limits of UDP clients.

    Past a network's limit every second question is answered with "ask by TCP", as response rate limiting of other
    servers does: the owner of an address in whose name others ask is not locked out.
    """

    def __init__(self) -> None:
        self._total = RateLimit(TOTAL_ANSWERS, TOTAL_BYTES, 0.0)
        self._sources: dict[str, RateLimit] = {}
        self._slips = False

    def __len__(self) -> int:
        return len(self._sources)

    def check(self, host: str, now: float) -> Verdict:
        """Return how a question may be answered.

        :param host: the IP address that it came from.
        :param now: seconds of a clock that is never set.
        """
        if self._total.due() > now:
            return Verdict.DROP
        network = _network(host)
        limit = self._sources.pop(network, None)
        if limit is None:
            limit = RateLimit(SOURCE_ANSWERS, None, now)
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
        # a dict keeps the order in which it was filled: the last one to ask is the last one now
        self._sources[network] = limit
        if limit.due() <= now:
            limit.spend(0, now)
            return Verdict.ANSWER
        self._slips = not self._slips
        return Verdict.TRUNCATE if self._slips else Verdict.DROP

    def sent(self, size: int, now: float) -> None:
        """Count an answer of ``size`` bytes."""
        self._total.spend(size, now)


def _network(host: str) -> str:
    ip = parse_ip(host)
    if ip is None:
        return host
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 56), strict=False))
