"""A user's type checker, without mypy-zope: endpoint classes are endpoints, and answers have their types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

USER = """
from typing import Any
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, clientFromString
from txsoter import SIMNET, PeerConfig, connect, listen, walk_blocks
from txsoter.wire import Block, GetData, Ping

reactor: Any = None

async def main() -> None:
    config = PeerConfig(network=SIMNET, trickle_interval=None)
    peer = await connect(TCP4ClientEndpoint(reactor, "127.0.0.1", 1), config)
    await connect(HostnameEndpoint(reactor, "localhost", 1), config)
    await connect(clientFromString(reactor, "tcp:127.0.0.1:1"), config)
    await listen(TCP4ServerEndpoint(reactor, 1), config)
    async for height, block in walk_blocks(peer):
        reveal_type(height)
        reveal_type(block)
    async for answer in peer.request_all(GetData(), Block):
        reveal_type(answer)
    connect("tcp:127.0.0.1:1", config)
    listen("tcp:1", config)
    PeerConfig(trickle=5)
"""


def test_without_plugins(tmp_path: Path) -> None:
    """What is right passes, and what is wrong does not."""
    program = tmp_path / "user.py"
    program.write_text(USER)
    command = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}", str(program)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "MYPYPATH": str(root)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    lines = [line.partition(": ")[2] for line in ended.stdout.splitlines() if line.startswith("user.py")]
    said = [line for line in lines if "defined here" not in line]
    assert [line.partition('"')[2] for line in said[:3]] == ['int"', *['txsoter.wire.blocks.Block"'] * 2], ended.stdout
    for line, words in zip(said[3:], ('"connect"', '"listen"', '"PeerConfig"'), strict=True):
        assert line.startswith("error: "), ended.stdout
        assert words in line, ended.stdout
