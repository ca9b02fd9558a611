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
        """``errors, ip -> wire -> networks -> peer``: nothing of wire, ip or errors looks up."""
        files = modules()
        known = set(files)
        for name, path in files.items():
            if name.startswith("txsoter.wire"):
                above = {
                    each
                    for each in imported(path, known)
                    if not each.startswith(("txsoter.wire", "txsoter.errors", "txsoter.ip"))
                }
                self.assertEqual(above, set(), name)
        for lowest in ("txsoter.errors", "txsoter.ip"):
            self.assertEqual(imported(files[lowest], known), set())
