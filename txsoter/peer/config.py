"""The settings of a peer: those of its connection, and the application's part."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from txsoter.core.config import ConnectionConfig, is_a, whole_or_none
from txsoter.core.field_docs import documented
from txsoter.core.listeners import Listeners
from txsoter.core.log_text import MessageLog

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

__all__ = ["PeerConfig", "shared"]

T = TypeVar("T")


@documented
@attrs.frozen(kw_only=True)
class PeerConfig(ConnectionConfig):
    """Settings of a peer. Durations are seconds; None switches one off. One config serves any number of peers.

    :raises txsoter.errors.FieldError: for values that cannot be, naming the field and what is allowed.
    """

    listeners: Listeners = attrs.field(factory=Listeners, validator=is_a(Listeners, "Listeners"))
    """The application's listeners."""

    max_connections: int | None = attrs.field(default=125, validator=whole_or_none(0))
    """The number of remotes that a :class:`~txsoter.SoterServerFactory` lets dial us at a time; None for any number."""

    max_connections_per_address: int | None = attrs.field(default=8, validator=whole_or_none(0))
    """The number of them from one IPv4 address or one IPv6 network of 64 bits; None for any number."""

    log_connections: bool = False
    """Log a line when a connection is ready, and when it ends without a fault. An end by a fault is always logged."""

    log_messages: MessageLog = attrs.field(default=MessageLog.OFF, validator=is_a(MessageLog, "a MessageLog"))
    """The amount of each message that goes into the log, at debug level."""

    clock: IReactorTime | None = None
    """The clock, for tests; by default the reactor of the connection's transport."""

    random: random.Random = attrs.field(factory=random.SystemRandom)
    """The source of nonces, jitter and picks."""

    # what all peers of this config share: dispatch tables, a ticker
    _shared: dict[Any, Any] = attrs.field(init=False, repr=False, eq=False, factory=dict)


def shared(config: PeerConfig, key: object, make: Callable[[], T]) -> T:
    """Return what all peers of a config share under ``key``; ``make`` makes it when it is first asked for."""
    found: T | None = config._shared.get(key)
    if found is None:
        found = config._shared[key] = make()
    return found
