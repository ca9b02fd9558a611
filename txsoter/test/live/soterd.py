"""A soterd of simnet on loopback, and its JSON-RPC."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

__all__ = ["Fed", "Nodes", "Soterd", "eventually", "free_ports"]

MINING_ADDRESS = "SXG5Ucp26r5hgAjwpUq5bX5d46qCTH8Tvd"
"""Where the coins of mined blocks go: a simnet address, of a key that nobody has."""

USER, PASSWORD = "live", "tests"


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now; all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


async def eventually(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    """Wait until ``condition``, or the awaitable that it returns, is true: for what no event tells of."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while True:
        result = condition()
        if isinstance(result, Deferred) or hasattr(result, "__await__"):
            result = await result
        if result:
            return
        assert reactor.seconds() < deadline, f"{what}: not within {seconds} s"
        await deferLater(reactor, 0.05)


class Soterd:
    """A node.

    :param home: its folder, made if missing; a data folder in it is gone on with.
    :param options: more of its options.
    :ivar port: where it listens.
    """

    def __init__(self, binary: Path, home: Path, *options: str) -> None:
        self.home = home
        self.data = home / "data"
        self.port, self.rpc_port = free_ports(2)
        home.mkdir(exist_ok=True, parents=True)
        with (home / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    str(binary),
                    "--simnet",
                    "--nodnsseed",
                    f"--listen=127.0.0.1:{self.port}",
                    f"--rpclisten=127.0.0.1:{self.rpc_port}",
                    f"--rpcuser={USER}",
                    f"--rpcpass={PASSWORD}",
                    "--notls",
                    f"--datadir={self.data}",
                    f"--logdir={home / 'logs'}",
                    f"--miningaddr={MINING_ADDRESS}",
                    *options,
                ],
                # it makes files of its own in its home
                env={**os.environ, "HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def endpoint(self) -> str:
        """Where to dial it, as an endpoint string."""
        return f"tcp:127.0.0.1:{self.port}"

    async def answers(self) -> Soterd:
        """Wait until its RPC does."""

        async def answered() -> bool:
            exit_code = self._process.poll()
            assert exit_code is None, f"soterd ended at once, with {exit_code}: {self.tail()}"
            try:
                await self.rpc("getblockcount")
            except (OSError, HTTPException):
                return False
            return True

        await eventually(answered, "soterd answers")
        return self

    async def rpc(self, method: str, *params: Any) -> Any:
        """Ask its JSON-RPC, in a thread of its own.

        :raises RuntimeError: with its words, when it refuses.
        """
        return await deferToThread(self._rpc, method, params)

    def _rpc(self, method: str, params: tuple[Any, ...]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.rpc_port, timeout=300)
        try:
            credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
            headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
            connection.request("POST", "/", body, headers)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer["error"] is not None:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def block_count(self) -> int:
        """How many blocks it has, the genesis block included."""
        count: int = await self.rpc("getblockcount")
        return count

    async def peers(self) -> list[dict[str, Any]]:
        """Who is connected to it."""
        peers: list[dict[str, Any]] = await self.rpc("getpeerinfo")
        return peers

    def tail(self, size: int = 2000) -> str:
        """The end of what it has said."""
        return (self.home / "output").read_text(errors="replace")[-size:]

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it, and wait for that."""
        self.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)


class Nodes:
    """Starts nodes, and ends them all.

    :param folder: where theirs are made.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._started: list[Soterd] = []

    def launch(self, *options: str, data: Path | None = None) -> Soterd:
        """Start a node, and do not wait for it.

        :param data: a data folder to begin with a copy of; without, it knows the genesis block alone.
        """
        home = self._folder / f"node-{len(self._started)}"
        if data is not None:
            shutil.copytree(data, home / "data")
        node = Soterd(self._binary, home, *options)
        self._started.append(node)
        return node

    async def start(self, *options: str, data: Path | None = None) -> Soterd:
        """Start a node, and wait until it answers."""
        return await self.launch(*options, data=data).answers()

    def stop_all(self) -> None:
        """End all nodes at once."""
        for node in self._started:
            node.terminate()
        for node in self._started:
            node.stop()
        self._started.clear()


@attrs.frozen
class Fed:
    """The data of a node that has the recorded DAG, and whose tip is young.

    :ivar data: a folder to start nodes from copies of.
    :ivar block_count: blocks in it, the genesis block included.
    :ivar height: of its tip.
    """

    data: Path
    block_count: int
    height: int
