"""Another implementation, in a process of its own, that measures the same frames in the same run.

It is a program of the user's that reads one command a line, and answers each by a line of JSON:

- ``decode FILE ENCODING COUNT``: decode the frame in ``FILE`` so many times, checksum and all;
- ``encode FILE ENCODING COUNT``: encode what that frame holds, from its own objects, so many times.

``ENCODING`` is ``base`` or ``witness``; the answer is ``{"us": ...}``, microseconds a time, or ``{"error": "..."}``.
It ends when its standard input does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.children import Child
from txsoter.wire import Encoding

__all__ = ["Reference"]


class Reference:
    """The running program.

    :param child: its process.
    :param folder: for the frames.
    """

    def __init__(self, child: Child, folder: Path) -> None:
        self._child = child
        self._folder = folder

    def case(self, what: str, frame: bytes, encoding: Encoding, budget: float) -> Callable[[], Mapping[str, float]]:
        """A case for :func:`~benchmarks.measure.interleave`.

        :param what: ``decode`` or ``encode``.
        :param budget: seconds for one run.
        """
        file = self._folder / f"{len(list(self._folder.iterdir()))}.frame"
        file.write_bytes(frame)
        times = 0

        def run() -> Mapping[str, float]:
            nonlocal times
            if not times:
                # the second time, for the first has to read the file
                for _ in range(2):
                    one: float = self._child.ask(what, file, encoding.name.lower(), 1)["us"]
                times = max(1, int(budget * 1e6 / max(one, 0.1)))
            return self._child.ask(what, file, encoding.name.lower(), times)

        return run
