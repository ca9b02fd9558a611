"""Directives ``message-table``, ``network-table``, ``close-causes``: tables made from the package's declarations."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from public_names import plain, summary_of
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from txsoter.core.reader import PEER_LIMITS
from txsoter.errors import CloseCause
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1
from txsoter.wire import Message, messages

__all__ = ["setup"]

ANSWERED_BY = {
    "version": "version, verack",
    "getaddr": "addr",
    "getaddrcache": "addrcache",
    "getblocks": "inv",
    "getheaders": "headers",
    "getdata": "block, tx, merkleblock, notfound",
    "mempool": "inv",
    "ping": "pong",
    "getcfilters": "cfilter, one a block",
    "getcfheaders": "cfheaders",
    "getcfcheckpt": "cfcheckpt",
}


class Table(SphinxDirective, ABC):
    """A table of Markdown cells."""

    titles: tuple[str, ...]

    @abstractmethod
    def rows(self) -> Iterable[tuple[str, ...]]:
        """Return the cells of each row."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        lines = [self.titles, tuple("---" for _ in self.titles), *self.rows()]
        text = ["| " + " | ".join(cells) + " |" for cells in lines]
        section = nodes.section()
        section.document = self.state.document
        self.state.nested_parse(StringList(text, self.get_source_info()[0]), 0, section)
        for table in section.findall(nodes.table):
            table["classes"] += ["colwidths-auto", type(self).__name__.lower()]
        return section.children


def size(kind: type[Message]) -> str:
    """Return the limits of a message's payload, in bytes."""
    taken = min(kind.max_size(), PEER_LIMITS.get(kind.command, kind.max_size()))
    sent = kind.max_send()
    return f"{taken:,}" + (f"; {sent:,} to send" if sent < taken else "")


def fields(kind: type[Message]) -> str:
    """Return the names of a message's fields, as its constructor takes them."""
    names = inspect.signature(kind).parameters
    return f"*{', '.join(names)}*" if names else ""


class MessageTable(Table):
    """All messages: meaning, answer, limits."""

    titles = ("message", "meaning, fields", "answered by", "payload, bytes", "since")

    def rows(self) -> Iterable[tuple[str, ...]]:
        for command, kind in sorted(messages().items()):
            yield (
                f"{{py:class}}`{command} <txsoter.wire.{kind.__name__}>`",
                f"{plain(summary_of('txsoter.wire', kind.__name__))} {fields(kind)}",
                ANSWERED_BY.get(command, ""),
                size(kind),
                str(kind.since or ""),
            )


class NetworkTable(Table):
    """The networks that are known."""

    titles = ("network", "magic", "first bytes of a frame", "port", "seeds", "genesis block")

    def rows(self) -> Iterable[tuple[str, ...]]:
        for each in (MAINNET, TESTNET1, REGTEST, SIMNET):
            raw = each.magic.to_bytes(4, "little").hex(" ")
            seeds = ", ".join(each.seeds) or "none"
            yield (
                each.name,
                f"`{each.magic:#010x}`",
                f"`{raw}`",
                str(each.default_port),
                seeds,
                f"`{each.genesis_hash}`",
            )


class CloseCauses(Table):
    """The causes for which connections end."""

    titles = ("cause", "meaning")

    def rows(self) -> Iterable[tuple[str, ...]]:
        for each in CloseCause:
            yield f"`{each.name}`", each.value


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("message-table", MessageTable)
    app.add_directive("network-table", NetworkTable)
    app.add_directive("close-causes", CloseCauses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
