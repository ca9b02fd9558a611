"""``txsoter peer-info``: dial a node, and print what it says of itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from secrets import randbits
from typing import Any

from txsoter.cli.dialling import add_dial_arguments, dialled, in_reactor, reached_by_ipv6
from txsoter.cli.output import aligned, utc
from txsoter.clock import monotonic
from txsoter.command_line import Parser, whole
from txsoter.core.sanitize import sanitize
from txsoter.core.service_names import service_names
from txsoter.errors import RequestFailed
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.progress import Progress
from txsoter.wire import AddrCache, GetAddrCache, NetAddress, Ping, Pong, Version

__all__ = ["add_arguments", "peer_info"]

DESCRIPTION = """\
Dials a node, and prints its version message, the round trips of some pings, and the addresses in its cache: the nodes
that dialled it (inbound), that it dialled (outbound), and that it knows of.

A soterd that has an IPv6 address in its cache dies when it is asked for it. It is therefore not asked over IPv6, which
would put ours there; --no-addresses never asks.
"""

EPILOG = """\
--json prints one object. Times are UTC in ISO 8601, null where no calendar has them; durations are seconds:
  endpoint, address, network        as dialled; the remote's IP and port; the network's name
  connect_seconds                   from dialling to the end of the handshake
  protocol_version, negotiated_version
  services, service_names           the bits as a number, and their names
  user_agent, genesis_hash, height, relay
  nonce, time, clock_offset         its nonce and clock, and its clock less ours
  addr_you, addr_me                 our address as it sees it, and its own: host, port, services, service_names
  pings, ping_error                 round trips; null, or why there are fewer than were asked for
  addresses, addresses_error        null, or inbound, outbound and known: lists of host, port, services, service_names,
                                    last_seen; null, or why there are none
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``peer-info``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_dial_arguments(parser)
    parser.add_argument(
        "--pings", type=whole(0), default=3, metavar="N", help="pings to send, one after the other (default: 3)"
    )
    parser.add_argument("--no-addresses", action="store_true", help="do not ask for the addresses in its cache")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run ``peer-info`` in the reactor."""
    return in_reactor(lambda reactor: peer_info(reactor, options))


async def peer_info(reactor: Any, options: argparse.Namespace) -> int:
    """Dial, ask, and print.

    :raises CommandError: when it cannot be connected to.
    """
    versions: list[Version] = []
    now = monotonic(reactor)
    began = now()
    with Progress(sys.stderr) as progress:
        progress.stage(f"connecting to {options.endpoint}")
        async with dialled(reactor, options, on_version=lambda peer, version: versions.append(version)) as peer:
            connected = now()
            pings, ping_error = await _pings(peer, options.pings, now, progress)
            progress.stage("waiting for its addresses")
            cache, cache_error = (None, "not asked for") if options.no_addresses else await _addresses(peer)
            stats = peer.stats()
        version = versions[0]
    found = {
        "endpoint": options.endpoint,
        "address": stats.address,
        "network": options.network.name,
        "connect_seconds": round(connected - began, 6),
        "protocol_version": version.protocol_version,
        "negotiated_version": stats.negotiated_version,
        **_services(version.services),
        "user_agent": version.user_agent.decode("utf-8", "backslashreplace"),
        "genesis_hash": str(version.genesis_hash),
        "height": version.last_block,
        "relay": version.relay,
        "nonce": version.nonce,
        "time": utc(version.timestamp),
        "clock_offset": stats.time_offset,
        "addr_you": _address(version.addr_you),
        "addr_me": _address(version.addr_me),
        "pings": pings,
        "ping_error": ping_error,
        "addresses": None if cache is None else {name: _dated(getattr(cache, name)) for name in LISTS},
        "addresses_error": cache_error,
    }
    print(json.dumps(found, indent=2) if options.json else "\n".join(_lines(found)))
    return 0


async def _pings(
    peer: SoterPeerProtocol, count: int, now: Callable[[], float], progress: Progress
) -> tuple[list[float], str | None]:
    """Return the round trips in seconds, and why there are fewer than ``count``."""
    found: list[float] = []
    while len(found) < count:
        progress.stage(f"ping {len(found) + 1} of {count}")
        began = now()
        try:
            await peer.request(Ping(randbits(64)), Pong)
        except RequestFailed as error:
            return found, sanitize(str(error))
        found.append(round(now() - began, 6))
    return found, None


async def _addresses(peer: SoterPeerProtocol) -> tuple[AddrCache | None, str | None]:
    """Return the node's address cache, or why there is none."""
    if reached_by_ipv6(peer):
        return None, "not asked for over IPv6: a soterd would die of our address"
    try:
        return await peer.request(GetAddrCache(), AddrCache), None
    except RequestFailed as error:
        return None, sanitize(str(error))


# -- as JSON -----------------------------------------------------------------------------------

LISTS = ("inbound", "outbound", "known")


def _services(bits: int) -> dict[str, Any]:
    return {"services": bits, "service_names": service_names(bits)}


def _address(address: NetAddress) -> dict[str, Any]:
    return {"host": address.host, "port": address.port, **_services(address.services)}


def _dated(addresses: Iterable[NetAddress]) -> list[dict[str, Any]]:
    return [{**_address(each), "last_seen": utc(each.timestamp)} for each in addresses]


# -- as text -----------------------------------------------------------------------------------


def _lines(found: dict[str, Any]) -> Iterator[str]:
    addresses = found["addresses"]
    yield aligned(
        (
            ("address", sanitize(found["address"])),
            ("network", f"{found['network']}, genesis {found['genesis_hash']}"),
            ("user agent", sanitize(found["user_agent"], 300)),
            ("version", f"{found['protocol_version']}, negotiated {found['negotiated_version']}"),
            ("services", ",".join(found["service_names"]) or "none"),
            ("height", str(found["height"])),
            ("transactions", "to be announced" if found["relay"] else "not to be announced"),
            ("clock", f"{found['time'] or 'no date'}, {found['clock_offset']:+d} s from ours"),
            ("nonce", f"{found['nonce']:016x}"),
            ("sees us as", _place(found["addr_you"])),
            ("calls itself", _place(found["addr_me"])),
            ("connected in", _milliseconds(found["connect_seconds"])),
            ("pings", _round_trips(found["pings"], found["ping_error"])),
            ("addresses", found["addresses_error"] or ", ".join(f"{len(addresses[each])} {each}" for each in LISTS)),
        )
    )
    if addresses and any(addresses.values()):
        rows = [
            (name, _place(each), ",".join(each["service_names"]) or "-", each["last_seen"])
            for name in LISTS
            for each in addresses[name]
        ]
        yield ""
        yield aligned((("LIST", "ADDRESS", "SERVICES", "LAST SEEN"), *rows))


def _round_trips(pings: Sequence[float], error: str | None) -> str:
    texts = [", ".join(map(_milliseconds, pings)), error]
    return "; ".join(filter(None, texts)) or "none"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _place(address: dict[str, Any]) -> str:
    host = address["host"]
    return f"[{host}]:{address['port']}" if ":" in host else f"{host}:{address['port']}"
