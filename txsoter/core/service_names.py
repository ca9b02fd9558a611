"""Names of service bits."""

from __future__ import annotations

from txsoter.wire import Services

__all__ = ["service_names"]


def service_names(bits: int) -> list[str]:
    """Return the names of the service bits that are set, in lower case; unknown bits together as one hex number."""
    names = [each.name.lower() for each in Services if bits & each and each.name is not None]
    rest = bits & ~sum(Services)
    return [*names, hex(rest)] if rest else names
