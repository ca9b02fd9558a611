"""Header sync over loopback: a process that serves prepared bytes, and one with a light client."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import react

from benchmarks.chain_inputs import proofs
from benchmarks.children import Child
from benchmarks.peer_ends import Commands, log_warnings
from txsoter import SIMNET, PeerConfig
from txsoter.chain import HeaderIndex, HeaderRecord, LightClient
from txsoter.chain.light import header_index
from txsoter.chain.light.header_file import HeaderFile
from txsoter.chain.light.header_record import pack_header
from txsoter.test.chain.light.dags import chain_of
from txsoter.testing import ScriptedPeer, remote_version
from txsoter.wire import (
    BlockHeader,
    Encoding,
    GetBlocks,
    GetData,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    Ping,
    Pong,
    Services,
    VerAck,
    Version,
    double_sha256,
    parents_commitment,
    write_message,
)
from txsoter.wire.cuckoo import check_cycle

__all__ = ["SyncEnds", "filled"]

LISTED = 500


class SyncEnds:
    """The two processes.

    :param stack: ends them.
    :param blocks: how many are served, above the genesis.
    """

    def __init__(self, stack: ExitStack, blocks: int) -> None:
        program = [sys.executable, "-m", "benchmarks.chain_sync"]
        self._server = stack.enter_context(Child(program=[*program, "serve", str(blocks)]))
        port = self._server.answer()["port"]
        self._client = stack.enter_context(Child(program=[*program, "sync", str(port), str(blocks)]))

    def sync(self, *options: str) -> Mapping[str, float]:
        """Sync all of it; the microseconds that a header took.

        :param options: ``proofs`` to check proof of work, ``disk`` to keep the headers in a file.
        """
        return self._client.ask("sync", *options)


class PreparedPeer(ScriptedPeer):
    """Serves lists and blocks that were encoded before."""

    def __init__(self, factory: PreparedFactory) -> None:
        ScriptedPeer.__init__(self)
        self._served = factory

    def dataReceived(self, data: bytes) -> None:
        ScriptedPeer.dataReceived(self, data)
        self.raw = b""
        heard, self.heard = self.heard, []
        for message in heard:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        served = self._served
        if isinstance(message, Version):
            height = len(served.hashes) - 1
            self.say(remote_version(services=Services.NETWORK | Services.WITNESS, last_block=height), VerAck())
        elif isinstance(message, Ping):
            self.say(Pong(message.nonce))
        elif isinstance(message, GetBlocks):
            first = (message.height or 0) + 1
            self.say(
                Inv(
                    [
                        InventoryVector(InventoryType.BLOCK, each, height)
                        for height, each in enumerate(served.hashes[first : first + LISTED], first)
                    ]
                )
            )
        elif isinstance(message, GetData):
            self.say(b"".join([served.frames[each.hash] for each in message.vectors]))


class PreparedFactory(Factory):
    """Makes peers that serve a chain.

    :param blocks: its length above the genesis.
    """

    def __init__(self, blocks: int) -> None:
        assert SIMNET.genesis_block is not None
        self.hashes = [SIMNET.genesis_hash]
        self.frames = {}
        for block in chain_of(blocks):
            self.hashes.append(block.hash)
            # as many as a mined block has
            block.nonces = tuple(range(20))
            self.frames[block.hash] = write_message(block, SIMNET.magic, encoding=Encoding.WITNESS)

    def buildProtocol(self, addr: object) -> PreparedPeer:
        return PreparedPeer(self)


class Client:
    """A light client, made anew for each sync.

    :param blocks: how many headers are there then, above the genesis.
    """

    def __init__(self, reactor: Any, port: int, blocks: int, folder: Path) -> None:
        self._reactor = reactor
        self._endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port}")
        self._blocks = blocks
        self._folder = folder
        self._syncs = 0

    async def do(self, words: list[str]) -> dict[str, float]:
        """Sync, with the options that are named."""
        options = words[1:]
        self._syncs += 1
        folder = self._folder / str(self._syncs) if "disk" in options else None
        config = PeerConfig(network=SIMNET)
        client = LightClient(config, folder, check_proofs="proofs" in options)
        client.peers.dial(self._endpoint, "prepared")
        began, cpu = perf_counter(), process_time()
        client.startService()
        await client.when_synced()
        seconds, cpu = perf_counter() - began, process_time() - cpu
        await client.stopService()
        if len(client.index) != self._blocks + 1:
            raise RuntimeError(f"{len(client.index)} headers, not {self._blocks + 1}")
        return {"us": seconds / self._blocks * 1e6, "cpu": cpu / self._blocks * 1e6}


def use_recorded_proofs() -> None:
    """Let each header that is checked be checked by a recorded proof instead of its own, which takes as long.

    As many proofs cannot be found: each takes a miner seconds.
    """
    found = cycle(proofs())

    def check_recorded(key: bytes, nonces: object) -> None:
        proof = next(found)
        check_cycle(double_sha256(proof.header)[:16], proof.nonces)

    # not by assignment: to a type checker that name is the other module's
    setattr(header_index, "check_cycle", check_recorded)  # noqa: B010


def filled(folder: Path, count: int) -> Callable[[], object]:
    """Put a chain of ``count`` headers with nonces into a file, and return what opens it."""
    records = [HeaderIndex(SIMNET)[SIMNET.genesis_hash]]
    for height in range(1, count):
        parents = [records[-1].hash]
        header = BlockHeader(prev=parents_commitment(parents), time=records[0].time + height)
        records.append(HeaderRecord.pack(pack_header(header), parents, tuple(range(20)), height))

    def opened() -> HeaderFile:
        return HeaderFile(folder, SIMNET, True, time)

    file = opened()
    file.write(0, records)
    file.close()

    def open_it() -> None:
        file = opened()
        if len(file.load()) != count:
            raise RuntimeError("not all headers were read")
        file.close()

    return open_it


async def serve(reactor: Any, blocks: int) -> None:
    """Serve until standard input ends."""
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(PreparedFactory(blocks))
    print(json.dumps({"port": port.getHost().port}), flush=True)
    await run_commands(reactor, None)


async def sync(reactor: Any, port: int, blocks: int) -> None:
    """Sync when told to, until standard input ends."""
    use_recorded_proofs()
    with TemporaryDirectory() as folder:
        await run_commands(reactor, Client(reactor, port, blocks, Path(folder)).do)


async def run_commands(reactor: Any, do: Any) -> None:
    """Do what standard input says."""
    commands = Commands(do)
    stdio.StandardIO(commands, reactor=reactor)
    await commands.over


def main() -> None:
    """Be one end."""
    log_warnings()
    role, *numbers = sys.argv[1:]
    end = serve if role == "serve" else sync
    react(lambda reactor: Deferred.fromCoroutine(end(reactor, *map(int, numbers))))


if __name__ == "__main__":
    main()
