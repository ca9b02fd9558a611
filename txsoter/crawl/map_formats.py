"""A map as text: JSON, JSON lines, GraphML, DOT, CSV. Nothing that a remote said can end a string or become a formula.

JSON keeps texts as they came, escaped. In the other formats characters that cannot be seen are shown as U+FFFD, and
texts are cut at 250 characters.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from txsoter.crawl.map_rows import Locate, edge_row, map_rows, node_row
from txsoter.crawl.network_map import NetworkMap
from txsoter.service.status.text import shown

__all__ = ["FORMATS", "edges_csv", "json_line", "map_dot", "map_graphml", "map_json", "nodes_csv"]

# the last four are the first four in full width
_FORMULA = tuple("=+-@|%\uff1d\uff0b\uff0d\uff20")
"""Characters with which some spreadsheet begins a formula; spaces, tabs and line ends may stand before them."""

_NODE_KEYS = {
    "address": "string",
    "port": "int",
    "reachable": "boolean",
    "kind": "string",
    "version": "int",
    "agent": "string",
    "connected_since": "double",
    "services": "string",
    "height": "int",
    "country": "string",
    "asn": "int",
    "org": "string",
    "first_seen": "double",
    "last_seen": "double",
    "last_attempt": "double",
    "last_success": "double",
    "latency": "double",
    "good": "boolean",
    "alias_of": "string",
    "sources": "int",
    "reason": "string",
}
"""Columns of nodes, and their types in GraphML: 64 bits of services are more than its numbers hold everywhere."""

_EDGE_KEYS = {
    "claimed_by": "string",
    "confirmed": "boolean",
    "first_seen": "double",
    "last_seen": "double",
    "unmatched": "boolean",
}


def json_line(row: Mapping[str, Any]) -> str:
    """Return an object on one line, in ASCII, and without a character that HTML would take for markup."""
    text = json.dumps(row, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def map_json(network_map: NetworkMap, locate: Locate | None = None) -> str:
    """Return a map as one JSON object, a node or an edge on each line; see :func:`.map_rows`."""
    rows = map_rows(network_map, locate)
    head = json_line({"network": rows["network"], "when": rows["when"]})[:-1]
    nodes, edges = (",\n".join(map(json_line, rows[name])) for name in ("nodes", "edges"))
    return f'{head},\n"nodes":[\n{nodes}\n],\n"edges":[\n{edges}\n]}}\n'


def map_graphml(network_map: NetworkMap, locate: Locate | None = None) -> str:
    """Return a map as GraphML, which Gephi, networkx and rustworkx read. Nodes that only edges name have no data."""
    rows = _Named(network_map, locate)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        *(_key("node", name, kind) for name, kind in _NODE_KEYS.items()),
        *(_key("edge", name, kind) for name, kind in _EDGE_KEYS.items()),
        f'<graph id={quoteattr(shown(network_map.network))} edgedefault="directed">',
        *(f"<node id={quoteattr(name)}>{_data('node', _NODE_KEYS, row)}</node>" for name, row in rows.nodes.items()),
        *(
            f"<edge source={quoteattr(shown(row['from']))} target={quoteattr(shown(row['to']))}>"
            f"{_data('edge', _EDGE_KEYS, row)}</edge>"
            for row in rows.edges
        ),
        "</graph>",
        "</graphml>",
    ]
    return "\n".join(lines) + "\n"


def _key(kind: str, name: str, type: str) -> str:
    # Gephi wants ids that are different for nodes and edges
    return f'<key id="{kind[0]}_{name}" for="{kind}" attr.name="{name}" attr.type="{type}"/>'


def _data(kind: str, keys: Iterable[str], row: Mapping[str, Any]) -> str:
    known = ((name, row.get(name)) for name in keys)
    return "".join(
        f'<data key="{kind[0]}_{name}">{escape(_text(value))}</data>' for name, value in known if value is not None
    )


def map_dot(network_map: NetworkMap, locate: Locate | None = None) -> str:
    """Return a map for Graphviz. Edges are dashed where one end alone claims them; other than nodes are grey."""
    rows = _Named(network_map, locate)
    lines = [f"digraph {_quoted(network_map.network)} {{"]
    for name, row in rows.nodes.items():
        # an escape of DOT's own, which starts a line
        words = "\\n".join(_escaped(each) for each in (name, row.get("agent")) if each)
        grey = "" if row.get("reachable") else ", color=gray, fontcolor=gray"
        lines.append(f'  {_quoted(name)} [label="{words}"{grey}];')
    for row in rows.edges:
        style = "" if row["confirmed"] else " [style=dashed]"
        lines.append(f"  {_quoted(row['from'])} -> {_quoted(row['to'])}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _escaped(text: str) -> str:
    """A text between DOT's quotes, where backslashes escape, and labels have HTML's entities."""
    return shown(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text: str) -> str:
    """An identifier of DOT."""
    # labels alone have entities
    escaped = shown(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Named:
    """Rows of a map, its nodes by name; those too that only edges name.

    :ivar nodes: by ``HOST:PORT``.
    :ivar edges: all.
    """

    def __init__(self, network_map: NetworkMap, locate: Locate | None) -> None:
        self.edges = [edge_row(edge) for edge in network_map.edges]
        self.nodes: dict[str, dict[str, Any]] = {shown(node.name): node_row(node, locate) for node in network_map.nodes}
        for row in self.edges:
            for end in (row["from"], row["to"]):
                self.nodes.setdefault(shown(end), {})


def nodes_csv(network_map: NetworkMap, locate: Locate | None = None) -> str:
    """Return the nodes as CSV (RFC 4180), with a line of names. Texts cannot become formulas of a spreadsheet."""
    names = [name for name in _NODE_KEYS if locate is not None or name not in ("country", "asn", "org")]
    return _csv(names, (node_row(node, locate) for node in network_map.nodes))


def edges_csv(network_map: NetworkMap, locate: Locate | None = None) -> str:
    """Return the edges as CSV; see :func:`nodes_csv`."""
    return _csv(["from", "to", *_EDGE_KEYS], map(edge_row, network_map.edges))


def _csv(names: list[str], rows: Iterable[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return file.getvalue()


def _cell(value: object) -> object:
    """A cell: a text that begins like a formula gets an apostrophe, which spreadsheets take for "this is text"."""
    text = _text(value)
    # numbers are ours, and may be negative
    begins = isinstance(value, str) and (value.lstrip().startswith(_FORMULA) or value[:1] in ("\t", "\r", "\n"))
    return f"'{text}" if begins else text


def _text(value: object) -> str:
    """A value in formats that have but texts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, float):
        # seconds, never in exponents
        return f"{value:.3f}"
    return "" if value is None else shown(str(value))


FORMATS: dict[str, Callable[[NetworkMap, Locate | None], str]] = {
    "json": map_json,
    "graphml": map_graphml,
    "dot": map_dot,
    "nodes.csv": nodes_csv,
    "edges.csv": edges_csv,
}
"""Writers by the end of a file's name."""
