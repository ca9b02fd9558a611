"""Who may look: ourselves, unless told otherwise.

A page that listens on loopback only is not safe by that: a site that a browser visits may give its own name the
address 127.0.0.1 (DNS rebinding), and then reads ours as if it were its own. What it cannot do is to change the name
in the ``Host`` header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from twisted.internet.interfaces import IAddress

from txsoter.ip import parse_ip
from txsoter.peer.addressing import host_and_port

__all__ = ["LOOPBACK_HOSTS", "HostCheck", "loopback_endpoint"]

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names that always mean ourselves."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([0-9a-z_.-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_SERVERS = {"tcp": "127.0.0.1", "ssl": "127.0.0.1", "tls": "127.0.0.1", "tcp6": r"\:\:1"}


def loopback_endpoint(description: str) -> str:
    """A server endpoint's description that means loopback where it names no interface: Twisted's means all then.

    A port alone is one of TCP.
    """
    if description.isdecimal():
        description = f"tcp:{description}"
    # colons behind a backslash are part of a value
    kind, *arguments = re.split(r"(?<!\\):", description)
    named = any(each.startswith("interface=") for each in arguments)
    # the second one without a name is it, too
    placed = len([each for each in arguments if not re.match(r"[a-zA-Z]+=", each)]) > 1
    if kind not in _SERVERS or named or placed:
        return description
    return f"{description}:interface={_SERVERS[kind]}"


class HostCheck:
    """Says of a request's ``Host`` whether it may mean us.

    :param names: by which others reach us, such as those of a proxy before us; without a port.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = LOOPBACK_HOSTS | {_plain(name) for name in names}

    def allows(self, header: bytes, here: IAddress | None) -> bool:
        """Whether it is one of our names, or the address at which the request came in.

        :param here: our end of its connection.
        """
        found = _HOST.fullmatch(header.decode("latin-1"))
        if found is None:
            return False
        name = _plain(found[1] or found[2])
        if name in self._names:
            return True
        host, _ = host_and_port(here)
        return host is not None and name == _plain(host)


def _plain(name: str) -> str:
    """A name or an IP to compare."""
    name = name.strip("[]").lower().removesuffix(".")
    ip = parse_ip(name)
    return name if ip is None else str(ip)
