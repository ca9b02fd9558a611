"""The arguments of ``txsoter capture``, which is ``python -m txsoter.capture``, too."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from txsoter.command_line import NETWORKS, Parser, network, positive, seconds
from txsoter.wire import PROTOCOL_VERSION, Encoding

__all__ = ["Run", "add_arguments"]

Run = Callable[[argparse.Namespace], int]
"""Does what the options ask for; gives the exit status."""

DESCRIPTION = """\
Recorded conversations of soter peers: show them, play them again, make them of a pcap file.

A capture is a folder for each connection, as `twistd soter --capture DIR` and Bitcoin Core's message capture
(-capturemessages) write them: msgs_recv.dat and msgs_sent.dat, records of time in microseconds (u64), command (12
bytes), length (u32) and payload, little-endian. Beside them notes.jsonl says what is no message.
"""

SHOW = """\
Prints conversations: a connection's folder, a folder of such, or one .dat file. In the table < is what came, > what
went. What was negotiated is read from the capture's own version messages. Of what a killed process has left, the last
message may be cut off: that is said on standard error, and all before it is shown.

  show captures --command inv,block          these messages only
  show captures --json --full | jq .         everything in them
"""

REPLAY = """\
Plays one side of a conversation to a live peer that it dials, and prints what that answers.

By default that is what was received: the live peer meets the recorded remote again. It begins with a handshake of its
own, for a recorded one would be taken for a connection to oneself, or for a clock gone wrong: the recorded version
message with a fresh nonce, the present time and the live peer's address. Then all is played that was recorded behind
the handshake, but for pongs: pings are answered as they come. With --raw nothing is left out, changed or answered.

Frames are made anew: a capture holds no checksums, so these are right even where they were not.

The exit status is 0 when all was played, and 1 when the live peer ended it before.
"""

PCAP = """\
Finds the soter connections in a pcap or pcapng file (`tcpdump -w FILE port 18555`) and writes a folder for each, to be
shown and replayed. The magic tells the network. Segments may come in any order, twice, overlapping, or not at all:
where some are missing, the next whole message is looked for, and a note says so. Needs: pip install 'txsoter[pcap]'
"""


def add_arguments(parser: Parser, show_runs: Run, replay_runs: Run, pcap_runs: Run) -> None:
    """Add the three commands to a parser; ``run`` is what the chosen one runs."""
    parser.description = DESCRIPTION
    commands = parser.add_subparsers(title="commands, each with a --help of its own", metavar="COMMAND", required=True)
    shown = _shown_options()

    show = commands.add_parser(
        "show", help="print conversations, both directions in the order of time", description=SHOW, parents=[shown]
    )
    show.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folder or .dat file")
    show.add_argument("--direction", choices=("recv", "sent"), help="only what came, or only what went")
    show.add_argument("--network", type=network, metavar="NAME", help=f"{NETWORKS} (default: as in the capture)")
    show.add_argument("--pver", type=_pver, metavar="N", help="protocol version (default: as negotiated)")
    show.add_argument(
        "--encoding", type=_encoding, metavar="NAME", help="base or witness transactions (default: as negotiated)"
    )
    show.set_defaults(run=show_runs)

    replay = commands.add_parser(
        "replay",
        help="play one side of a conversation to a live peer, and print its answers",
        description=REPLAY,
        parents=[shown],
    )
    replay.add_argument("path", type=Path, metavar="PATH", help="a connection's folder, or one .dat file")
    replay.add_argument("--to", required=True, metavar="ENDPOINT", help="where to dial, such as tcp:127.0.0.1:18555")
    replay.add_argument(
        "--side", choices=("recv", "sent"), help="what to play: what was received (default), or what was sent"
    )
    replay.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X", help="times faster than it was, or max (default 1)"
    )
    replay.add_argument("--raw", action="store_true", help="as it was recorded, handshake included; answer nothing")
    replay.add_argument("--network", type=network, metavar="NAME", help=f"{NETWORKS} (default: as in the capture)")
    replay.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds to connect, for the handshake, and for the live peer to take what is played (default 30)",
    )
    replay.add_argument(
        "--linger", type=seconds, default=5.0, metavar="S", help="seconds of silence that end it (default 5)"
    )
    replay.set_defaults(run=replay_runs)

    pcap = commands.add_parser(
        "pcap", help="turn a pcap or pcapng file into folders that the other two read", description=PCAP
    )
    pcap.add_argument("file", type=Path, metavar="FILE", help="pcap or pcapng, of any link type that IP goes over")
    pcap.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder, or an empty one")
    pcap.add_argument("--network", type=network, metavar="NAME", help=f"only this one of {NETWORKS}")
    pcap.add_argument("--local", type=_ip, metavar="IP", help="our address: what came to it was received")
    pcap.add_argument(
        "--view",
        choices=("server", "client"),
        default="server",
        help="whose messages were sent, where --local does not tell (default: those of the one who was dialled)",
    )
    pcap.set_defaults(run=pcap_runs)


def _shown_options() -> Parser:
    """Those of what prints messages."""
    shown = Parser(add_help=False)
    shown.add_argument(
        "--command", action="append", default=[], metavar="NAME", help="only these, with commas; may be repeated"
    )
    shown.add_argument("--json", action="store_true", help="one JSON object a line")
    shown.add_argument("--full", action="store_true", help="messages with everything in them")
    shown.add_argument("--hex", action="store_true", help="payloads, too")
    return shown


# -- values ------------------------------------------------------------------------------------


def _pver(text: str) -> int:
    if not (text.isdecimal() and int(text) <= PROTOCOL_VERSION):
        raise argparse.ArgumentTypeError(f"{text}: must be a number up to {PROTOCOL_VERSION}")
    return int(text)


def _encoding(text: str) -> Encoding:
    try:
        return Encoding[text.upper()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text}: must be base or witness") from None


def _speed(text: str) -> float | None:
    return None if text == "max" else positive(text, "a number above 0, or max")


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: must be an IP address") from None
