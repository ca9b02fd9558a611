"""Text of a remote's, made fit for log lines, close reasons and pages."""

from __future__ import annotations

__all__ = ["MAX_REASON", "sanitize"]

MAX_REASON = 250
"""The most characters of a reject's reason that are shown."""

# what terminals, logs and HTML take for more than text
_MARKUP = frozenset("<>&\"'`\\{}")


def sanitize(text: str | bytes, limit: int = MAX_REASON) -> str:
    """Return ``text`` without control and markup characters, at most ``limit`` characters long.

    Bytes are read as UTF-8. A text that was cut ends in "...".
    """
    if isinstance(text, bytes):
        text = text[: limit * 4 + 4].decode("utf-8", "replace")
    if len(text) <= limit and text.isprintable() and _MARKUP.isdisjoint(text):
        return text
    cut = len(text) > limit
    kept = "".join(each for each in text[:limit] if each.isprintable() and each not in _MARKUP)
    return f"{kept[: limit - 3]}..." if cut else kept
