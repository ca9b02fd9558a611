"""The commands ``show``, ``replay`` and ``pcap``."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from txsoter.capture.conversations import Conversation, Reader, conversations
from txsoter.capture.errors import CaptureError
from txsoter.capture.options import add_arguments as arguments_of
from txsoter.capture.show import FORMATS, Row, Shown, read_rows
from txsoter.command_line import INTERRUPTED, Parser, complain
from txsoter.core.sanitize import sanitize
from txsoter.errors import TxsoterError
from txsoter.networks import Network
from txsoter.progress import Progress

__all__ = ["add_arguments"]


def _what(options: argparse.Namespace) -> Shown:
    names = frozenset(name.strip() for each in options.command for name in each.split(",") if name.strip())
    direction = getattr(options, "direction", None)
    return Shown(
        commands=names,
        directions=frozenset([direction] if direction else ["recv", "sent"]),
        full=options.full,
        hex=options.hex,
        network=options.network,
        pver=getattr(options, "pver", None),
        encoding=getattr(options, "encoding", None),
    )


def _complainer(options: argparse.Namespace) -> Callable[[str], None]:
    return lambda text: complain(options.program, text)


def run_show(options: argparse.Namespace) -> int:
    """``show``."""
    shown = _what(options)
    status = 0
    several = len(options.paths) > 1
    for path in options.paths:
        for conversation in conversations(path, _complainer(options)):
            if not options.json and (several or conversation.path != path):
                print(f"# {sanitize(conversation.name)}")
            try:
                _print(FORMATS[options.json](read_rows(conversation, shown), shown))
            except CaptureError as error:
                # the others may be whole
                complain(options.program, str(error))
                status = 1
    return status


def _print(lines: Iterable[str]) -> None:
    write = sys.stdout.write
    for line in lines:
        write(line + "\n")


def run_pcap(options: argparse.Namespace) -> int:
    """``pcap``."""
    from txsoter.capture.pcap import NETWORKS as ALL
    from txsoter.capture.pcap import PcapConversion, new_store
    from txsoter.capture.segments import PacketFile

    networks = ALL if options.network is None else (options.network,)
    with PacketFile(options.file) as file, Progress(sys.stderr) as progress:
        store = new_store(options.out)
        try:
            size = max(1, options.file.stat().st_size)
            conversion = PcapConversion(store, networks, options.local, options.view)
            found = conversion.convert(
                file, lambda file: progress.show(lambda: f"{100 * file.read // size} %, {file.packets} packets")
            )
        finally:
            store.release()
    ignored = "".join(f", {count} {why}" for why, count in file.ignored.items())
    if file.damage is not None:
        complain(options.program, f"{options.file}: damaged after {file.packets} packets: {file.damage}")
    print(
        f"{found.connections} connections with {found.messages} messages in {options.out}; "
        f"{found.others} other TCP connections, {found.lost} bytes missing; {file.packets} packets{ignored}"
    )
    if not found.connections:
        complain(options.program, f"{options.file}: no soter connection in it")
    return 0 if found.connections else 1


def run_replay(options: argparse.Namespace) -> int:
    """``replay``."""
    found = list(conversations(options.path, _complainer(options)))
    if len(found) > 1:
        raise CaptureError(options.path, f"holds {len(found)} conversations: name the folder of one")
    conversation = found[0]
    side = options.side or ("recv" if "recv" in conversation.files else "sent")
    if side not in conversation.files:
        raise CaptureError(options.path, f"has nothing that was {'received' if side == 'recv' else 'sent'}")
    network = options.network or _network_in(conversation)
    if network is None:
        raise CaptureError(options.path, "does not say of which network it is: give --network")
    from twisted.internet.task import react

    status = INTERRUPTED

    def run(reactor: Any) -> Any:
        from twisted.internet.defer import Deferred

        async def play() -> None:
            nonlocal status
            status = await _replay(reactor, options, conversation, side, network)

        return Deferred.fromCoroutine(play())

    with contextlib.suppress(SystemExit):
        react(run)
    return status


def _network_in(conversation: Conversation) -> Network | None:
    """The network of a capture: as noted, or of the first version message."""
    reader = Reader(conversation.opening())
    for item in conversation.items():
        if reader.network is not None:
            break
        if item.record is not None and item.direction is not None and item.record.name == "version":
            with contextlib.suppress(TxsoterError):
                reader.read(item.direction, item.record)
    return reader.network


async def _replay(
    reactor: Any, options: argparse.Namespace, conversation: Conversation, side: str, network: Network
) -> int:
    from twisted.internet.endpoints import clientFromString, connectProtocol

    from txsoter.capture.replay import Player

    shown = _what(options)
    lines = FORMATS[options.json]
    total = max(1, conversation.files[side].stat().st_size)

    def answered(row: Row) -> None:
        record = row.item.record
        if not shown.commands or (record is not None and record.name in shown.commands):
            progress.clear()
            # who read it may have seen enough
            with contextlib.suppress(BrokenPipeError):
                _print(lines([row], shown))
                sys.stdout.flush()

    with Progress(sys.stderr) as progress:
        try:
            endpoint = clientFromString(reactor, options.to)
        except Exception as error:
            # a TypeError says which of Twisted's functions lacks which argument
            why = "" if isinstance(error, TypeError) else f": {error}"
            complain(options.program, f"--to {options.to}: must be an endpoint such as tcp:127.0.0.1:18555{why}")
            return 1
        player = Player(
            conversation,
            side,
            network,
            reactor,
            micros=lambda: time.time_ns() // 1000,
            speed=options.speed,
            raw=options.raw,
            timeout=options.timeout,
            linger=options.linger,
            answered=answered,
            progress=lambda outcome: progress.show(
                lambda: f"{min(100, 100 * outcome.bytes // total)} %, {outcome.messages} played"
            ),
        )
        over = player.when_over()
        try:
            await connectProtocol(endpoint, player).addTimeout(options.timeout, reactor)
        except Exception as error:
            complain(options.program, f"cannot connect to {options.to}: {error or type(error).__name__}")
            return 1
        try:
            outcome = await over
        except TxsoterError as error:
            complain(options.program, str(error))
            return 1
    print(
        f"{outcome.messages} messages played, {outcome.bytes} bytes; {outcome.answers} came; {outcome.reason}",
        file=sys.stderr,
    )
    return 0 if outcome.whole else 1


def add_arguments(parser: Parser) -> None:
    """Add the arguments of all commands; ``run`` is what the chosen one runs."""
    arguments_of(parser, run_show, run_replay, run_pcap)
