"""Who has misbehaved how much, and who may not come in for that."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import attrs

from txsoter.errors import CloseCause, FieldError
from txsoter.ip import address_group, parse_ip

__all__ = ["LOOPBACK", "THRESHOLD", "UNKNOWN_COMMAND_WEIGHT", "WEIGHTS", "Entry", "Scores"]

THRESHOLD = 100.0
"""The score from which on an address is refused. Weights are shares of it."""

WEIGHTS: dict[CloseCause, float] = {
    # our own doing
    CloseCause.DISCONNECT: 0,
    CloseCause.SELF_CONNECTION: 0,
    CloseCause.HANDLER_FAILED: 0,
    CloseCause.LOCAL_FAILURE: 0,
    # everybody's right, and what networks do; but who comes and goes seventy times a minute is a flood
    CloseCause.REMOTE_CLOSED: 1,
    CloseCause.CONNECTION_LOST: 1,
    CloseCause.REJECTED: 1,
    CloseCause.REFUSED_BY_LISTENER: 1,
    # a link that has died unnoticed
    CloseCause.IDLE: 1,
    # no attack but a waste: of another network, or too old; it comes again and again
    CloseCause.WRONG_GENESIS: 10,
    CloseCause.INCOMPATIBLE_AGENT: 10,
    CloseCause.OBSOLETE_VERSION: 10,
    # only when we are strict: it is newer than we are, more likely than an attack
    CloseCause.UNKNOWN_COMMAND: 10,
    # took a place for half a minute and got nowhere: a slow link does so once, an attacker in all that he may have
    CloseCause.NEGOTIATION_TIMEOUT: 15,
    # no peer does so, not even a broken one: somebody tries what happens
    CloseCause.VERSION_EXPECTED: 20,
    CloseCause.DUPLICATE_VERSION: 20,
    CloseCause.DUPLICATE_VERACK: 20,
    # did not answer, or did not take what it had asked for: a busy node may, once in a while
    CloseCause.STALLED: 25,
    CloseCause.WRITE_TIMEOUT: 25,
    # our version has said that we do not serve it; the reference bans for it at once
    CloseCause.BLOOM_DISABLED: 50,
    # one may be a broken line or another network's; the third within a minute is not by chance
    CloseCause.MALFORMED: 50,
    # of all that we hold for all together it held the most: a slow reader may, once
    CloseCause.OVER_BUDGET: 50,
}
"""What each end of a connection adds to the score of the remote's address."""

UNKNOWN_COMMAND_WEIGHT = 0.1
"""What each message with an unknown command adds: up to eleven a second are a newer version, more are a flood."""

LOOPBACK = ("127.0.0.0/8", "::1/128")
"""Networks that are whitelisted by default: behind them may be a Tor, with all its users, or a proxy."""

FORGOTTEN = 0.5
"""The score below which there is none."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class Entry:
    """An address that has misbehaved.

    :ivar address: an IPv4 address, or an IPv6 network of 64 bits.
    :ivar score: its score now.
    :ivar until: the time until which it is refused; None while it is not.
    :ivar reason: what it did last that counted.
    """

    address: str
    score: float
    until: float | None
    reason: str


@attrs.define
class _Score:
    """What an address has come to.

    :ivar points: the score at the time ``at``.
    """

    points: float
    at: float
    reason: str


class Scores:
    """Scores of addresses, which decay, and refusals of those who have reached the threshold.

    Pure: times are seconds, as arguments. As many addresses are remembered as ``max_entries`` says, the latest ones;
    an address is what :func:`~txsoter.peer.admission.address_group` makes of it.
    Pure: times are seconds of a clock that is never set, as arguments. As many addresses are remembered as
    ``max_entries`` says, the latest ones; an address is what :func:`~txsoter.ip.address_group` makes of it.

    :param threshold: the score from which on an address is refused.
    :param half_life: seconds in which a score falls to its half.
    :param refusal: seconds for which an address is refused.
    :param whitelist: networks that are neither scored nor refused.
    :param max_entries: how many scores, and how many refusals, are remembered.
    :raises txsoter.errors.FieldError: for values that cannot be.
    """

    def __init__(
        self,
        *,
        threshold: float = THRESHOLD,
        half_life: float = 60.0,
        refusal: float = 4 * 3600.0,
        whitelist: Iterable[str | Network] = LOOPBACK,
        max_entries: int = 10_000,
    ) -> None:
        for name, value in (("threshold", threshold), ("half_life", half_life), ("refusal", refusal)):
            if not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise FieldError(f"Scores.{name}", value, "a number above 0")
        if not isinstance(max_entries, int) or max_entries < 1:
            raise FieldError("Scores.max_entries", max_entries, "a whole number from 1")
        self.threshold = threshold
        self.half_life = half_life
        self.refusal = refusal
        self.max_entries = max_entries
        self.whitelist = tuple(_network(each) for each in whitelist)
        # each in the order of time: what was changed last is last
        self._scores: OrderedDict[str, _Score] = OrderedDict()
        self._refused: OrderedDict[str, _Score] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._scores) + len(self._refused)

    def is_whitelisted(self, host: str | None) -> bool:
        """Whether ``host`` is neither scored nor refused; so is what is no IP."""
        ip = parse_ip(host)
        return ip is None or any(ip in network for network in self.whitelist)

    def add(self, host: str | None, points: float, reason: str, now: float) -> bool:
        """``host`` has misbehaved.

        :param reason: for people.
        :return: whether it is refused from now on, and was not before.
        """
        group = None if points <= 0 or self.is_whitelisted(host) else address_group(host)
        if group is None or self._refused_until(group, now) is not None:
            return False
        before = self._scores.pop(group, None)
        score = _Score(points + (0.0 if before is None else self._points(before, now)), now, reason)
        if score.points < self.threshold:
            _remember(self._scores, group, score, self.max_entries)
            return False
        _remember(self._refused, group, score, self.max_entries)
        return True

    def score(self, host: str | None, now: float) -> float:
        """The score of ``host``."""
        group = address_group(host) or ""
        score = self._scores.get(group) or self._refused.get(group)
        return 0.0 if score is None else self._points(score, now)

    def refused_until(self, host: str | None, now: float) -> float | None:
        """Until when ``host`` is refused; None when it is not."""
        group = None if self.is_whitelisted(host) else address_group(host)
        return None if group is None else self._refused_until(group, now)

    def why_refused(self, host: str | None, now: float) -> str | None:
        """Why ``host`` may not come in, nor be dialled; None when it may."""
        until = self.refused_until(host, now)
        if until is None:
            return None
        reason = self._refused[address_group(host) or ""].reason
        return f"misbehaved, for another {_duration(until - now)}: {reason}"

    def forgive(self, host: str) -> None:
        """Forget what ``host`` did."""
        group = address_group(host) or ""
        self._scores.pop(group, None)
        self._refused.pop(group, None)

    def entries(self, now: float) -> list[Entry]:
        """Those that are refused, and those that have a score, the latest first."""
        self._forget(now)
        refused = [
            Entry(group, self._points(score, now), score.at + self.refusal, score.reason)
            for group, score in reversed(self._refused.items())
        ]
        scored = [
            Entry(group, self._points(score, now), None, score.reason)
            for group, score in reversed(self._scores.items())
        ]
        return [*refused, *scored]

    def refused(self, now: float) -> int:
        """How many addresses are refused."""
        self._forget(now)
        return len(self._refused)

    def _refused_until(self, group: str, now: float) -> float | None:
        refused = self._refused.get(group)
        if refused is None:
            return None
        until = refused.at + self.refusal
        if now < until:
            return until
        del self._refused[group]
        return None

    def _points(self, score: _Score, now: float) -> float:
        return float(score.points * 0.5 ** ((now - score.at) / self.half_life))

    def _forget(self, now: float) -> None:
        """Drop what is over."""
        for group in [group for group, score in self._refused.items() if now >= score.at + self.refusal]:
            del self._refused[group]
        for group in [group for group, score in self._scores.items() if self._points(score, now) < FORGOTTEN]:
            del self._scores[group]


def _remember(where: OrderedDict[str, _Score], group: str, score: _Score, most: int) -> None:
    where[group] = score
    if len(where) > most:
        where.popitem(last=False)


def _network(text: Any) -> Network:
    """A network, or the one of a single address."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except (ValueError, TypeError):
        limit = "an IP address or network, such as 192.0.2.7 or 2001:db8::/32"
        raise FieldError("Scores.whitelist", text, limit) from None


def _duration(seconds: float) -> str:
    """For people, in its largest unit."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
