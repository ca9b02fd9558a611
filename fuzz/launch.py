"""Runs a target under atheris, which is imported here and nowhere else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from twisted.logger import LimitedHistoryLogObserver, globalLogBeginner

__all__ = ["launch"]


def launch(script: str) -> None:
    """Fuzz the target in the file ``script`` with the command line's arguments, which libFuzzer reads."""
    atheris = importlib.import_module("atheris")
    name, folder = Path(script).stem, Path(script).parent
    ours = ["txsoter", *(path.stem for path in folder.glob("*.py"))]
    # loaded once more, by atheris, which counts what is reached in them
    for each in [each for each in sys.modules if each.partition(".")[0] in ours]:
        del sys.modules[each]
    with atheris.instrument_imports(include=["txsoter"]):
        target = importlib.import_module(name)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        changed: bytes = target.mutated(data, max_size, seed, target.SETTINGS, target.KINDS, atheris.Mutate)
        return changed

    # a log that keeps what it is told, as Twisted's first one does, but prints nothing
    globalLogBeginner.beginLoggingTo([LimitedHistoryLogObserver(100)], discardBuffer=True, redirectStandardIO=False)
    atheris.Setup(sys.argv, target.one_input, custom_mutator=mutate)
    atheris.Fuzz()
