"""User agents: ``/name:version(comment; comment)/name:version/``."""

from __future__ import annotations

from functools import lru_cache

from semver import Version as SemanticVersion

from txsoter.errors import FieldError

__all__ = ["WIRE_AGENT", "SemanticVersion", "agent_versions", "user_agent"]

WIRE_AGENT = "/soterwire:0.6.0/"
"""What every user agent of soter begins with."""


def user_agent(name: str, version: str, comments: tuple[str, ...] = ()) -> bytes:
    """Return the user agent of a program.

    :raises FieldError: for a version that is not strict semver, words that would not be read back, or soterd's name.
    """
    parse_version(version)
    if name == "soterd":
        limit = "another name: soterd nodes refuse those of their own name with another major version"
        raise FieldError("user_agent_name", name, limit)
    for field, text, forbidden in (
        ("user_agent_name", name, "/:()"),
        *(("user_agent_comments", comment, "/;()") for comment in comments),
    ):
        if not text or any(each in forbidden or not each.isprintable() for each in text):
            raise FieldError(field, text, f"printable, not empty, and without any of {' '.join(forbidden)}")
    shown = f"({'; '.join(comments)})" if comments else ""
    return f"{WIRE_AGENT}{name}:{version}{shown}/".encode()


def parse_version(version: str) -> SemanticVersion:
    """Return ``version`` as strict semver (``1.0`` and ``v1.0.0`` are not).

    :raises FieldError: when it is not.
    """
    try:
        return SemanticVersion.parse(version)
    except (ValueError, TypeError):
        raise FieldError("user_agent_version", version, "a semantic version, such as 1.0.0") from None


@lru_cache(maxsize=256)
def agent_versions(agent: bytes) -> dict[str, SemanticVersion]:
    """Return the versions that a user agent names; entries that do not parse are skipped, the last of a name wins.

    It is split on ``/`` first, so a ``/`` inside a comment breaks its entry. What is
    returned is shared between calls with the same agent: it must not be changed.
    """
    versions = {}
    for entry in agent.decode("latin-1").split("/"):
        name, colon, rest = entry.partition(":")
        if not colon:
            name, rest = "", entry
        try:
            versions[name] = SemanticVersion.parse(rest.partition("(")[0])
        except ValueError:
            continue
    return versions
