"""What remotes say of themselves, as it may stand on a page: bounded, and with nothing in it that cannot be seen.

It is not rid of markup, as for a log line: the page writes it as text, which shows what was really sent.
"""

from __future__ import annotations

from txsoter.wire import Services

__all__ = ["MAX_TEXT", "agent_name", "service_names", "shown"]

MAX_TEXT = 250
"""The most characters of anything that a remote said."""

UNSEEN = "\N{REPLACEMENT CHARACTER}"


def shown(text: str | bytes, limit: int = MAX_TEXT) -> str:
    """``text`` with a mark for each character that cannot be seen, such as one that turns the text around.

    Bytes are read as UTF-8. A text that was cut ends in an ellipsis.
    """
    if isinstance(text, bytes):
        text = text[: limit * 4 + 4].decode("utf-8", "replace")
    kept = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return kept if kept.isprintable() else "".join(each if each.isprintable() else UNSEEN for each in kept)


def agent_name(agent: bytes) -> str:
    """The program that a user agent names last, with its version; the whole of what is no such user agent."""
    entries = [each for each in agent.split(b"/") if each]
    name, colon, version = entries[-1].partition(b":") if entries else (b"", b"", b"")
    version = version.partition(b"(")[0]
    if not (agent.startswith(b"/") and agent.endswith(b"/") and name and colon and version):
        return shown(agent, 60)
    return shown(name + b" " + version, 60)


def service_names(bits: int) -> list[str]:
    """The names of service bits, in small letters; those without a name together as a number."""
    known = [service for service in Services if service.name is not None and bits & service]
    rest = bits
    for service in known:
        # not ~service: a flag's own turns only the known bits around
        rest &= ~int(service)
    names = [str(service.name).lower().replace("_", " ") for service in known]
    return [*names, f"{rest:#x}"] if rest else names
