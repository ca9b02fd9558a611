"""The settings of a connection: limits, times, and who we are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from typing_extensions import Self

from txsoter.core.agents import SemanticVersion, parse_version, user_agent
from txsoter.core.field_docs import documented
from txsoter.core.memory_budget import MemoryBudget
from txsoter.errors import FieldError
from txsoter.ip import parse_ip
from txsoter.networks import MAINNET, Network
from txsoter.wire import PROTOCOL_VERSION, Encoding, Version

__all__ = [
    "ConnectionConfig",
    "agent_version",
    "hides",
    "is_a",
    "proxy_host",
    "tick_for",
    "tick_of",
    "whole_or_none",
]


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise FieldError(
            f"{type(instance).__name__}.{attribute.name}",
            value,
            "a number of seconds above 0, or None to switch it off",
        )


def _rate(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise FieldError(f"{type(instance).__name__}.{attribute.name}", value, "a number above 0, or None for no limit")


def _whole(least: int, most: int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or not least <= value <= most:
            raise FieldError(
                f"{type(instance).__name__}.{attribute.name}", value, f"a whole number from {least} to {most}"
            )

    return check


def whole_or_none(least: int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Return a validator of whole numbers from ``least``, or None."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not (isinstance(value, int) and least <= value):
            limit = f"a whole number from {least}, or None for any number"
            raise FieldError(f"{type(instance).__name__}.{attribute.name}", value, limit)

    return check


def is_a(kind: type | tuple[type, ...], words: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Return a validator of instances of ``kind``, which ``words`` describe."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind):
            raise FieldError(f"{type(instance).__name__}.{attribute.name}", value, words)

    return check


def _callable_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise FieldError(f"{type(instance).__name__}.{attribute.name}", value, "callable, or None")


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise FieldError("PeerConfig.user_agent_comments", value, "a sequence of strings")
    strings = tuple(value)
    if not all(isinstance(each, str) for each in strings):
        raise FieldError("PeerConfig.user_agent_comments", value, "a sequence of strings")
    return strings


_HOST_AND_PORT = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", re.ASCII)


def _host_of_proxy(proxy: str) -> str:
    found = _HOST_AND_PORT.fullmatch(proxy)
    if found is not None and 0 < int(found[3]) < 1 << 16:
        return found[1] or found[2]
    ip = parse_ip(proxy)
    if ip is None:
        raise FieldError("PeerConfig.proxy", proxy, "HOST:PORT, such as 127.0.0.1:9050")
    return str(ip)


_HUGE = 1 << 62


def tick_for(*intervals: float) -> float:
    """Return the seconds between two looks at such intervals: one, or less where a thirtieth of the shortest is."""
    shortest = min(intervals, default=30.0)
    return 1.0 if shortest >= 30 else float(2.0 ** math.floor(math.log2(shortest / 30)))


@documented
@attrs.frozen(kw_only=True)
class ConnectionConfig:
    """Settings of a connection. Durations are seconds; None switches one off. One config serves any number of them.

    :raises txsoter.errors.FieldError: for values that cannot be, naming the field and what is allowed.
    """

    network: Network = attrs.field(default=MAINNET, validator=is_a(Network, "a Network"))
    """The network: its magic is in every message, and the remote must name its genesis block."""

    user_agent_name: str = attrs.field(default="txsoter", validator=is_a(str, "a string"))
    """The program's name. Never ``soterd``: its nodes refuse other major versions under that name."""

    user_agent_version: str = "0.1.0"
    """The program's version, strict semver. A remote of the same name and another major is refused."""

    user_agent_comments: Sequence[str] = attrs.field(default=(), converter=_strings)
    """Comments of the user agent, which soterd takes up to 240 bytes long in all."""

    services: int = attrs.field(default=0, validator=_whole(0, (1 << 64) - 1))
    """The :class:`~txsoter.wire.Services` that we advertise."""

    protocol_version: int = attrs.field(default=PROTOCOL_VERSION, validator=_whole(209, PROTOCOL_VERSION))
    """The highest protocol version that we speak."""

    disable_relay_tx: bool = False
    """Ask the remote not to announce transactions."""

    newest_block: Callable[[], int] | None = attrs.field(default=None, validator=_callable_or_none)
    """Function that returns our height for the ``version`` message; 0 without. The connection ends if it raises."""

    proxy: str | None = attrs.field(default=None, validator=is_a((str, type(None)), "host:port, or None"))
    """``host:port`` of the proxy that our endpoints dial through, so that its address is never sent to a remote."""

    trickle_interval: float | None = attrs.field(default=10.0, validator=_seconds)
    """Seconds for which inventory is collected; None announces each vector at once."""

    ping_interval: float | None = attrs.field(default=120.0, validator=_seconds)
    """Seconds between our pings; each connection takes up to 10 % less, so that thousands do not ping together."""

    answer_pings: bool = True
    """Answer pings by pongs. A test rig may want silence; a soterd closes after five minutes of it."""

    idle_timeout: float | None = attrs.field(default=300.0, validator=_seconds)
    """Seconds without a whole message until the remote is closed."""

    negotiate_timeout: float | None = attrs.field(default=30.0, validator=_seconds)
    """Seconds for the handshake, the remote's ``verack`` included."""

    stall_interval: float | None = attrs.field(default=15.0, validator=_seconds)
    """Seconds between checks for answers that the remote owes us."""

    stall_timeout: float | None = attrs.field(default=30.0, validator=_seconds)
    """Seconds for the answer to ``getblocks`` and ``getdata``; three times as long for ``getheaders``."""

    stall_headers: bool = False
    """Close if ``getheaders`` is not answered; a soterd that is not current never does."""

    request_timeout: float | None = attrs.field(default=30.0, validator=_seconds)
    """Seconds for the answer to a ``request()`` that names no other time."""

    write_timeout: float | None = attrs.field(default=60.0, validator=_seconds)
    """Seconds without progress in sending until we close, plus one for each 256 KiB in the send queue."""

    close_timeout: float | None = attrs.field(default=10.0, validator=_seconds)
    """Seconds for the last bytes to be taken when we close; then the connection is aborted."""

    read_on_after: float | None = attrs.field(default=5.0, validator=_seconds)
    """Seconds without progress in sending after which we read on although the send queue is full: the remote may wait,
    too."""

    soft_queue_limit: int = attrs.field(default=1024 * 1024, validator=_whole(1, _HUGE))
    """Bytes in the send queue past which we stop reading."""

    hard_queue_limit: int = attrs.field(default=32 * 1024 * 1024, validator=_whole(1, _HUGE))
    """Bytes in the send queue past which ``send`` fails."""

    lookahead_limit: int = attrs.field(default=8 * 1024 * 1024, validator=_whole(0, _HUGE))
    """Bytes of messages read ahead of a handler that waits for a request's answer, or that ``request_all()`` keeps."""

    max_known_inventory: int = attrs.field(default=50_000, validator=_whole(0, _HUGE))
    """The number of vectors that we remember the remote to have."""

    max_trickle_queue: int = attrs.field(default=50_000, validator=_whole(1, _HUGE))
    """The number of vectors that may wait to be announced; the oldest go first."""

    max_messages_per_second: float | None = attrs.field(default=None, validator=_rate)
    """Messages a second past which we read a remote no faster; None for any number."""

    max_bytes_per_second: float | None = attrs.field(default=None, validator=_rate)
    """Bytes a second past which we read a remote no faster; None for any number."""

    memory_budget: int | None = attrs.field(default=512 * 1024 * 1024, validator=whole_or_none(1))
    """Bytes that all connections of this config may hold together, read but not handled or not sent yet; the one that
    holds the most is closed past it. None for any number."""

    allow_self_connections: bool = False
    """Let a process talk to itself: for tests and demos."""

    strict: bool = False
    """Reject unknown commands and close, as soterd does. It splits a network at every upgrade."""

    close_on_handler_error: bool = False
    """Close the connection when a listener fails, instead of only logging it."""

    user_agent: bytes = attrs.field(init=False, repr=False)
    """The user agent as it is sent. Not an argument: it follows from name, version and comments."""

    memory: MemoryBudget = attrs.field(init=False, repr=False, eq=False)
    """The memory that all connections of this config hold now. Not an argument: it follows from ``memory_budget``."""

    _semantic_version: SemanticVersion = attrs.field(init=False, repr=False, eq=False)
    _proxy_host: str | None = attrs.field(init=False, repr=False, default=None)
    _tick: float = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            agent = user_agent(self.user_agent_name, self.user_agent_version, tuple(self.user_agent_comments))
        except FieldError as error:
            raise error.within("PeerConfig") from None
        pver = self.protocol_version
        most = Version.max_send(pver) - len(Version().write_payload(pver, Encoding.BASE))
        excess = len(agent) - most
        if excess > 0:
            limit = f"{excess} bytes shorter together with name and version: soterd takes {most} in all"
            raise FieldError("PeerConfig.user_agent_comments", self.user_agent_comments, limit)
        object.__setattr__(self, "user_agent", agent)
        object.__setattr__(self, "_semantic_version", parse_version(self.user_agent_version))
        # a ping may take a tenth less than its interval
        ping_interval = None if self.ping_interval is None else 0.9 * self.ping_interval
        deadlines = [each for each in (ping_interval, self.idle_timeout, self.negotiate_timeout) if each is not None]
        object.__setattr__(self, "_tick", tick_for(*deadlines))
        object.__setattr__(self, "memory", MemoryBudget(self.memory_budget))
        if self.hard_queue_limit < self.soft_queue_limit:
            limit = f"no less than soft_queue_limit, {self.soft_queue_limit}"
            raise FieldError("PeerConfig.hard_queue_limit", self.hard_queue_limit, limit)
        if self.proxy is not None:
            object.__setattr__(self, "_proxy_host", _host_of_proxy(self.proxy))

    def replace(self, **changes: Any) -> Self:
        """Return the same config with other values for some fields."""
        return attrs.evolve(self, **changes)


def hides(config: ConnectionConfig, host: str | None) -> bool:
    """Tell whether ``host``, where a connection goes, must not be named to the remote.

    That is the proxy's address, compared by IP. When the proxy is given by a name nothing can be
    compared, so nothing is named.
    """
    if config._proxy_host is None:
        return False
    proxy = parse_ip(config._proxy_host)
    return proxy is None or parse_ip(host) == proxy


def proxy_host(config: ConnectionConfig) -> str | None:
    """Return the host of the proxy that we dial through, or None."""
    return config._proxy_host


def agent_version(config: ConnectionConfig) -> SemanticVersion:
    """Return our version."""
    return config._semantic_version


def tick_of(config: ConnectionConfig) -> float:
    """Return the seconds that a coarse deadline may be late."""
    return config._tick
