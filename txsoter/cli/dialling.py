"""Connections of the subcommands that dial a node: their arguments, the endpoint, the reactor."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import react

from txsoter.command_line import (
    INTERRUPTED,
    NETWORKS,
    CommandError,
    Parser,
    UsageError,
    network,
    seconds,
    size,
    split_host_port,
)
from txsoter.core.listeners import Listeners
from txsoter.ip import parse_ip
from txsoter.networks import MAINNET, Network
from txsoter.peer.config import PeerConfig
from txsoter.peer.factory import connect
from txsoter.peer.protocol import SoterPeerProtocol

__all__ = [
    "add_dial_arguments",
    "connected",
    "dial_config",
    "dialled",
    "endpoint_at",
    "in_reactor",
    "reached_by_ipv6",
]

ENDPOINT = "HOST, HOST:PORT, or a Twisted endpoint string such as tcp:127.0.0.1:18555"


def add_dial_arguments(parser: Parser) -> None:
    """Add what every subcommand that dials takes."""
    parser.add_argument("endpoint", metavar="ENDPOINT", help=f"{ENDPOINT}; the default port is that of --network")
    parser.add_argument(
        "--network", type=network, default=MAINNET, metavar="NAME", help=f"one of {NETWORKS} (default: mainnet)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds to connect, the handshake included, and seconds for each answer (default: 30)",
    )
    parser.add_argument(
        "--memory",
        type=size,
        default=512 << 20,
        metavar="SIZE",
        help="close the connection when it takes more bytes of memory (default: 512M)",
    )


def endpoint_at(reactor: Any, text: str, network: Network, timeout: float) -> IStreamClientEndpoint:
    """Return the endpoint that ``text`` means.

    :param timeout: seconds to connect, if it is no Twisted endpoint string, which has its own.
    :raises UsageError: if it means none.
    """
    # an IPv6 address without brackets has colons, too
    is_ip = parse_ip(text) is not None
    place = (text, network.default_port) if is_ip else split_host_port(text, network.default_port)
    if place is not None:
        return HostnameEndpoint(reactor, *place, timeout=timeout)
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, text)
    except Exception as error:
        # a TypeError or an IndexError is of Twisted's inner life
        why = f": {error}" if isinstance(error, ValueError) else ""
        raise UsageError(f"{text}: must be {ENDPOINT}{why}") from None
    return endpoint


def dial_config(options: argparse.Namespace, relay: bool = False, **listeners: Any) -> PeerConfig:
    """Return the config of a connection that the arguments ask for.

    :param relay: have transactions announced.
    :param listeners: as for :class:`txsoter.Listeners`.
    """
    return PeerConfig(
        network=options.network,
        negotiate_timeout=options.timeout,
        request_timeout=options.timeout,
        stall_timeout=options.timeout,
        close_timeout=2.0,
        memory_budget=options.memory,
        disable_relay_tx=not relay,
        listeners=Listeners(**listeners),
    )


def dialled(
    reactor: Any, options: argparse.Namespace, relay: bool = False, **listeners: Any
) -> contextlib.AbstractAsyncContextManager[SoterPeerProtocol]:
    """Dial the endpoint, and disconnect at the end; parameters as of :func:`dial_config`, errors as below."""
    return connected(reactor, options, dial_config(options, relay, **listeners))


@contextlib.asynccontextmanager
async def connected(reactor: Any, options: argparse.Namespace, config: PeerConfig) -> AsyncIterator[SoterPeerProtocol]:
    """Dial the endpoint with a config, and disconnect at the end.

    :raises CommandError: when it cannot be connected to.
    """
    endpoint = endpoint_at(reactor, options.endpoint, options.network, options.timeout)
    try:
        peer = await connect(endpoint, config).addTimeout(options.timeout, reactor)
    except DeferredTimeout:
        raise CommandError(f"{options.endpoint}: not connected within {options.timeout:g} seconds") from None
    except CancelledError:
        raise
    except Exception as error:
        raise CommandError(f"{options.endpoint}: {error or type(error).__name__}") from None
    try:
        yield peer
    finally:
        await peer.disconnect()


def reached_by_ipv6(peer: SoterPeerProtocol) -> bool:
    """Tell whether the remote sees an IPv6 address of ours."""
    return isinstance(parse_ip(peer.host), IPv6Address)


def in_reactor(main: Callable[[Any], Coroutine[Deferred[Any], Any, int]]) -> int:
    """Run the reactor until ``main`` is done, and return its exit status.

    When the reactor is stopped before, as by Ctrl-C, ``main`` is cancelled, and the status is INTERRUPTED.

    :raises Exception: what ``main`` raises.
    """
    status, failure, stopped = INTERRUPTED, None, False

    async def run(reactor: Any) -> None:
        nonlocal status, failure
        try:
            result = await main(reactor)
            status = INTERRUPTED if stopped else result
        except Exception as error:
            # react() would log a traceback
            failure = None if stopped else error

    def begin(reactor: Any) -> Deferred[None]:
        running = Deferred.fromCoroutine(run(reactor))

        def stop() -> Deferred[None]:
            nonlocal stopped
            stopped = True
            running.cancel()
            return running

        reactor.addSystemEventTrigger("before", "shutdown", stop)
        return running

    with contextlib.suppress(SystemExit):
        react(begin)
    if failure is not None:
        raise failure
    return status
