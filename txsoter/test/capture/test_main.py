"""The command line: what it prints, what it says of what cannot be, and its exit status."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

from txsoter.capture.__main__ import main
from txsoter.capture.folders import folder_name
from txsoter.capture.records import RECEIVED, SENT
from txsoter.test.capture.packets import Session
from txsoter.test.capture.packets import pcap as pcap_file
from txsoter.test.capture.support import START, CaptureCase, record, wire_bytes
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import ROOT, Program
from txsoter.testing import remote_version
from txsoter.wire import GetBlocks, Ping, Reject, write_message

PROGRAM = "python -m txsoter.capture"
COMMAND = ("-m", "txsoter.capture")

CAME = [
    record("version", remote_version().to_payload(), START + 1),
    record("verack", b"", START + 2),
    record("getblocks", GetBlocks(height=0).to_payload(), START + 3),
    record("ping", Ping(7).to_payload(), START + 4),
]


def write(folder: Path, name: str = RECEIVED) -> Path:
    """A capture of a connection."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(each.pack() for each in CAME))
    return folder


class MainCase(CaptureCase):
    def run_main(self, *arguments: object) -> tuple[int, str, str]:
        """The exit status, and what went to standard output and error."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main([str(each) for each in arguments])
            except SystemExit as error:
                assert isinstance(error.code, int)
                status = error.code
        return status, out.getvalue(), err.getvalue()

    def assert_refused(self, arguments: tuple[object, ...], line: str) -> None:
        """One line on standard error, nothing else, status 1."""
        self.assertEqual(self.run_main(*arguments), (1, "", f"{line}\n"))


class OptionTests(MainCase):
    def test_txsoter_capture_is_the_same_command(self) -> None:
        """Under its own name in help and errors."""
        path = write(self.folder / "one")
        done = subprocess.run(
            [sys.executable, "-m", "txsoter", "capture", "show", str(path), "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), self.run_main("show", path, "--json"))
        for arguments, status, line in (
            (["show", str(self.folder / "no")], 1, f"txsoter capture: {self.folder / 'no'}: there is no such file"),
            (["show"], 2, "txsoter capture show: the following arguments are required: PATH"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "txsoter", "capture", *arguments],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (status, "", 1))
            self.assertTrue(done.stderr.startswith(line), done.stderr)

    def test_help(self) -> None:
        """Each command has one, that fits a terminal and begins with what it does."""
        for arguments, words in (
            (["--help"], ["show", "replay", "pcap", "msgs_recv.dat", "microseconds"]),
            (["show", "--help"], ["--json", "--full", "--hex", "--command", "--network", "--pver", "--encoding"]),
            (["replay", "--help"], ["--to", "--side", "--speed", "--raw", "--timeout", "--linger", "fresh nonce"]),
            (["pcap", "--help"], ["--out", "--local", "--view", "tcpdump", "txsoter[pcap]"]),
        ):
            status, out, err = self.run_main(*arguments)
            self.assertEqual((status, err), (0, ""))
            for word in words:
                self.assertIn(word, out)
            self.assertLessEqual(max(map(len, out.splitlines())), 120)
            self.assertTrue(out.startswith(f"usage: {PROGRAM}"))

    def test_bad_options_are_one_line(self) -> None:
        path, hint = write(self.folder / "one"), "; --help lists the options"
        for arguments, words in (
            ((), f"{PROGRAM}: the following arguments are required: COMMAND"),
            (("sing",), f"{PROGRAM}: argument COMMAND: invalid choice: 'sing' (choose from"),
            (("show",), f"{PROGRAM} show: the following arguments are required: PATH"),
            (("show", path, "--network", "moon"), "argument --network: moon: must be one of mainnet, testnet1"),
            (("show", path, "--pver", "80000"), "argument --pver: 80000: must be a number up to 70013"),
            (("show", path, "--encoding", "rot13"), "argument --encoding: rot13: must be base or witness"),
            (("show", path, "--js"), f"{PROGRAM}: unrecognized arguments: --js"),
            (("replay", path), f"{PROGRAM} replay: the following arguments are required: --to"),
            (("replay", path, "--to", "x", "--speed", "0"), "argument --speed: 0: must be a number above 0, or max"),
            (("replay", path, "--to", "x", "--linger", "long"), "--linger: long: must be a number of seconds above 0"),
            (("pcap", path, "--out", "x", "--local", "me"), "argument --local: me: must be an IP address"),
        ):
            status, out, err = self.run_main(*arguments)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn(words, err)
            self.assertTrue(err.endswith(f"{hint}\n"))

    def test_what_is_not_there_is_one_line(self) -> None:
        missing, empty = self.folder / "missing", self.folder / "empty"
        empty.mkdir()
        for command in (["show"], ["replay", "--to", "tcp:127.0.0.1:1"]):
            self.assert_refused((*command, missing), f"{PROGRAM}: {missing}: there is no such file or folder")
            self.assert_refused(
                (*command, empty), f"{PROGRAM}: {empty}: no captures in it: no msgs_recv.dat or msgs_sent.dat"
            )
        self.assert_refused(("pcap", missing, "--out", empty), f"{PROGRAM}: {missing}: No such file or directory")


class ShowTests(MainCase):
    def test_one_and_several(self) -> None:
        """Several conversations are told apart: by a line in the table, by a field in JSON."""
        one, two = write(self.folder / "one"), write(self.folder / "two", SENT)
        status, out, err = self.run_main("show", one)
        self.assertEqual((status, err, out.count("\n")), (0, "", 4))
        self.assertNotIn("# one", out)
        for paths in ((self.folder,), (one, two)):
            status, out, _ = self.run_main("show", *paths)
            lines = out.splitlines()
            self.assertEqual((lines[0], lines[5]), ("# one", "# two"))
            self.assertEqual(lines[1].replace("<", ">"), lines[6])
        _, out, _ = self.run_main("show", self.folder, "--json", "--command", "ping,verack")
        found = [(row["connection"], row["command"]) for row in map(json.loads, out.splitlines())]
        self.assertEqual(found, [("one", "verack"), ("one", "ping"), ("two", "verack"), ("two", "ping")])

    def test_options(self) -> None:
        path = write(self.folder / "one")
        _, out, _ = self.run_main("show", path / RECEIVED, "--hex", "--full", "--command", "ping", "--command", "inv")
        self.assertIn("Ping(nonce=7)", out)
        self.assertIn("00000000  07 00", out)
        _, out, _ = self.run_main("show", path, "--pver", "60000", "--command", "ping", "--encoding", "base")
        self.assertIn("MALFORMED", out)
        _, out, _ = self.run_main("show", path, "--direction", "sent", "--network", "simnet")
        self.assertEqual(out, "")

    def test_a_torn_file_is_shown_and_said(self) -> None:
        """On standard error, with status 0: that is what a killed process leaves."""
        path = write(self.folder / "one") / RECEIVED
        path.write_bytes(path.read_bytes()[:-1])
        status, out, err = self.run_main("show", path.parent)
        self.assertEqual((status, out.count("\n")), (0, 3))
        self.assertEqual(err, f"{PROGRAM}: {path}: its last message is cut off, 31 bytes of it are left out\n")

    def test_a_damaged_file_does_not_keep_from_the_others(self) -> None:
        """It is named, and the status is 1."""
        path = write(self.folder / "one") / RECEIVED
        path.write_bytes(path.read_bytes() + b"\xff" * 100)
        write(self.folder / "two")
        status, out, err = self.run_main("show", self.folder)
        self.assertEqual((status, out.count("\n")), (1, 10))
        self.assertIn(f"{path}: no capture, or damaged: a message of 4294967295 bytes", err)
        self.assertEqual(err.count("\n"), 1)

    def test_who_reads_it_may_stop(self) -> None:
        """A pipe that is closed is no error."""
        folder = self.folder / "one"
        folder.mkdir()
        (folder / RECEIVED).write_bytes(b"".join(each.pack() for each in CAME) * 20_000)
        command = [sys.executable, *COMMAND, "show", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.wait)
        assert process.stdout is not None and process.stderr is not None
        with process.stdout, process.stderr:
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(20), 0)

    def test_interrupted(self) -> None:
        """Without a traceback."""
        path = write(self.folder / "one")
        with mock.patch("txsoter.capture.commands.read_rows", side_effect=KeyboardInterrupt):
            self.assertEqual(self.run_main("show", path), (130, "", ""))


class PcapTests(MainCase):
    def test_a_file(self) -> None:
        """Folders that show reads, and a line about what was found."""
        ping = write_message(Ping(7), 0x12141C16)
        path, out_path = self.folder / "file.pcap", self.folder / "out"
        path.write_bytes(pcap_file(Session().begin().say(True, ping).end().packets))
        status, out, err = self.run_main("pcap", path, "--out", out_path)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(
            out,
            f"1 connections with 1 messages in {out_path}; 0 other TCP connections, 0 bytes missing; 7 packets\n",
        )
        name = folder_name(START + 1000, "192.0.2.1:40000", inbound=True)
        self.assertEqual(wire_bytes(out_path / name, RECEIVED), ping)
        status, out, _ = self.run_main("show", out_path)
        self.assertIn("<  ping", out)
        self.assert_refused(
            ("pcap", path, "--out", out_path), f"{PROGRAM}: {out_path}: must be a new folder, or an empty one"
        )
        out_path = self.folder / "ours"
        self.run_main("pcap", path, "--out", out_path, "--local", "192.0.2.1", "--network", "simnet")
        (folder,) = (each for each in out_path.iterdir() if each.is_dir())
        self.assertEqual(wire_bytes(folder, SENT), ping)

    def test_damage_and_nothing_found(self) -> None:
        """A file that ends early says so; one without a soter connection has status 1."""
        talk = Session().begin().say(True, b"hello").end()
        path = self.folder / "file.pcap"
        path.write_bytes(pcap_file(talk.packets) + b"\1\2\3")
        status, out, err = self.run_main("pcap", path, "--out", self.folder / "out")
        self.assertEqual(status, 1)
        self.assertIn("0 connections with 0 messages", out)
        damaged, nothing = err.splitlines()
        self.assertTrue(damaged.startswith(f"{PROGRAM}: {path}: damaged after 7 packets: "))
        self.assertEqual(nothing, f"{PROGRAM}: {path}: no soter connection in it")
        path.write_bytes(b"not a pcap file at all, but long enough")
        status, out, err = self.run_main("pcap", path, "--out", self.folder / "out2")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, rf"\A{PROGRAM}: {path}: no pcap or pcapng file, or damaged: .+\n\Z")


# -- replay, over sockets ----------------------------------------------------------------------


def replay(*arguments: str, tty: bool = False) -> Program:
    return Program(*COMMAND, "replay", *arguments, tty=tty)


@over_sockets()
async def test_replay(tmp_path: Path) -> None:
    """What was received is said to a live peer, whose answers are printed; status 0."""
    write(tmp_path)
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port:
        async with replay(str(tmp_path), "--to", port.endpoint, "--linger", "0.5") as program:
            assert await program.ended() == 0
        assert node.questions == [GetBlocks(height=0)]
        shown = [line[28:41].split() for line in program.out.splitlines()]
        assert shown == [["<", "version"], ["<", "verack"], ["<", "inv"], ["<", "pong"]]
        assert program.err == "2 messages played, 97 bytes; 4 came; all was played\n"
        arguments = ("--linger", "0.5", "--json", "--full", "--command", "inv,pong", "--speed", "max")
        async with replay(str(tmp_path / RECEIVED), "--to", port.endpoint, *arguments) as program:
            assert await program.ended() == 0
        inv, pong = map(json.loads, program.out.splitlines())
        assert len(inv["message"]["vectors"]) == 53
        assert pong["message"] == {"nonce": 7}


@over_sockets()
async def test_replay_raw_and_progress(tmp_path: Path) -> None:
    """--raw has no handshake of its own; on a terminal there is a line about how far it is, and it goes."""
    write(tmp_path, SENT)
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port:
        async with replay(str(tmp_path), "--to", port.endpoint, "--linger", "0.5", "--raw", tty=True) as program:
            assert await program.ended() == 0
        assert [each.nonce for each in node.versions] == [remote_version().nonce]
        assert "\r58 %, 1 played" in program.out
        assert program.out.rstrip().endswith("4 came; all was played")
        assert "4 messages played" in program.out


@over_sockets()
async def test_replay_refused(tmp_path: Path) -> None:
    """A live peer that ends it before all is played: status 1, with its last word."""
    write(tmp_path)

    def refuse(peer: object, version: object) -> Reject:
        return Reject(b"version", 0x10, b"not you")

    async with await FakeNode(hooks={"on_version": refuse}).listen(real_reactor()) as port:
        async with replay(str(tmp_path), "--to", port.endpoint) as program:
            assert await program.ended() == 1
        assert program.err.endswith("the live peer closed the connection after a reject (version, 0x10, not you)\n")
        nobody = port.endpoint
    for endpoint, line in (
        (nobody, f"cannot connect to {nobody}: Connection was refused by other side: "),
        ("tcp:127.0.0.1", "--to tcp:127.0.0.1: must be an endpoint such as tcp:127.0.0.1:18555\n"),
        ("carrier:pigeon", "--to carrier:pigeon: must be an endpoint such as tcp:127.0.0.1:18555: Unknown endpoint"),
    ):
        async with replay(str(tmp_path), "--to", endpoint) as program:
            assert await program.ended() == 1
        assert program.err.startswith(f"{PROGRAM}: {line}")
        assert (program.out, program.err.count("\n")) == ("", 1)


@over_sockets()
async def test_replay_of_what_cannot_be(tmp_path: Path) -> None:
    """Several conversations, a side that is not there, a network that nobody knows."""
    write(tmp_path / "one")
    write(tmp_path / "two")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / RECEIVED).write_bytes(record("ping", bytes(8)).pack())
    for path, options, reason in (
        (tmp_path, (), "holds 3 conversations: name the folder of one"),
        (tmp_path / "one", ("--side", "sent"), "has nothing that was sent"),
        (tmp_path / "three", (), "does not say of which network it is: give --network"),
    ):
        async with replay(str(path), "--to", "tcp:127.0.0.1:1", *options) as program:
            assert await program.ended() == 1
        assert program.err == f"{PROGRAM}: {path}: {reason}\n"
