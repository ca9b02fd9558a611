"""What must hold in every network, tried in hundreds of them.

A failure names its seed. To run that one alone, with all that it does the same to the byte::

    SIMULATION_SEED=1234 pytest txsoter/test/simulation

The long version runs the seeds from 0 on, or others::

    SIMULATION_SEEDS=5000 pytest -m soak txsoter/test/simulation
    SIMULATION_SEEDS=5000:9000 pytest -m soak txsoter/test/simulation
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import process_time
from typing import Any
from unittest.mock import patch

import pytest

from txsoter.core import deadlines, handshake, rules
from txsoter.core.events import FLUSH
from txsoter.core.handshake import LiveNonces
from txsoter.core.inventory import KnownInventory, TrickleQueue
from txsoter.core.memory_budget import MemoryBudget
from txsoter.core.reader import Reader
from txsoter.core.requests import Requests
from txsoter.core.send_queue import SendQueue
from txsoter.peer.factory import SoterFactory
from txsoter.peer.wakeup import Wakeup
from txsoter.test.peer.support import TrialCase
from txsoter.test.simulation import running
from txsoter.test.simulation.cores import CoreHost
from txsoter.test.simulation.hosts import Deliberate, Host
from txsoter.test.simulation.protocols import ProtocolHost
from txsoter.test.simulation.running import Report, run_seed
from txsoter.test.test_imports import in_fresh_interpreter
from txsoter.wire import Message, Tx

SEED = os.environ.get("SIMULATION_SEED")
SEEDS = os.environ.get("SIMULATION_SEEDS", "5000")

DIGESTS = """
import sys
from txsoter.test.simulation.cores import CoreHost
from txsoter.test.simulation.running import run_seed
# other objects at other addresses
junk = [object() for _ in range(hash("soter") % 10_000)]
print(*[run_seed(int(seed)).digest for seed in sys.argv[1:]])
print(*[run_seed(int(seed), make_host=CoreHost).digest for seed in sys.argv[1:]])
"""


@contextmanager
def what_is_broken(owner: object, name: str, instead: object) -> Iterator[None]:
    """Replace one part. Nonces that a broken network leaves behind must not become another test's."""
    nonces = LiveNonces()
    with (
        patch.object(owner, name, instead),
        patch.object(rules, "LIVE_NONCES", nonces),
        patch.object(handshake, "LIVE_NONCES", nonces),
        patch.object(running, "LIVE_NONCES", nonces),
    ):
        yield


def trouble(report: Report) -> str:
    """What is wrong, and how to see it again."""
    lines = [f"seed {report.seed}: SIMULATION_SEED={report.seed} pytest {os.path.relpath(os.path.dirname(__file__))}"]
    return "\n  ".join([*lines, *report.wrong])


def run_seeds(
    seeds: Iterable[int],
    flush: Callable[[], object] = lambda: None,
    most: int = 3,
    until: str | None = None,
    make_host: type[Host] = ProtocolHost,
) -> tuple[list[Report], list[str]]:
    """Run simulations, until as many as ``most`` have failed, or one with ``until`` among what is wrong.

    :return: what they were like, and the troubles of those that failed.
    """
    reports: list[Report] = []
    troubles: list[str] = []
    gc.collect()
    # what is there already is not looked through after each of them
    gc.freeze()
    try:
        for seed in seeds:
            report = run_seed(seed, flush=flush, make_host=make_host)
            reports.append(report)
            if report.wrong:
                troubles.append(trouble(report))
                if len(troubles) == most or (until is not None and until in troubles[-1]):
                    break
    finally:
        gc.unfreeze()
    return reports, troubles


class SimulationTests(TrialCase):
    """Properties of all networks; ``properties.py`` has them one by one."""

    def flush(self) -> None:
        """Forget what listeners that are to fail have logged."""
        self.flushLoggedErrors(Deliberate)

    def assert_all_is_well(self, seeds: Iterable[int], make_host: type[Host] = ProtocolHost) -> list[Report]:
        """Run simulations in which nothing may be wrong."""
        reports, troubles = run_seeds(seeds, self.flush, make_host=make_host)
        self.assertEqual(troubles, [], "\n".join(troubles))
        return reports

    def assert_these_are_well(self, seeds: range, make_host: type[Host]) -> None:
        """Nothing is lost or changed, everything fires, nothing is left, nothing is told twice, nothing grows."""
        reports = self.assert_all_is_well(seeds if SEED is None else [int(SEED)], make_host)
        if SEED is None:
            # they are no empty ones
            self.assertGreater(sum(report.messages for report in reports), 45_000)
            self.assertGreater(sum(report.announced for report in reports), 20_000)
            self.assertGreater(sum(report.deferreds for report in reports), 20_000)

    # two hundred of each kind, in parts that can be run side by side

    def test_a_hundred_networks(self) -> None:
        self.assert_these_are_well(range(100), ProtocolHost)

    def test_another_hundred_networks(self) -> None:
        self.assert_these_are_well(range(100, 200), ProtocolHost)

    def test_a_hundred_networks_of_cores(self) -> None:
        self.assert_these_are_well(range(100), CoreHost)

    def test_another_hundred_networks_of_cores(self) -> None:
        self.assert_these_are_well(range(100, 200), CoreHost)

    def test_hundreds_of_peers_in_one_network(self) -> None:
        report = run_seed(1, 50, self.flush)
        self.assertEqual(report.wrong, [], trouble(report))
        self.assertGreater(report.ready, 150)

    def test_what_is_broken_is_found(self) -> None:
        """Each property fails when what it is about is broken, and says which seed it was."""
        put, read = SendQueue.put, Reader.read

        def lossy(queue: SendQueue, frame: bytes, message: Message, token: Any) -> None:
            if not isinstance(message, Tx):
                put(queue, frame, message, token)
            elif token is not None:
                queue.untold.append(token)

        def deaf(reader: Reader) -> object:
            found = read(reader)
            return read(reader) if isinstance(found, tuple) and isinstance(found[1], Tx) else found

        def nothing(*_: object) -> None: ...

        def nobody(*_: object) -> list[object]:
            return []

        for broken, name, instead, words in (
            (SendQueue, "put", lossy, "wrote other messages than it was told to send"),
            (Reader, "read", deaf, "read other messages than were delivered to it"),
            (KnownInventory, "add", nothing, "which the remote is known to have"),
            (TrickleQueue, "append", nothing, "never announced"),
            (Requests, "close", nobody, "has not fired when all connections have ended: request"),
            (Wakeup, "stop", nothing, "is left when all connections have ended: <DelayedCall"),
            (Wakeup, "update", nothing, "messages that were delivered to it"),
            (SoterFactory, "forget", nothing, "the factory remembers it"),
            (MemoryBudget, "account", nothing, "and has accounted for 0"),
            (deadlines, "ABORT", FLUSH, "still waiting"),
        ):
            with what_is_broken(broken, name, instead):
                reports, troubles = run_seeds(range(40), self.flushLoggedErrors, most=8, until=words)
            self.assertIn(words, "\n".join(troubles), f"{broken.__name__}.{name}")
            self.assertIn(f"SIMULATION_SEED={reports[-1].seed} pytest ", troubles[-1])

    def test_what_is_broken_is_found_without_transports_too(self) -> None:
        def nobody(*_: object) -> list[object]:
            return []

        for broken, name, instead, words in (
            (KnownInventory, "add", lambda *_: None, "which the remote is known to have"),
            (Requests, "close", nobody, "has not fired when all connections have ended: request"),
            (MemoryBudget, "account", lambda *_: None, "and has accounted for 0"),
            (deadlines, "ABORT", FLUSH, "still waiting"),
        ):
            with what_is_broken(broken, name, instead):
                _, troubles = run_seeds(range(80), most=8, until=words, make_host=CoreHost)
            self.assertIn(words, "\n".join(troubles), f"{broken.__name__}.{name}")

    def test_a_seed_says_everything(self) -> None:
        """Neither the run before nor addresses nor the order of sets makes a difference."""
        seeds = [3, 4, 5, 6]
        here = [run_seed(seed, flush=self.flush).digest for seed in reversed(seeds)][::-1]
        here += [run_seed(seed, make_host=CoreHost).digest for seed in seeds]
        there = in_fresh_interpreter(DIGESTS, *map(str, seeds)).split()
        self.assertEqual(here, there)
        self.assertEqual(len({*here}), 2 * len(seeds))


@pytest.mark.soak
@pytest.mark.parametrize("make_host", [ProtocolHost, CoreHost])
def test_thousands_of_networks(make_host: type[Host], capsys: pytest.CaptureFixture[str]) -> None:
    first, _, last = SEEDS.rpartition(":")
    start = process_time()
    reports, troubles = run_seeds(range(int(first or 0), int(last)), make_host=make_host)
    with capsys.disabled():
        print(
            f"\n  {len(reports)} networks, {sum(each.peers for each in reports)} peers,"
            f" {sum(each.messages for each in reports)} messages, {sum(each.announced for each in reports)} announced,"
            f" {sum(each.deferreds for each in reports)} Deferreds,"
            f" {sum(each.seconds for each in reports) / 3600:.0f} hours in {process_time() - start:.0f} s"
        )
    assert not troubles, "\n".join(troubles)
