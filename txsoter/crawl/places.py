"""Country and AS number of IP addresses, from files in MaxMind's format that the user brings. Needs maxminddb."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from txsoter.crawl.extras import load_maxminddb
from txsoter.errors import LocalError
from txsoter.ip import parse_ip
from txsoter.service.status.text import shown

__all__ = ["PlaceError", "Places"]

MAX_SIZE = 1 << 30
"""The most bytes of a file: the largest ones have some 200 MB."""

MAX_ORG = 80
"""The most characters of an owner."""

MAX_KNOWN = 100_000
"""Addresses whose places are kept ready."""


class PlaceError(LocalError):
    """A file that cannot be read or is damaged; says which, and why."""


class Places:
    """Looks IP addresses up, in one or several files: of countries or cities, and of AS numbers.

    Files of MaxMind (GeoLite2), DB-IP and IPinfo are understood. Nothing in them is trusted: not their structure, not
    the types of what they say.

    :param paths: of the files; what the first one says counts.
    :raises PlaceError: for a file that cannot be used.
    :raises LocalError: when maxminddb is not installed.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._maxminddb = load_maxminddb()
        self._readers = [(path, self._open(path)) for path in paths]
        # a lookup takes as long as a hundred of these
        self._known: dict[str, dict[str, Any]] = {}
        # a damaged file shows here, rather than in the middle of the work
        self.locate("192.0.2.1")

    def _open(self, path: Path) -> Any:
        try:
            if path.stat().st_size > MAX_SIZE:
                raise PlaceError(f"{path}: has over {MAX_SIZE} bytes, which no such file has")
            # not mapped: a file that is replaced or cut while it is mapped would end the process
            return self._maxminddb.open_database(path, self._maxminddb.MODE_MEMORY)
        except OSError as error:
            raise PlaceError(f"{path}: {error.strerror or error}") from None
        except PlaceError:
            raise
        except Exception as error:
            # its reader raises whatever a damaged file leads it into
            raise PlaceError(f"{path}: is no MaxMind DB file: {_words(error)}") from None

    def locate(self, host: str) -> dict[str, Any]:
        """Return ``country`` (ISO 3166-1, two letters), ``asn`` (a number) and ``org`` (its owner); None where unknown.

        :raises PlaceError: when a file turns out to be damaged.
        """
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[host] = known = self._look_up(host)
        return dict(known)

    def _look_up(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = {"country": None, "asn": None, "org": None}
        ip = parse_ip(host)
        if ip is None:
            return found
        for path, reader in self._readers:
            if ip.version == 6 and reader.metadata().ip_version == 4:
                continue
            try:
                record = reader.get(ip)
            except Exception as error:
                raise PlaceError(f"{path}: is damaged: {_words(error)}") from None
            for name, value in _read(record).items():
                if found[name] is None:
                    found[name] = value
        return found

    def close(self) -> None:
        """Close the files."""
        for _, reader in self._readers:
            reader.close()


def _words(error: Exception) -> str:
    return shown(f"{type(error).__name__}: {error}", 200)


def _read(record: object) -> dict[str, Any]:
    """Return the country, AS number and owner of a record, whatever types it has."""
    if not isinstance(record, dict):
        return {}
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else record.get("country_code", country)
    asn = record.get("autonomous_system_number", record.get("asn"))
    if isinstance(asn, str) and asn.upper().startswith("AS") and asn[2:].isdecimal() and len(asn) <= 12:
        asn = int(asn[2:])
    org = record.get("autonomous_system_organization", record.get("as_name", record.get("name")))
    return {
        "country": code if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isupper() else None,
        "asn": asn if type(asn) is int and 0 <= asn < 1 << 32 else None,
        "org": shown(org, MAX_ORG) if isinstance(org, str) else None,
    }
