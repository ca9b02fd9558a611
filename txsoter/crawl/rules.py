"""The settings of a crawl: how often, how many at a time, and how much is believed of whom."""

from __future__ import annotations

import attrs

__all__ = ["CrawlRules"]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@attrs.frozen(kw_only=True)
class CrawlRules:
    """Settings of a crawl. Times are seconds.

    :ivar once: visit every address once, with a few retries, instead of again and again.
    :ivar revisit: time between two visits to a node that answers.
    :ivar longest_wait: the longest time between two visits to one that does not.
    :ivar retry_wait: time until a visit is repeated that failed in a way which may be chance, in a single crawl.
    :ivar retries: number of such repetitions.
    :ivar max_dials: visits at a time.
    :ivar dials_per_second: visits begun in a second.
    :ivar dials_per_network: visits at a time in one network of addresses of the internet: a /24 of IPv4, a /48 of IPv6.
    :ivar stay: shortest time that a visit lasts once the handshake is complete.
    :ivar answer_timeout: longest time that it lasts from then on.
    :ivar visit_timeout: longest time for everything, dialling included.
    :ivar handshake_timeout: longest time for the handshake.
    :ivar max_visit_bytes: bytes that a node may send in one visit.
    :ivar max_told: addresses that are taken from one visit.
    :ivar max_claims: connections in each direction that are taken from one visit.
    :ivar max_nodes: addresses that are known at a time.
    :ivar max_unproven: addresses that have not answered which one network of sources may have introduced.
    :ivar max_at_host: of them, those at one IP address of the internet.
    :ivar max_sources: sources of one address that are counted.
    :ivar forget_failing: number of failures after which an address that has never answered, and is older than
        ``forget_unproven``, is dropped. One that a single source told of is dropped without that wait.
    :ivar forget_unproven: age at which such an address may be dropped.
    :ivar forget_proven: time after its last success after which a node is dropped.
    :ivar quarantine: time for which a dropped address is not taken again.
    :ivar max_dropped: dropped addresses that are remembered.
    :ivar compare_again: time after which two addresses are compared again.
    :ivar allow_unroutable: take loopback and private addresses, too.
    :ivar dial_ipv6: dial IPv6 addresses, too. A soterd that has an IPv6 peer dies when it is asked for its addrcache.
    """

    once: bool = False
    revisit: float = 10 * MINUTE
    longest_wait: float = 12 * HOUR
    retry_wait: float = 3.0
    retries: int = 1
    max_dials: int = 500
    dials_per_second: float = 500.0
    dials_per_network: int = 8
    stay: float = 0.5
    answer_timeout: float = 10.0
    visit_timeout: float = 30.0
    handshake_timeout: float = 10.0
    max_visit_bytes: int = 4 << 20
    max_told: int = 2500
    max_claims: int = 1000
    max_nodes: int = 50_000
    max_unproven: int = 5000
    max_at_host: int = 8
    max_sources: int = 4
    forget_failing: int = 3
    forget_unproven: float = 7 * DAY
    forget_proven: float = 30 * DAY
    quarantine: float = DAY
    max_dropped: int = 50_000
    compare_again: float = DAY
    allow_unroutable: bool = False
    dial_ipv6: bool = False
