"""examples/proxy.py, through a SOCKS5 proxy, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString

from txsoter import SIMNET, CloseCause, PeerConfig, connect
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.socks import Socks
from txsoter.test.test_examples import assert_one_line, example


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[tuple[Socks, int]]:
    """A SOCKS5 proxy on loopback, and its port."""
    socks = Socks(real_reactor(), target)
    port = await TCP4ServerEndpoint(real_reactor(), 0, interface="127.0.0.1").listen(socks)
    try:
        yield socks, port.getHost().port
    finally:
        await maybeDeferred(port.stopListening)


@over_sockets()
async def test_through_proxy() -> None:
    """It gets through, the proxy resolves the name, and the node learns neither the proxy's address nor ours."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port, proxy(port.number) as (socks, socks_port):
        address = f"127.0.0.1:{socks_port}"
        async with example("proxy", "tor:soternode.onion:18555", "--socks", address) as program:
            assert await program.ended() == 0, program.err
        connected, closed = program.out.splitlines()
        assert f"connected by {address}: /soterwire:0.6.0/fakenode:" in connected
        assert connected.endswith("height 50")
        assert "closed by us" in closed
        assert socks.asked == [("soternode.onion", 18555)]
        (version,) = node.versions
        assert (version.addr_you.host, version.addr_you.port) == ("0.0.0.0", 0)
        assert (version.addr_me.port, version.addr_me.services) == (0, 0)


@over_sockets()
async def test_both_ends_of_a_proxied_connection() -> None:
    """A proxied peer of this process is ready, and hears of the node's close, as over a plain connection."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port, proxy(port.number) as (_, socks_port):
        text = f"tor:soternode.onion:18555:socksHostname=127.0.0.1:socksPort={socks_port}"
        config = PeerConfig(network=SIMNET, proxy=f"127.0.0.1:{socks_port}", allow_self_connections=True)
        peer = await connect(clientFromString(real_reactor(), text), config)
        (served,) = node.peers
        await served.disconnect()
        assert (await peer.when_closed()).cause is CloseCause.REMOTE_CLOSED


@over_sockets()
async def test_refused() -> None:
    """The proxy is not there, or the node is not behind it: one line that names both."""
    node = FakeNode()
    async with await node.listen(real_reactor()) as port, proxy(port.number) as (_, socks_port):
        await port.close()
        address = f"127.0.0.1:{socks_port}"
        async with example("proxy", "tor:soternode.onion:18555", "--socks", address) as program:
            await program.ended()
            assert_one_line(program, "tor:soternode.onion:18555", address, "refused")
    async with example("proxy", "tor:soternode.onion:18555", "--socks", address) as program:
        await program.ended()
        assert_one_line(program, "tor:soternode.onion:18555", address, "refused")


@over_sockets()
async def test_never_past_the_proxy() -> None:
    """An endpoint that would not go through the proxy is refused, with one line."""
    async with example("proxy", "tcp:127.0.0.1:18555") as program:
        await program.ended()
        assert_one_line(program, "tcp:127.0.0.1:18555", "tor:")


@over_sockets()
async def test_without_txtorcon(tmp_path: Path) -> None:
    """txtorcon is not installed: one line says what to install."""
    hide = "import sys; from importlib import util; found = util.find_spec\n"
    hide += "util.find_spec = lambda name, *rest: None if name == 'txtorcon' else found(name, *rest)\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    async with example("proxy", "tor:soternode.onion:1", environment={"PYTHONPATH": str(tmp_path)}) as program:
        await program.ended()
        assert_one_line(program, "pip install 'txsoter[tor]'")
