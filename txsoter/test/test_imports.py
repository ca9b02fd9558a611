"""What imports what (DESIGN: imports go one way; the wire format knows nothing of Twisted)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from unittest import TestCase

import txsoter

ROOT = Path(txsoter.__file__).parent

LOADED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted(sys.modules))
"""

ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [each for each in sys.modules if each.partition(".")[0] == "txsoter"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name}: {error!r}")
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
    """What ``script`` prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def modules() -> dict[str, Path]:
    """Every module of txsoter but its tests, with its file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if "test" not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules of txsoter that ``path`` imports as it is loaded itself."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{each.name}" for each in node.names} & known
            names |= inner or {node.module}
    return names & known


def mentioned(path: Path) -> set[str]:
    """The modules that ``path`` imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


class ImportTests(TestCase):
    """Each in a fresh interpreter, where this one has loaded everything already."""

    def test_wire_networks_and_errors_do_without_twisted(self) -> None:
        loaded = in_fresh_interpreter(LOADED, "txsoter.wire", "txsoter.networks", "txsoter.errors").split()
        self.assertIn("txsoter.wire.framing", loaded)
        self.assertEqual([name for name in loaded if name.partition(".")[0] == "twisted"], [])

    def test_wire_networks_and_errors_do_without_the_layers_above(self) -> None:
        loaded = in_fresh_interpreter(LOADED, "txsoter.wire", "txsoter.networks", "txsoter.errors").split()
        ours = {name for name in loaded if name.partition(".")[0] == "txsoter"}
        below = ("txsoter.wire", "txsoter.networks", "txsoter.errors")
        self.assertEqual({name for name in ours if not name.startswith(below)}, {"txsoter"})

    def test_every_module_imports_alone(self) -> None:
        """Whichever comes first: none relies on another having been imported before."""
        names = modules()
        self.assertIn("txsoter.wire.codec", names)
        self.assertEqual(in_fresh_interpreter(ALONE, *names), "")

    def test_no_module_imports_itself_by_way_of_others(self) -> None:
        files = modules()
        known = set(files)
        waiting = {name: imported(path, known) - {name} for name, path in files.items()}
        while waiting:
            done = {name for name, needed in waiting.items() if not needed & waiting.keys()}
            self.assertTrue(done, f"a cycle among {sorted(waiting)}")
            waiting = {name: needed for name, needed in waiting.items() if name not in done}

    def test_wire_imports_downwards_only(self) -> None:
        """``errors, networks -> wire -> peer``: nothing of wire or errors looks up."""
        files = modules()
        known = set(files)
        for name, path in files.items():
            if name.startswith("txsoter.wire"):
                above = {
                    each for each in imported(path, known) if not each.startswith(("txsoter.wire", "txsoter.errors"))
                }
                self.assertEqual(above, set(), name)
        self.assertEqual(imported(files["txsoter.errors"], known), set())

    def test_chain_imports_downwards_only_and_is_not_imported_from_below(self) -> None:
        """``errors -> wire -> networks -> chain``, in functions, too."""
        files = modules()
        for name, path in files.items():
            used = {each for each in mentioned(path) if each.partition(".")[0] == "txsoter"}
            if name.startswith("txsoter.chain"):
                below = ("txsoter.errors", "txsoter.wire", "txsoter.networks", "txsoter.chain")
                self.assertEqual({each for each in used if not each.startswith(below)}, set(), name)
            elif name.startswith(("txsoter.errors", "txsoter.wire", "txsoter.networks")):
                self.assertEqual({each for each in used if each.startswith("txsoter.chain")}, set(), name)
        self.assertIn("txsoter.wire", mentioned(files["txsoter.chain.dag"]))

    def test_chain_does_without_twisted_and_without_its_libraries_until_they_are_needed(self) -> None:
        loaded = in_fresh_interpreter(LOADED, "txsoter.chain").split()
        self.assertEqual([name for name in loaded if name.partition(".")[0] == "twisted"], [])
        self.assertEqual(in_fresh_interpreter(ALONE_WITHOUT, "siphash24", "mmh3"), "20 nonces: there are 0\n['g']\n")
