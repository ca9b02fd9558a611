"""Answers of a DNS seeder: questions in, answers out, as bytes; no sockets.

Names are those of Bitcoin's seeders: the zone itself has the addresses of good nodes, ``x<services in hex>`` below it
those of nodes with all of these service bits. Any other name of the zone does not exist (NXDOMAIN); questions for
other zones are refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from io import BytesIO
from random import Random

import attrs
from twisted.names import dns

from txsoter.crawl.network_map import NetworkMap
from txsoter.errors import FieldError
from txsoter.ip import IPAddress, parse_ip

__all__ = ["MAX_ADDRESSES", "MAX_QUESTION", "MAX_UDP", "SeedAddress", "Zone", "seed_addresses", "truncated"]

MAX_ADDRESSES = 16
"""The most addresses in an answer."""

MAX_QUESTION = 512
"""The most bytes of a question: RFC 1035's limit; nobody asks for a name of ours with more."""

MAX_UDP = 512
"""The most bytes of an answer."""

TTL = 60
"""Seconds for which resolvers keep addresses, and that a name has none."""

ZONE_TTL = 3600
"""Seconds for which resolvers keep the zone's SOA and NS."""

MAX_KEPT = 64
"""Selections by services and family that are kept ready."""

_HEADER = struct.Struct("!HHHHHH")
_RESPONSE, _OPCODE, _AUTHORITY, _TRUNCATED, _RECURSE = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100
_LABEL = re.compile(rb"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_FILTER = re.compile(rb"x([0-9a-f]{1,16})")
# of a record behind a compressed name: pointer, type, class, TTL, length
_RECORD = 12


@attrs.frozen
class SeedAddress:
    """A node that may be recommended.

    :ivar ip: where it is; its port must be the network's default one, for DNS tells none.
    :ivar services: its service bits.
    """

    ip: IPAddress
    services: int


class Zone:
    """The zone of a seeder.

    :param name: of the zone, such as ``seed.example.org``.
    :param random: chooses among the addresses.
    :param nameserver: host name of this server, which NS and SOA have; by default the zone's.
    :param ttl: seconds for which an answer may be kept.
    :raises FieldError: for a name that cannot be one.
    """

    def __init__(
        self,
        name: str,
        random: Random,
        nameserver: str | None = None,
        ttl: int = TTL,
    ) -> None:
        self.name = _host_name("zone", name)
        self._nameserver = self.name if nameserver is None else _host_name("nameserver", nameserver)
        self._random = random
        self._ttl = ttl
        self._addresses: tuple[SeedAddress, ...] = ()
        self._selected: dict[tuple[int, int], list[IPAddress]] = {}

    @property
    def addresses(self) -> tuple[SeedAddress, ...]:
        """The nodes to recommend."""
        return self._addresses

    @addresses.setter
    def addresses(self, addresses: Iterable[SeedAddress]) -> None:
        self._addresses = tuple(addresses)
        self._selected.clear()

    def answer(self, question: bytes) -> bytes | None:
        """Return the answer, of at most :data:`MAX_UDP` bytes; None for what deserves none: no question at all."""
        if not _HEADER.size <= len(question) <= MAX_QUESTION:
            return None
        id, flags, count, *_ = _HEADER.unpack_from(question)
        if flags & _RESPONSE:
            # to answer answers would let two servers talk for ever
            return None
        if flags & _OPCODE:
            return _bare(id, flags, dns.ENOTIMP)
        query = _query(question) if count == 1 else None
        if query is None:
            return _bare(id, flags, dns.EFORMAT)
        message = dns.Message(id, answer=1, recDes=bool(flags & _RECURSE), maxSize=0)
        message.queries = [query]
        self._fill(message, query)
        return bytes(message.toStr())

    def _fill(self, message: dns.Message, query: dns.Query) -> None:
        name = query.name.name.lower()
        below = name.removesuffix(self.name)
        if query.cls not in (dns.IN, dns.ANY) or below == name or below[-1:] not in (b"", b"."):
            message.rCode = dns.EREFUSED
            return
        message.auth = True
        wanted = _FILTER.fullmatch(below[:-1])
        if below and wanted is None:
            message.rCode = dns.ENAME
        elif query.type in (dns.A, dns.AAAA, dns.ALL_RECORDS):
            family = 6 if query.type == dns.AAAA else 4
            # RFC 8482: of "any" it is enough to tell some
            room = MAX_UDP - _HEADER.size - len(name) - 6
            most = min(MAX_ADDRESSES, room // (_RECORD + (16 if family == 6 else 4)))
            for ip in self._choose(int(wanted[1], 16) if wanted else 0, family, most):
                record = dns.Record_A(str(ip)) if family == 4 else dns.Record_AAAA(str(ip))
                message.answers.append(self._record(query.name.name, record, self._ttl))
        elif not below and query.type == dns.NS:
            message.answers.append(self._record(query.name.name, dns.Record_NS(self._nameserver), ZONE_TTL))
        elif not below and query.type == dns.SOA:
            message.answers.append(self._soa(ZONE_TTL))
        if not message.answers:
            message.authority.append(self._soa(self._ttl))

    def _choose(self, services: int, family: int, most: int) -> list[IPAddress]:
        key = services, family
        selected = self._selected.get(key)
        if selected is None:
            fit = (each for each in self._addresses if not services & ~each.services)
            selected = [each.ip for each in fit if each.ip.version == family]
            if len(self._selected) >= MAX_KEPT:
                self._selected.clear()
            self._selected[key] = selected
        return self._random.sample(selected, min(most, len(selected)))

    def _soa(self, ttl: int) -> dns.RRHeader:
        record = dns.Record_SOA(
            self._nameserver,
            b"hostmaster." + self.name,
            serial=1,
            refresh=ZONE_TTL,
            retry=ZONE_TTL,
            expire=7 * 24 * 3600,
            # of names and types that do not exist (RFC 2308)
            minimum=self._ttl,
        )
        return self._record(self.name, record, ttl)

    @staticmethod
    def _record(name: bytes, record: dns.IEncodableRecord, ttl: int) -> dns.RRHeader:
        return dns.RRHeader(name, record.TYPE, dns.IN, ttl, record, auth=True)


def truncated(question: bytes) -> bytes:
    """Return an answer that says "ask by TCP", and is no longer than a question that :meth:`Zone.answer` answers."""
    id, flags, *_ = _HEADER.unpack_from(question)
    return _bare(id, flags | _TRUNCATED, dns.OK)


def _bare(id: int, flags: int, code: int) -> bytes:
    """An answer without anything: as many bytes as the shortest question."""
    return _HEADER.pack(id, _RESPONSE | flags & (_OPCODE | _TRUNCATED | _RECURSE) | code, 0, 0, 0, 0)


def _query(question: bytes) -> dns.Query | None:
    """The question itself; None for a malformed one, and for names that no host has."""
    stream = BytesIO(question)
    stream.seek(_HEADER.size)
    query = dns.Query()
    try:
        query.decode(stream)
    except (EOFError, ValueError, dns.DNSDecodeError):
        return None
    name = query.name.name
    if len(name) > 253 or (name and not all(map(_LABEL.fullmatch, name.lower().split(b".")))):
        return None
    said = BytesIO()
    query.encode(said)
    # else it had pointers, or labels with dots in them, and the answer would have another question
    return query if question.startswith(said.getvalue(), _HEADER.size) else None


def _host_name(field: str, name: str) -> bytes:
    encoded = name.rstrip(".").lower().encode("ascii", "replace")
    # with room for a filter before it, and the SOA's "hostmaster"
    if len(encoded) > 200 or not all(map(_LABEL.fullmatch, encoded.split(b"."))):
        raise FieldError(field, name, "a host name in ASCII of at most 200 characters, such as seed.example.org")
    return encoded


def seed_addresses(network_map: NetworkMap, port: int) -> tuple[SeedAddress, ...]:
    """Return the nodes of a map that are good now, and listen on ``port``: DNS tells no other."""
    found = ((parse_ip(node.host), node) for node in network_map.nodes if node.good and node.port == port)
    return tuple(SeedAddress(ip, node.services) for ip, node in found if ip is not None and node.reachable)
