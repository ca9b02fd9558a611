"""Tests of :mod:`txsoter.crawl.map_formats` and :mod:`txsoter.crawl.map_rows`."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any
from unittest import TestCase
from xml.etree import ElementTree

from txsoter.crawl.map_formats import FORMATS, edges_csv, json_line, map_dot, map_graphml, map_json, nodes_csv
from txsoter.crawl.map_rows import changes
from txsoter.crawl.network_map import FROM, NodeKind
from txsoter.test.crawl.maps import HOSTILE, NOW, edge, node, the_map

ONE, TWO, SIX = "203.0.113.1:5069", "203.0.113.2:5069", "[2001:db8::6]:5069"
SMALL = the_map(
    [
        node(1),
        node(2, kind=NodeKind.DOWN, height=None, services=1 << 63, good=False, reason="refused"),
        node(0, host="2001:db8::6"),
    ],
    [edge(ONE, TWO), edge(SIX, ONE, frozenset({FROM})), edge("198.51.100.9:50123", ONE, unmatched=True)],
)
BAD = the_map(
    [node(number, user_agent=agent, reason=agent) for number, agent in enumerate(HOSTILE)],
    [edge(ONE, f'x"\\{agent}') for agent in HOSTILE],
)
NAMESPACE = "{http://graphml.graphdrawing.org/xmlns}"


def located(host: str) -> dict[str, Any]:
    return {"country": "=PT", "asn": 64500, "org": '=cmd|"/C calc"!A0 <&>'}


class JsonTests(TestCase):
    def test_what_outside_checks_read(self) -> None:
        rows = json.loads(map_json(SMALL))
        self.assertEqual([(each["address"], each["port"], each["reachable"]) for each in rows["nodes"]], [
            ("203.0.113.1", 5069, True), ("203.0.113.2", 5069, False), ("2001:db8::6", 5069, True),
        ])  # fmt: skip
        edges = [(each["from"], each["to"], each["claimed_by"], each["unmatched"]) for each in rows["edges"]]
        self.assertEqual(edges, [
            (ONE, TWO, ["from", "to"], False),
            (SIX, ONE, ["from"], False),
            ("198.51.100.9:50123", ONE, ["from", "to"], True),
        ])  # fmt: skip
        self.assertEqual((rows["network"], rows["when"]), ("simnet", NOW))

    def test_rows_as_bitnodes_has_them_and_evidence(self) -> None:
        row = json.loads(map_json(SMALL, located))["nodes"][0]
        self.assertEqual(
            row,
            {
                "address": "203.0.113.1",
                "port": 5069,
                "reachable": True,
                "kind": "reachable",
                "version": 70013,
                "agent": "/soterwire:0.6.0/soterd:4.2.0/",
                "connected_since": NOW - 7200,
                "services": 73,
                "service_names": ["network", "witness", "cf"],
                "height": 412861,
                **located(""),
                "first_seen": NOW - 86400,
                "last_seen": NOW - 10,
                "last_attempt": NOW - 10,
                "last_success": NOW - 10,
                "latency": 0.125,
                "reliability": {"2h": 0.75},
                "good": True,
                "alias_of": None,
                "sources": 3,
                "reason": "",
            },
        )

    def test_texts_survive_and_are_ascii_without_markup(self) -> None:
        text = map_json(BAD)
        self.assertEqual([each["agent"] for each in json.loads(text)["nodes"]], list(HOSTILE))
        self.assertTrue(text.isascii())
        self.assertNotRegex(text, r"[<>&\x00-\x09\x0b-\x1f\x7f]")

    def test_a_node_or_an_edge_on_each_line(self) -> None:
        self.assertEqual(map_json(BAD).count("\n"), 2 * len(HOSTILE) + 5)

    def test_an_empty_map(self) -> None:
        for write in FORMATS.values():
            self.assertTrue(write(the_map([]), None))
        self.assertEqual(json.loads(map_json(the_map([])))["nodes"], [])


class GraphmlTests(TestCase):
    def read(self, text: str) -> tuple[dict[str, dict[str, str]], list[tuple[str, str, dict[str, str]]]]:
        (graph,) = ElementTree.fromstring(text.encode()).iter(f"{NAMESPACE}graph")

        def data(element: ElementTree.Element) -> dict[str, str]:
            return {str(each.get("key")): each.text or "" for each in element}

        nodes = {str(each.get("id")): data(each) for each in graph.iter(f"{NAMESPACE}node")}
        edges = [
            (str(each.get("source")), str(each.get("target")), data(each)) for each in graph.iter(f"{NAMESPACE}edge")
        ]
        return nodes, edges

    def test_nodes_and_edges(self) -> None:
        nodes, edges = self.read(map_graphml(SMALL))
        self.assertEqual(list(nodes), [ONE, TWO, SIX, "198.51.100.9:50123"])
        self.assertEqual(nodes[TWO]["n_services"], str(1 << 63))
        self.assertEqual((nodes[ONE]["n_reachable"], nodes[TWO]["n_reachable"]), ("true", "false"))
        self.assertNotIn("n_height", nodes[TWO])
        self.assertEqual(nodes["198.51.100.9:50123"], {})
        self.assertEqual([each[:2] for each in edges], [(ONE, TWO), (SIX, ONE), ("198.51.100.9:50123", ONE)])
        self.assertEqual(edges[0][2]["e_claimed_by"], "from to")

    def test_keys_are_declared(self) -> None:
        text = map_graphml(SMALL, located)
        declared = set(re.findall(r'<key id="(\w+)"', text))
        self.assertLessEqual(set(re.findall(r'<data key="(\w+)"', text)), declared)
        self.assertIn("n_asn", declared)

    def test_texts_of_remotes_stay_texts(self) -> None:
        nodes, edges = self.read(map_graphml(BAD, located))
        self.assertEqual(len(nodes), 2 * len(HOSTILE))
        self.assertEqual(len(edges), len(HOSTILE))
        agents = [nodes[each.name]["n_agent"] for each in BAD.nodes]
        self.assertEqual(agents[HOSTILE.index("+1+1")], "+1+1")
        self.assertIn("</data></node><script>alert(1)</script>", agents)
        self.assertTrue(all(each.isprintable() and len(each) <= 250 for each in agents))

    def test_rustworkx_reads_it(self) -> None:
        import tempfile
        from pathlib import Path

        import rustworkx

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "map.graphml"
            path.write_text(map_graphml(BAD), encoding="utf-8")
            (graph,) = rustworkx.read_graphml(str(path))
        self.assertEqual((graph.num_nodes(), graph.num_edges()), (2 * len(HOSTILE), len(HOSTILE)))


class DotTests(TestCase):
    STRING = r'"(?:[^"\\\n]|\\.)*"'

    def test_every_line_is_a_statement(self) -> None:
        for text in (map_dot(SMALL), map_dot(BAD)):
            first, *lines, last = text.splitlines()
            self.assertRegex(first, rf"^digraph {self.STRING} {{$")
            self.assertEqual(last, "}")
            for line in lines:
                node = rf"  {self.STRING} \[label={self.STRING}(, color=gray, fontcolor=gray)?\];"
                self.assertRegex(line, rf"^({node}|  {self.STRING} -> {self.STRING}( \[style=dashed\])?;)$")
            self.assertTrue(text.replace("\n", "").isprintable())

    def test_content(self) -> None:
        lines = map_dot(SMALL).splitlines()
        self.assertIn(f'  "{ONE}" -> "{TWO}";', lines)
        self.assertIn(f'  "{SIX}" -> "{ONE}" [style=dashed];', lines)
        self.assertIn(rf'  "{ONE}" [label="{ONE}\n/soterwire:0.6.0/soterd:4.2.0/"];', lines)
        self.assertIn('  "198.51.100.9:50123" [label="198.51.100.9:50123", color=gray, fontcolor=gray];', lines)

    def test_backslashes_and_entities_are_letters(self) -> None:
        text = map_dot(the_map([node(1, user_agent=r"\N &lt;")]))
        self.assertIn(r"\\N &amp;lt;", text)


class CsvTests(TestCase):
    def test_nodes(self) -> None:
        rows = list(csv.DictReader(io.StringIO(nodes_csv(SMALL))))
        self.assertEqual([row["address"] for row in rows], ["203.0.113.1", "203.0.113.2", "2001:db8::6"])
        self.assertEqual((rows[1]["height"], rows[1]["services"], rows[1]["reachable"]), ("", str(1 << 63), "false"))
        self.assertEqual(rows[0]["connected_since"], f"{NOW - 7200:.3f}")
        self.assertNotIn("asn", rows[0])
        self.assertIn("asn", next(csv.DictReader(io.StringIO(nodes_csv(SMALL, located)))))

    def test_edges(self) -> None:
        rows = list(csv.DictReader(io.StringIO(edges_csv(SMALL))))
        self.assertEqual((rows[0]["from"], rows[0]["to"], rows[0]["claimed_by"]), (ONE, TWO, "from to"))
        self.assertEqual(rows[2]["unmatched"], "true")

    def test_no_cell_becomes_a_formula_or_another_cell(self) -> None:
        """Of whatever a remote or a data base says; and each stays one line."""
        text = nodes_csv(BAD, located)
        self.assertEqual(text.count("\n"), 1 + len(HOSTILE))
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                self.assertNotRegex(cell, r"^\s*[=+\-@|%\uff1d\t\r\n]")
                self.assertTrue(cell.isprintable())
        agents = [row["agent"] for row in csv.DictReader(io.StringIO(text))]
        self.assertEqual(agents[1], "'+1+1")
        self.assertEqual(agents[HOSTILE.index("' quote ' and , comma")], "' quote ' and , comma")

    def test_negative_numbers_are_numbers(self) -> None:
        rows = list(csv.DictReader(io.StringIO(nodes_csv(the_map([node(1, height=-1)])))))
        self.assertEqual(rows[0]["height"], "-1")


class ChangesTests(TestCase):
    def said(self, before: Any, after: Any) -> list[tuple[str, str, str]]:
        found = []
        for change in changes(before, after):
            name = f"{change['address']}" if change["what"] == "node" else f"{change['from']} {change['to']}"
            found.append((change["change"], change["what"], name))
        return found

    def test_everything_at_first(self) -> None:
        self.assertEqual(len(self.said(None, SMALL)), 6)
        self.assertEqual({each[0] for each in self.said(None, SMALL)}, {"added"})

    def test_nothing_when_nodes_were_only_visited_again(self) -> None:
        after = the_map(
            [node(1, last_seen=NOW + 60, last_success=NOW + 60, latency=0.2, sources=9)], [edge(ONE, TWO)], NOW + 60
        )
        before = the_map([node(1)], [edge(ONE, TWO)])
        self.assertEqual(self.said(before, after), [])

    def test_what_changed(self) -> None:
        before = the_map([node(1), node(2)], [edge(ONE, TWO, frozenset({FROM})), edge(TWO, ONE)])
        after = the_map([node(2, height=412_862), node(3)], [edge(ONE, TWO), edge(SIX, ONE)], NOW + 5)
        self.assertEqual(
            self.said(before, after),
            [
                ("changed", "node", "203.0.113.2"),
                ("added", "node", "203.0.113.3"),
                ("removed", "node", "203.0.113.1"),
                ("changed", "edge", f"{ONE} {TWO}"),
                ("added", "edge", f"{SIX} {ONE}"),
                ("removed", "edge", f"{TWO} {ONE}"),
            ],
        )
        self.assertEqual({change["when"] for change in changes(before, after)}, {NOW + 5})

    def test_lines(self) -> None:
        for change in changes(None, BAD):
            line = json_line(change)
            self.assertEqual(json.loads(line), change)
            self.assertNotRegex(line, r"[<>&\n\r]")
