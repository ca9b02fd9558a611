"""What imports what: imports go one way, and the wire format knows nothing of Twisted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import TestCase

import txsoter
from txsoter.test.import_graph import Graph, circles, import_graph, modules_below

ROOT = Path(txsoter.__file__).parent

LOADED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted(sys.modules))
"""

ALONE = """
import importlib, json, os, sys
children = json.loads(sys.argv[1])
def visit(name):
    try:
        importlib.import_module(name)
        print(name, flush=True)
    except Exception as error:
        print(f"{name}: {error!r}", flush=True)
    for child in children.get(name, ()):
        forked = os.fork()
        if not forked:
            visit(child)
            os._exit(0)
        os.waitpid(forked, 0)
visit("txsoter")
"""
"""Imports each module in a process of its own, forked from one that has loaded one of the module's own imports.

Prints the names of those that could be.
"""

ALONE_WITHOUT = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from txsoter.chain import Dag, check_proof_of_work
from txsoter.errors import InvalidProof
try:
    check_proof_of_work(bytes(80), ())
except InvalidProof as error:
    print(error)
dag = Dag()
dag.add("g", ())
print(dag.soterd_order())
"""


def in_fresh_interpreter(script: str, *arguments: str) -> str:
    """What ``script`` prints. Nothing measures it, since that would load modules."""
    environment = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def children_by_import(graph: Graph) -> dict[str, list[str]]:
    """Return a tree of all modules below the package: each hangs on that of its imports which loads the most."""
    sizes = {name: len(closure(graph, name)) for name in graph}
    children: dict[str, list[str]] = {}
    for name in graph.keys() - {"txsoter"}:
        # its own submodules are loaded after it
        before = {each for each in graph[name] if not each.startswith(f"{name}.")} | {name.rpartition(".")[0]}
        parent = max(before, key=lambda each: (sizes[each], each))
        children.setdefault(parent, []).append(name)
    return children


def closure(graph: Graph, name: str) -> set[str]:
    """Return the modules that are loaded with one, packages of them left out."""
    found, waiting = {name}, [name]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


class ImportTests(TestCase):
    """Each in a fresh interpreter, where this one has loaded everything already."""

    def test_wire_networks_and_errors_do_without_twisted(self) -> None:
        loaded = in_fresh_interpreter(LOADED, "txsoter.wire", "txsoter.networks", "txsoter.errors").split()
        self.assertIn("txsoter.wire.framing", loaded)
        self.assertEqual([name for name in loaded if name.partition(".")[0] == "twisted"], [])

    def test_wire_networks_and_errors_do_without_the_layers_above(self) -> None:
        loaded = in_fresh_interpreter(LOADED, "txsoter.wire", "txsoter.networks", "txsoter.errors").split()
        ours = {name for name in loaded if name.partition(".")[0] == "txsoter"}
        below = ("txsoter.wire", "txsoter.networks", "txsoter.errors", "txsoter.ip")
        self.assertEqual({name for name in ours if not name.startswith(below)}, {"txsoter"})

    def test_every_module_imports_alone(self) -> None:
        """Whichever comes first: none relies on another having been imported before."""
        graph = import_graph(modules_below(ROOT), loaded_only=True)
        self.assertIn("txsoter.wire.codec", graph)
        imported = in_fresh_interpreter(ALONE, json.dumps(children_by_import(graph))).splitlines()
        self.assertEqual(set(imported) ^ set(graph), set())

    def test_nothing_is_loaded_in_circles(self) -> None:
        self.assertEqual(circles(import_graph(modules_below(ROOT), loaded_only=True)), [])

    def test_nothing_is_imported_in_circles(self) -> None:
        """Not for type checkers, nor inside of functions."""
        self.assertEqual(circles(import_graph(modules_below(ROOT))), [])

    def test_wire_imports_downwards_only(self) -> None:
        """``errors, ip -> wire -> networks -> core -> peer``: nothing of wire, ip or errors looks up."""
        graph = import_graph(modules_below(ROOT))
        self.assertGreater(len(graph), 100)
        below = ("txsoter.wire", "txsoter.errors", "txsoter.ip")
        for name, imported in graph.items():
            if name.startswith("txsoter.wire"):
                above = {each for each in imported if not each.startswith(below)}
                self.assertEqual(above, set(), name)
        self.assertEqual((graph["txsoter.errors"], graph["txsoter.ip"]), (frozenset(), frozenset()))

    def test_chain_imports_downwards_only_and_is_not_imported_from_below(self) -> None:
        """``errors, ip -> wire -> networks -> chain -> chain.light``, in functions, too; only the last knows peers."""
        below = ("txsoter.errors", "txsoter.ip", "txsoter.wire", "txsoter.networks")
        light = ("txsoter.clock", "txsoter.core", "txsoter.peer", "txsoter.service", "txsoter.state_file")
        for name, imported in import_graph(modules_below(ROOT)).items():
            chain = {each for each in imported if each.startswith("txsoter.chain")}
            if name.startswith("txsoter.chain.light"):
                above = {each for each in imported - chain if not each.startswith((*below, *light))}
                self.assertEqual(above, set(), name)
            elif name.startswith("txsoter.chain"):
                self.assertEqual({each for each in imported - chain if not each.startswith(below)}, set(), name)
                if name != "txsoter.chain":
                    self.assertEqual({each for each in chain if each.startswith("txsoter.chain.light")}, set(), name)
            elif name.startswith((*below, *light)):
                self.assertEqual(chain, set(), name)

    def test_chain_does_without_twisted_and_without_its_libraries_until_they_are_needed(self) -> None:
        loaded = in_fresh_interpreter(LOADED, "txsoter.chain").split()
        self.assertEqual([name for name in loaded if name.partition(".")[0] == "twisted"], [])
        self.assertEqual(in_fresh_interpreter(ALONE_WITHOUT, "siphash24", "mmh3"), "20 nonces: there are 0\n['g']\n")
