"""asyncio's peers in interpreters of their own: without Twisted, and ended in every way that a loop ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import txsoter
from txsoter.test.test_imports import LOADED, in_fresh_interpreter

ROOT = Path(txsoter.__file__).parents[1]

PROGRAM = """
import asyncio, sys
from txsoter import SIMNET, Listeners, PeerConfig
from txsoter.aio import connect, serve
from txsoter.wire import Ping

def config(**listeners):
    return PeerConfig(network=SIMNET, allow_self_connections=True, listeners=Listeners(**listeners))

async def forever(peer, *rest):
    await asyncio.sleep(1000)

async def consume(peer):
    async for message in peer.messages():
        pass

async def main():
    server = await serve("127.0.0.1", 0, config(on_ready=consume, on_ping=forever))
    peer = await connect("127.0.0.1", server.sockets[0].getsockname()[1], config())
    for number in range(3):
        peer.send(Ping(number))
    await asyncio.sleep(0.1)
{ending}

try:
    asyncio.run(main(){options})
except ZeroDivisionError:
    pass
assert not any(name.partition(".")[0] in ("twisted", "zope") for name in sys.modules)
print("over")
"""

ENDINGS = {
    "closed in order": "    await peer.disconnect(); await server.close()",
    "by an error in async with": "    async with peer, server: raise ZeroDivisionError",
    "cancelled": """
    async def inner():
        async with peer, server:
            await asyncio.sleep(1000)
    task = asyncio.ensure_future(inner())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])""",
    "at the end of the loop": """
    async def inner():
        async with peer, server:
            await asyncio.sleep(1000)
    task = asyncio.ensure_future(inner())
    await asyncio.sleep(0.05)""",
    "a connect that is under way": """
    class Silent(asyncio.Protocol):
        pass
    silent = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
    dialling = asyncio.ensure_future(connect("127.0.0.1", silent.sockets[0].getsockname()[1], config()))
    await asyncio.sleep(0.05)
    dialling.cancel()
    await asyncio.wait([dialling])
    silent.close()
    await peer.disconnect(); await server.close()""",
}


def test_twisted_is_not_loaded() -> None:
    """Nor zope, which comes with it."""
    loaded = in_fresh_interpreter(LOADED, "txsoter.aio").split()
    assert "txsoter.aio.peer" in loaded
    assert [name for name in loaded if name.partition(".")[0] in ("twisted", "zope")] == []


def test_nothing_is_left_however_it_ends() -> None:
    """In development mode, in which asyncio says everything: no task, no transport, no exception is left."""
    for name, ending in ENDINGS.items():
        for options in ("", ", debug=True"):
            program = PROGRAM.replace("{ending}", ending).replace("{options}", options)
            done = subprocess.run(
                [sys.executable, "-X", "dev", "-W", "error", "-c", program],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (name, done.stdout, done.stderr) == (name, "over\n", "")
