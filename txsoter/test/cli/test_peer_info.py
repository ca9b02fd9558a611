"""``txsoter peer-info``, over real sockets."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from txsoter import SIMNET, PeerConfig, SoterPeerProtocol
from txsoter.cli.peer_info import EPILOG, peer_info
from txsoter.test.cli.support import assert_one_line, command, command_error, run_here
from txsoter.test.node import FakeNode, NodePort, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.wire import GetAddrCache, NetAddress, Services

INBOUND = NetAddress(Services.NETWORK | Services.WITNESS, "192.0.2.1", 18555, 1_700_000_000)
KNOWN = NetAddress(1 << 40, "2001:db8::1", 5070, 0)
NAMED = {"host": "192.0.2.1", "port": 18555, "services": 9, "service_names": ["network", "witness"]}


def answer(peer: SoterPeerProtocol, question: GetAddrCache) -> None:
    peer.push_address_cache([INBOUND], [], [KNOWN])


def node(**config: Any) -> FakeNode:
    return FakeNode(recorded(), hooks={"on_getaddrcache": answer}, **config)


@over_sockets()
async def test_table() -> None:
    """What a person wants to know, in columns; nothing on standard error without a terminal."""
    port = await node().listen(real_reactor())
    async with port, command("peer-info", f"127.0.0.1:{port.number}", "--network", "simnet") as program:
        assert await program.ended() == 0, program.err
    assert program.err == ""
    rows = dict(line.split("  ", 1) for line in program.out.partition("\n\n")[0].splitlines())
    said = {name: text.strip() for name, text in rows.items()}
    assert said["address"] == f"127.0.0.1:{port.number}"
    assert said["network"] == f"simnet, genesis {SIMNET.genesis_hash}"
    assert said["user agent"] == "/soterwire:0.6.0/fakenode:0.1.0/"
    assert (said["services"], said["height"]) == ("network,witness", "50")
    assert said["version"] == "70013, negotiated 70013"
    assert said["pings"].count(" ms") == 3
    assert said["addresses"] == "1 inbound, 0 outbound, 1 known"
    assert program.out.partition("\n\n")[2].splitlines() == [
        "LIST     ADDRESS             SERVICES         LAST SEEN",
        "inbound  192.0.2.1:18555     network,witness  2023-11-14T22:13:20Z",
        "known    [2001:db8::1]:5070  0x10000000000    1970-01-01T00:00:00Z",
    ]


@over_sockets()
async def test_json() -> None:
    """Everything that the version and the addrcache say, under the keys that --help names."""
    served = node(user_agent_comments=["caf\N{LATIN SMALL LETTER E WITH ACUTE}"])
    async with await served.listen(real_reactor()) as port:
        status, out, err = await run_here(peer_info, "peer-info", port.endpoint, "--json", "--pings", "2")
        (version,) = served.versions
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found["endpoint"] == port.endpoint
    assert found["address"] == f"127.0.0.1:{port.number}"
    assert (found["network"], found["genesis_hash"]) == ("simnet", str(SIMNET.genesis_hash))
    assert (found["protocol_version"], found["negotiated_version"]) == (70013, 70013)
    assert (found["services"], found["service_names"]) == (9, ["network", "witness"])
    assert found["user_agent"] == "/soterwire:0.6.0/fakenode:0.1.0(caf\N{LATIN SMALL LETTER E WITH ACUTE})/"
    assert (found["height"], found["relay"]) == (50, True)
    assert abs(found["clock_offset"]) <= 1
    assert found["addr_you"]["host"] == "127.0.0.1"
    assert len(found["pings"]) == 2
    assert all(0 < each < 20 for each in [*found["pings"], found["connect_seconds"]])
    assert found["addresses"]["inbound"] == [{**NAMED, "last_seen": "2023-11-14T22:13:20Z"}]
    assert found["addresses"]["outbound"] == []
    assert [each["service_names"] for each in found["addresses"]["known"]] == [["0x10000000000"]]
    assert (found["ping_error"], found["addresses_error"]) == (None, None)
    words = set(re.findall(r"\w+", EPILOG))
    assert set(found) | set(found["addr_you"]) | set(found["addresses"]) | {"last_seen"} <= words
    # we want no transactions, and say so
    assert not version.relay


@over_sockets()
async def test_hostile_texts_cannot_reach_the_terminal() -> None:
    """Escape sequences of a user agent are left out of the table, and escaped in JSON."""

    class Hostile(SoterPeerProtocol):
        def __init__(self, config: PeerConfig, inbound: bool) -> None:
            agent = b"/evil:1.0.0/\x1b[2J\x07\xff" + "\N{RIGHT-TO-LEFT OVERRIDE}".encode()
            object.__setattr__(config, "user_agent", agent)
            super().__init__(config, inbound)

    served = node()
    served.factory._protocol_class = Hostile
    async with await served.listen(real_reactor()) as port:
        _, table, _ = await run_here(peer_info, "peer-info", port.endpoint)
        _, document, _ = await run_here(peer_info, "peer-info", port.endpoint, "--json")
    assert "/evil:1.0.0/[2J" in table
    for out in (table, document):
        assert out.replace("\n", "").isprintable()
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in out
    assert json.loads(document)["user_agent"] == "/evil:1.0.0/\x1b[2J\x07\\xff\N{RIGHT-TO-LEFT OVERRIDE}"


@over_sockets()
async def test_what_is_not_answered_is_said() -> None:
    """No pong and no addrcache: that is part of the report, and no error."""
    served = FakeNode(recorded(), answer_pings=False)
    async with await served.listen(real_reactor()) as port:
        _, out, _ = await run_here(peer_info, "peer-info", port.endpoint, "--timeout", "0.3")
        _, document, _ = await run_here(peer_info, "peer-info", port.endpoint, "--timeout", "0.3", "--json")
    assert out.count("within 0.3 s") == 2, out
    found = json.loads(document)
    assert (found["pings"], found["addresses"]) == ([], None)
    assert "0.3 s" in found["ping_error"]
    assert "0.3 s" in found["addresses_error"]


@over_sockets()
async def test_the_cache_is_not_asked_for() -> None:
    """Over IPv6, where a soterd would list our address, and die of it; and with --no-addresses."""
    asked = []
    served = FakeNode(recorded(), hooks={"on_getaddrcache": lambda peer, question: asked.append(question)})
    try:
        listening = await TCP6ServerEndpoint(real_reactor(), 0, interface="::1").listen(served.factory)
    except OSError:
        pytest.skip("no IPv6 here")
    async with NodePort(served, listening) as port:
        _, out, _ = await run_here(peer_info, "peer-info", f"[::1]:{port.number}")
    assert "not asked for over IPv6" in out
    async with await served.listen(real_reactor()) as port:
        _, out, _ = await run_here(peer_info, "peer-info", port.endpoint, "--no-addresses")
    assert "addresses     not asked for\n" in out
    assert asked == []


@over_sockets()
async def test_no_node_is_one_line() -> None:
    """Refused, silent, or of another network."""
    silent: Any = await TCP4ServerEndpoint(real_reactor(), 0, interface="127.0.0.1").listen(
        Factory.forProtocol(Protocol)
    )
    place = f"127.0.0.1:{silent.getHost().port}"
    late = await command_error(peer_info, "peer-info", place, "--timeout", "0.2")
    assert late == f"{place}: not connected within 0.2 seconds"
    await silent.stopListening()
    async with command("peer-info", place, "--network", "simnet") as program:
        await program.ended()
        assert_one_line(program, f"txsoter peer-info: {place}: ", "refused")
    async with command("peer-info", "carrier-pigeon:1:2") as program:
        await program.ended()
        assert_one_line(program, "carrier-pigeon:1:2: must be HOST, HOST:PORT, or a Twisted endpoint", status=2)
    async with await node().listen(real_reactor()) as port, command("peer-info", port.endpoint) as program:
        await program.ended()
        assert_one_line(program, port.endpoint, "closed by the remote")


@over_sockets()
async def test_interrupted() -> None:
    """Ctrl-C while it waits: quiet, status 130; on a terminal there is progress before."""
    served = FakeNode(recorded())
    arguments = ("peer-info", "--network", "simnet")
    async with await served.listen(real_reactor()) as port, command(*arguments, port.endpoint, tty=True) as program:
        await program.says("waiting for its addresses")
        (peer,) = served.peers
        program.signal(signal.SIGINT)
        await peer.when_closed()
        assert await program.ended() == 130
        assert "Traceback" not in program.out
