"""What stands behind an option, as text, made into values; what cannot be is refused in one line."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.python.usage import UsageError

from txsoter.command_line import read_size, split_host_port
from txsoter.errors import FieldError
from txsoter.peer.config import PeerConfig
from txsoter.service.outbound import endpoints_like
from txsoter.service.status import loopback_endpoint
from txsoter.wire import PROTOCOL_VERSION, Services

__all__ = [
    "OFF",
    "BadOption",
    "endpoint",
    "hours",
    "number",
    "own_place",
    "peer_place",
    "protocol_version",
    "proxy",
    "seconds",
    "served",
    "services",
    "size",
    "template",
    "whitelisted",
]

OFF = "off"


class BadOption(UsageError):
    """An option that cannot be: names it, what was given, and what is allowed."""


def seconds(option: str, off: bool = True) -> Callable[[str], float | None]:
    """A number of seconds; or off, where that may be."""

    def coerce(text: str) -> float | None:
        if off and text == OFF:
            return None
        try:
            found = float(text)
        except ValueError:
            found = -1.0
        if not 0 < found < math.inf:
            raise BadOption(f"--{option} {text}: must be a number of seconds above 0{f', or {OFF}' if off else ''}")
        return found

    return coerce


def services(text: str) -> int:
    """Service bits, as a number or by names."""
    names = {service.name.lower(): int(service) for service in Services if service.name is not None}
    try:
        bits = int(text, 0)
    except ValueError:
        try:
            bits = sum({names[name.strip().lower()] for name in text.split(",")})
        except KeyError:
            bits = -1
    if not 0 <= bits < 1 << 64:
        raise BadOption(f"--services {text}: must be a number below 2**64, or some of {','.join(names)}")
    return bits


def protocol_version(text: str) -> int:
    """A protocol version that we can speak."""
    if not (text.isdecimal() and 209 <= int(text) <= PROTOCOL_VERSION):
        raise BadOption(f"--protocol-version {text}: must be a number from 209 to {PROTOCOL_VERSION}")
    return int(text)


def proxy(text: str) -> str:
    """The place of a proxy."""
    try:
        PeerConfig(proxy=text)
    except FieldError as error:
        raise BadOption(f"--proxy {text}: must be {error.limit}") from None
    return text


def endpoint(option: str, parse: Callable[[Any, str], Any], text: str, example: str) -> Any:
    """An endpoint from its description, by Twisted's ``parse``."""
    # not before: twistd and twist let their user choose which reactor is installed
    from twisted.internet import reactor

    what = f"--{option} {text}: must be an endpoint such as {example}"
    if text.startswith(("tor:", "onion:")) and find_spec("txtorcon") is None:
        raise BadOption(f"--{option} {text}: needs txtorcon: pip install 'txsoter[tor]'")
    lowest = 1 if option == "connect" else 0
    if any(not lowest <= int(port) <= 65535 for port in re.findall(r":(?:port=)?(-?[0-9]+)(?=:|$)", text)):
        raise BadOption(f"{what}: ports are from {lowest} to 65535")
    if text.startswith(("tls:", "ssl:")) and find_spec("OpenSSL") is None:
        raise BadOption(f"--{option} {text}: needs pip install 'twisted[tls]'")
    try:
        return parse(reactor, text)
    except TypeError:
        # says which of Twisted's functions lacks which argument
        raise BadOption(what) from None
    except Exception as error:
        raise BadOption(f"{what}: {error}") from None


def number(option: str, least: int = 0, off: bool = False) -> Callable[[str], int | None]:
    """A whole number."""

    def coerce(text: str) -> int | None:
        if off and text == OFF:
            return None
        if not (text.isdecimal() and least <= int(text) < 1 << 62):
            raise BadOption(f"--{option} {text}: must be a whole number from {least}{f', or {OFF}' if off else ''}")
        return int(text)

    return coerce


def size(option: str, off: bool = False) -> Callable[[str], int | None]:
    """A number of bytes, such as 512M."""

    def coerce(text: str) -> int | None:
        if off and text == OFF:
            return None
        found = read_size(text)
        if found is None:
            raise BadOption(f"--{option} {text}: must be a number of bytes such as 512M{f', or {OFF}' if off else ''}")
        return found

    return coerce


def hours(text: str) -> float:
    """A number of hours."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < math.inf:
        raise BadOption(f"--ban-hours {text}: must be a number of hours above 0")
    return found


def whitelisted(text: str) -> str:
    """A network."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise BadOption(f"--whitelist {text}: must be an address or a network such as 10.0.0.0/8") from None


def peer_place(text: str, default_port: int) -> tuple[str, int]:
    """A host and a port."""
    found = split_host_port(text, default_port)
    if found is None:
        raise BadOption(f"--peer {text}: must be HOST:PORT such as 192.0.2.7:5070, or HOST")
    return found


def own_place(text: str, default_port: int) -> tuple[str, int]:
    """An IP and a port at which others can reach us."""
    try:
        host, port = peer_place(text, default_port)
        return str(ipaddress.ip_address(host)), port
    except (BadOption, ValueError):
        raise BadOption(f"--advertise {text}: must be IP:PORT such as 203.0.113.7:5070, or an IP") from None


def served(option: str, text: str) -> str:
    """The endpoint of a page: on loopback unless it names an interface."""
    endpoint(option, serverFromString, loopback_endpoint(text), "tcp:8556")
    return text


def template(text: str) -> Any:
    """An endpoint with ``{host}`` and ``{port}`` in it."""
    # not before: twistd and twist let their user choose which reactor is installed
    from twisted.internet import reactor

    try:
        return endpoints_like(reactor, text)
    except FieldError as error:
        raise BadOption(f"--outbound-endpoint {text}: must be {error.limit}") from None
