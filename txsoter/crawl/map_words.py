"""Words for what nodes say of themselves, kept ready: thousands of nodes say the same."""

from __future__ import annotations

from functools import lru_cache

from txsoter.core.service_names import service_names
from txsoter.service.status.text import agent_name

__all__ = ["program", "services"]


@lru_cache(maxsize=4096)
def program(user_agent: str) -> str:
    """Return the program that a user agent names last, with its version; "" for an empty one."""
    return agent_name(user_agent.encode("utf-8", "replace"))


@lru_cache(maxsize=4096)
def services(bits: int) -> tuple[str, ...]:
    """Return the names of service bits."""
    return tuple(service_names(bits))
