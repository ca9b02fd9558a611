"""Running the simulation of a seed, and looking at what is left of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.core.handshake import LIVE_NONCES
from txsoter.test.simulation.hosts import Deliberate, Host
from txsoter.test.simulation.protocols import ProtocolHost
from txsoter.test.simulation.scenario import Scenario

__all__ = ["Report", "run_seed"]

PLAIN = (str, bytes, int, float, Failure, type(LogLevel.info))
"""What an event of the log may keep."""


@attrs.frozen
class Report:
    """What a simulation was like.

    :ivar wrong: what should not have happened; empty when all is well.
    """

    seed: int
    wrong: list[str]
    digest: str
    seconds: float
    peers: int
    ready: int
    messages: int
    deferreds: int
    announced: int


def report_of(scenario: Scenario) -> Report:
    """What it was like."""
    sides = scenario.ledger.sides
    return Report(
        seed=scenario.seed,
        wrong=scenario.ledger.wrong,
        digest=scenario.network.digest,
        seconds=scenario.network.clock.seconds(),
        peers=len(sides),
        ready=sum(side.ready for side in sides),
        messages=sum(len(side.heard) for side in sides),
        deferreds=scenario.ledger.handed_out,
        announced=sum(kind == "announced" for side in sides for kind, _, _, _ in side.inventory),
    )


@contextmanager
def logged_errors(found: list[str]) -> Iterator[None]:
    """Notes what is logged as an error, but for what listeners raise because they are to."""

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        deliberate = failure is not None and failure.check(Deliberate) is not None
        if event["log_level"] in (LogLevel.error, LogLevel.critical) and not deliberate:
            found.append(f"was logged as an error: {event.get('log_format')} {failure and failure.value!r}")
        # until a program says where its log goes, Twisted keeps all events, and these would keep peers
        if failure is not None:
            failure.cleanFailure()
        for name, value in event.items():
            if not isinstance(value, PLAIN):
                event[name] = None

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)


def run_seed(
    seed: int,
    scale: int | None = None,
    flush: Callable[[], object] = lambda: None,
    make_host: type[Host] = ProtocolHost,
) -> Report:
    """Run the simulation of a seed, and check everything.

    :param flush: empties the log of errors that a test runner keeps.
    :param make_host: makes its hosts: with protocols as peers, or with cores.
    """
    nonces = len(LIVE_NONCES)
    errors: list[str] = []
    with logged_errors(errors):
        scenario = Scenario(seed, scale, make_host)
        raised = scenario.live()
        scenario.ledger.look()
        report = report_of(scenario)
        scenario.ledger.release()
        left = [*scenario.ledger.peers, weakref.ref(scenario.network), weakref.ref(scenario.network.clock)]
        del scenario
        flush()
        gc.collect()
        # what a Deferred says that nobody looked at, it says when it goes
        flush()
    report.wrong.extend(errors[:5])
    if raised:
        # in the middle of everything: of course there is something left
        return report
    referenced = [each for each in (ref() for ref in left) if each is not None]
    if referenced:
        report.wrong.append(f"still referenced: {len(referenced)} of {len(left)}, such as {referenced[0]!r}")
    if len(LIVE_NONCES) != nonces:
        report.wrong.append(f"{len(LIVE_NONCES) - nonces} nonces are remembered")
    return report
