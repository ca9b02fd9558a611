"""Real nodes for tests: soterd processes on simnet, on loopback alone.

A node listens on two free ports of 127.0.0.1, one for peers and one for its JSON-RPC; it knows no seeds, dials nobody
unless an option says so, and keeps its files in the folder it is given. With pytest, take the fixtures of
:mod:`txsoter.testing.pytest_plugin`, which end all nodes with the test. Without::

    nodes = SoterdFactory(find_soterd("/path/to/soterd"), folder)
    try:
        node = await nodes.start()
        await node.rpc("generate", 1)
    finally:
        nodes.stop_all()

A node outlives a process that is killed before it has called ``stop()``. No soterd comes with txsoter.
"""

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

from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as WaitTimeout
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

__all__ = ["Soterd", "SoterdError", "SoterdFactory", "eventually", "find_soterd", "free_ports"]

MINING_ADDRESS = "SXG5Ucp26r5hgAjwpUq5bX5d46qCTH8Tvd"
"""Where the coins of mined blocks go: a simnet address, of a key that nobody has."""

USER, PASSWORD = "txsoter", "tests"

STOP_TIMEOUT = 15.0
"""Seconds from SIGTERM to SIGKILL."""

RPC_TIMEOUT = 300.0
"""Seconds for an answer of the JSON-RPC: mining takes its time."""


class SoterdError(RuntimeError):
    """A soterd that cannot be run, that ended, or that refused an RPC; with its words."""


def find_soterd(path: str | Path | None = None) -> Path | None:
    """Return the soterd binary at ``path``, or at the path in the environment variable ``SOTERD``.

    :return: its absolute path; None when neither names one.
    :raises SoterdError: when what is named does not exist, is a folder, or cannot be executed.
    """
    given, source = path, "the soterd binary"
    if not given:
        given, source = os.environ.get("SOTERD"), "the environment variable SOTERD"
    if not given:
        return None
    problem = None
    if os.path.isdir(given):
        problem = "is a folder: the binary itself is wanted"
    elif not os.path.exists(given):
        problem = "does not exist"
    elif not os.access(given, os.X_OK):
        problem = "cannot be executed"
    if problem is not None:
        raise SoterdError(f"{source} is {given}, which {problem}")
    return Path(given).resolve()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on just now; all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


async def eventually(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    """Wait until ``condition()``, or what the awaitable it returns comes to, is true: for what no event tells of.

    It is asked twenty times a second, on the global reactor.

    :param what: the condition in words, for the error.
    :raises twisted.internet.error.TimeoutError: when it has not become true within ``seconds``.
    """
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while True:
        result = condition()
        if isinstance(result, Deferred) or hasattr(result, "__await__"):
            result = await result
        if result:
            return
        if reactor.seconds() >= deadline:
            raise WaitTimeout(f"{what}: not within {seconds:g} s")
        await deferLater(reactor, 0.05)


class Soterd:
    """A soterd process on simnet, started by the constructor.

    It may not answer yet: wait for :meth:`answers`. It ends by :meth:`stop` alone.

    :param binary: the program; see :func:`find_soterd`.
    :param home: the node's folder, made if missing: its data, logs and output. A data folder in it is continued.
    :param options: more command line options; the last of two that contradict each other wins.
    :raises OSError: when the program cannot be started.
    :ivar port: where it listens for peers, on 127.0.0.1.
    :ivar rpc_port: where it listens for JSON-RPC, on 127.0.0.1.
    :ivar data: its data folder.
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
        """Where to dial it, as a client endpoint string."""
        return f"tcp:127.0.0.1:{self.port}"

    async def answers(self) -> Soterd:
        """Wait until its JSON-RPC answers, for at most 30 seconds.

        :raises SoterdError: when it ends instead, or refuses.
        :raises twisted.internet.error.TimeoutError: when it does neither.
        """

        async def answered() -> bool:
            exit_code = self._process.poll()
            if exit_code is not None:
                raise SoterdError(f"soterd ended at once, with {exit_code}: {self.tail()}")
            try:
                await self.rpc("getblockcount")
            except (OSError, HTTPException):
                return False
            return True

        await eventually(answered, "soterd answers")
        return self

    async def rpc(self, method: str, *params: Any) -> Any:
        """Call its JSON-RPC, in a thread of the reactor's pool.

        :raises SoterdError: with its words, when it refuses.
        :raises OSError: when it cannot be reached, or takes over 300 seconds.
        """
        return await deferToThread(self._rpc, method, params)

    def _rpc(self, method: str, params: tuple[Any, ...]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.rpc_port, timeout=RPC_TIMEOUT)
        try:
            credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
            headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
            connection.request("POST", "/", body, headers)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer["error"] is not None:
            raise SoterdError(f"{method}: {answer['error']}")
        return answer["result"]

    async def block_count(self) -> int:
        """Return how many blocks it has, the genesis block included."""
        count: int = await self.rpc("getblockcount")
        return count

    async def peers(self) -> list[dict[str, Any]]:
        """Return its ``getpeerinfo``: who is connected to it."""
        peers: list[dict[str, Any]] = await self.rpc("getpeerinfo")
        return peers

    def tail(self, size: int = 2000) -> str:
        """Return the last ``size`` characters of what it has printed."""
        return (self.home / "output").read_text(errors="replace")[-size:]

    def terminate(self) -> None:
        """Send it SIGTERM, and do not wait."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it and wait for that: SIGTERM, and SIGKILL 15 seconds later. Blocks; may be called again."""
        self.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)


class SoterdFactory:
    """Starts nodes, and ends them all.

    :param binary: the program; see :func:`find_soterd`.
    :param folder: where each node's folder is made.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._homes = 0
        self._started: list[Soterd] = []

    def launch(self, *options: str, data: Path | None = None) -> Soterd:
        """Start a node, and do not wait until it answers.

        :param options: as of :class:`Soterd`.
        :param data: a data folder to begin with a copy of; without, it knows the genesis block alone.
        :raises OSError: when the program cannot be started, or the data not be copied.
        """
        home = self._folder / f"node-{self._homes}"
        self._homes += 1
        if data is not None:
            shutil.copytree(data, home / "data")
        node = Soterd(self._binary, home, *options)
        self._started.append(node)
        return node

    async def start(self, *options: str, data: Path | None = None) -> Soterd:
        """Start a node, and wait until it answers; arguments and errors as of :meth:`launch` and ``answers()``."""
        return await self.launch(*options, data=data).answers()

    def stop_all(self) -> None:
        """End all nodes at once, and wait for that, as :meth:`Soterd.stop` does."""
        for node in self._started:
            node.terminate()
        for node in self._started:
            node.stop()
        self._started.clear()
