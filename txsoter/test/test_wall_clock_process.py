"""``twistd soter`` while somebody sets the wall clock: a process of its own, over real sockets."""

from __future__ import annotations

import json
import re
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from txsoter import REGTEST, Listeners, PeerConfig, SoterPeerProtocol, connect
from txsoter.test.faked_time import FakedTime
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import TWISTD, Program

STEPS = (400, 86400, -3600, -86400)
"""Seconds by which the wall clock is set, one after the other; at first it is right."""

EACH = 4.0
"""Seconds between two steps: all that is to happen meanwhile must."""

OPTIONS = (
    *("--network", "regtest", "--listen", "tcp:0:interface=127.0.0.1", "--status", "tcp:0", "--outbound", "1"),
    *("--ping-interval", "1", "--idle-timeout", "10", "--negotiate-timeout", "2", "--allow-unroutable"),
)


class Silent(Protocol):
    """A remote that says nothing.

    :ivar ended: fires with the seconds that it was borne.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.ended: Deferred[float] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(time.monotonic() - self.began)


def asked(url: str) -> Any:
    with urlopen(f"{url}status.json", timeout=5) as answer:
        return json.load(answer)


@pytest.mark.faketime
@pytest.mark.parametrize("reactor", ["epoll", "asyncio"])
@over_sockets(90)
async def test_it_goes_on_as_before_whatever_the_wall_clock_shows(reactor: str, tmp_path: Path) -> None:
    """Pings come in time, silent remotes are closed in time, dialling goes on, and the page shows the same ages."""
    faked = FakedTime(tmp_path)
    pings: list[float] = []
    listeners = Listeners(on_ping=lambda peer, message: pings.append(time.monotonic()))
    config = PeerConfig(network=REGTEST, user_agent_name="dialler", listeners=listeners)
    twistd = (*TWISTD, "--nodaemon", "--reactor", reactor, "soter")
    arguments = ("--state", str(tmp_path / "state"), "--connect", "tcp:127.0.0.1:9:timeout=1")
    async with Program(*twistd, *OPTIONS, *arguments, folder=tmp_path, environment=faked.environment) as program:
        await program.says("to look at")
        host = re.search(r"listening on tcp:0\S*: (\S+)", program.out)
        page = re.search(r"status page at (\S+)", program.out)
        assert host is not None and page is not None
        endpoint = clientFromString(real_reactor(), f"tcp:{host[1]}")
        peer: SoterPeerProtocol = await connect(endpoint, config)
        began, offset, dials = time.monotonic(), 0, []
        here = "{0.host}:{0.port}".format(peer.transport.getHost())
        for step in (0, *STEPS):
            faked.step(step)
            offset += step
            dials.append(program.out.count("cannot connect to tcp:127.0.0.1:9"))
            silent = await connectProtocol(endpoint, Silent())
            new = await connect(endpoint, config)
            assert abs(new.stats().time_offset - offset) <= 2
            await deferLater(real_reactor(), EACH)
            seen = await deferToThread(asked, page[1])
            # the wall clock was really set, and the page shows it, but no other ages
            assert abs(seen["now"] - time.time() - offset) < 2
            [row] = [row for row in seen["peers"] if row["address"] == here]
            assert abs(seen["now"] - row["connected_at"] - (time.monotonic() - began)) < 1.5
            assert seen["dialled"][0]["state"] == "waiting"
            assert 1.5 < await silent.ended < 4
            await new.disconnect()
        assert peer.state.value == "ready"
        # who is not there is dialled on, after the clock was set back as well
        assert program.out.count("cannot connect to tcp:127.0.0.1:9") > dials[3] > dials[1]
        gaps = [later - earlier for earlier, later in pairwise(pings)]
        assert len(pings) > EACH * len(STEPS) and max(gaps) < 3
        program.signal(signal.SIGTERM)
        assert await program.ended().addTimeout(5, real_reactor()) == 0
        await peer.when_closed()
        assert "Traceback" not in program.out + program.err
