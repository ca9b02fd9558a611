"""Two thousand live connections, rogues among them, and ten thousand in a row: nothing is left of them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import deferLater

from txsoter.core.state import State
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.soak.crowd import Crowd, Traces
from txsoter.test.soak.rogues import Rogue

MIB = 1024 * 1024


async def warm_up(reactor: Any) -> None:
    crowd = Crowd(reactor)
    await crowd.open()
    await crowd.gather(2)
    await crowd.close()
    await deferLater(reactor, 0.1)


async def load(count: int, seconds: float, patience: float) -> dict[str, Any]:
    """``count`` connections for so long, 5 % of them rogues; figures."""
    reactor = real_reactor()
    # the first listening and the first connection open descriptors that the reactor keeps
    await warm_up(reactor)
    before = Traces.now(reactor)
    crowd = Crowd(reactor)
    await crowd.open()
    rogues = count // 20
    await crowd.gather(count - rogues)
    crowd.misbehave(rogues, patience)
    figures: dict[str, Any] = await crowd.talk(seconds)
    during = Traces.now(reactor)
    states = {peer.state for peer in crowd.dialled}
    differences = crowd.differences()
    figures |= {"connections": len(crowd.server.peers), "closes": dict(crowd.closes)}
    await crowd.close()
    # sockets are closed at the reactor's next turns
    await deferLater(reactor, 0.2)
    assert (states, differences) == ({State.READY}, [])
    assert (len(crowd.server.peers), len(crowd.clients.peers)) == (0, 0)
    del crowd
    after = Traces.now(reactor)
    figures |= {"before": before, "during": during, "after": after}
    return figures


def assert_nothing_left(before: Traces, after: Traces, growth: int) -> None:
    assert (after.files, after.timers) == (before.files, before.timers)
    # what pytest and this test itself hold
    assert after.peers <= before.peers + 5
    assert after.resident - before.resident < growth


@over_sockets(60)
async def test_a_hundred_connections_for_two_seconds() -> None:
    """The soak test's little brother, so that it works when it is wanted."""
    figures = await load(100, 2, patience=1)
    assert figures["pings"] > 50
    assert_nothing_left(figures["before"], figures["after"], 32 * MIB)


@pytest.mark.soak
@over_sockets(600)
async def test_two_thousand_connections_for_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    figures = await load(2000, 60, patience=40)
    with capsys.disabled():
        print()
        for name, value in figures.items():
            print(f"  {name}: {round(value, 2) if isinstance(value, float) else value}")
    assert figures["pings"] > 1900 * 60 / 2 * 0.8
    assert figures["p99 ms"] < 2000
    expected = {"NEGOTIATION_TIMEOUT", "MALFORMED", "DUPLICATE_VERSION", "VERSION_EXPECTED", "CONNECTION_LOST"}
    assert expected <= figures["closes"].keys()
    assert sum(figures["closes"].values()) > len(Rogue.KINDS)
    assert_nothing_left(figures["before"], figures["after"], 64 * MIB)


@pytest.mark.soak
@over_sockets(600)
async def test_ten_thousand_connections_in_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    reactor = real_reactor()
    crowd = Crowd(reactor)
    await crowd.open()

    async def one() -> None:
        peer = await crowd.dial()
        await peer.disconnect()

    traces = []
    for _ in range(6):
        await crowd.many(2000, one)
        await deferLater(reactor, 0.2)
        traces.append(Traces.now(reactor))
    await crowd.close()
    with capsys.disabled():
        print()
        for trace in traces:
            print(f"  {trace}")
    # the first two thousand have warmed everything up
    assert_nothing_left(traces[0], traces[-1], 4 * MIB)
