"""``txsoter.testing.soterd``, with programs that pretend to be a soterd; the tests in ``live`` have a real one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet.error import TimeoutError as WaitTimeout

from txsoter.testing import soterd
from txsoter.testing.soterd import Soterd, SoterdError, SoterdFactory, eventually, find_soterd, free_ports

NODE = f"""#!{sys.executable}
import http.server, json, os, sys

options = dict(each.lstrip("-").partition("=")[::2] for each in sys.argv[1:])
print("starts with", sys.argv[1:], os.environ["HOME"], flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {{"getblockcount": 7, "getpeerinfo": [{{"id": 1}}], "echo": asked["params"]}}
        known["authorization"] = self.headers["Authorization"]
        error = None if asked["method"] in known else "no such method"
        answer = json.dumps({{"result": known.get(asked["method"]), "error": error}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments): pass

host, port = options["rpclisten"].split(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""

BROKEN = "#!/bin/sh\necho cannot do this\nexit 3\n"

STUBBORN = "#!/bin/sh\ntrap '' TERM\necho stubborn\nwhile :; do sleep 0.1; done\n"


def program(folder: Path, text: str) -> Path:
    path = folder / "soterd"
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[SoterdFactory]:
    factory = SoterdFactory(program(tmp_path, NODE), tmp_path / "nodes")
    yield factory
    factory.stop_all()


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_a_node_is_started_on_loopback_and_answers(nodes: SoterdFactory) -> None:
    node = await nodes.start("--connect=127.0.0.1:1")
    assert await node.block_count() == 7
    assert await node.peers() == [{"id": 1}]
    assert await node.rpc("echo", 1, "two") == [1, "two"]
    assert (await node.rpc("authorization")).startswith("Basic ")
    assert node.endpoint == f"tcp:127.0.0.1:{node.port}"
    said = node.tail()
    listens = f"'--listen=127.0.0.1:{node.port}', '--rpclisten=127.0.0.1:{node.rpc_port}'"
    for words in ("'--simnet', '--nodnsseed'", listens, "'--connect=127.0.0.1:1']", str(node.home)):
        assert words in said
    with pytest.raises(SoterdError, match="sing: no such method"):
        await node.rpc("sing")


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_nodes_have_folders_of_their_own_and_begin_with_copies_of_data(
    nodes: SoterdFactory, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "blocks").write_text("some")
    first = nodes.launch()
    second = nodes.launch(data=tmp_path / "data")
    nodes.stop_all()
    third = nodes.launch()
    assert len({first.home, second.home, third.home}) == 3
    assert [(each.data / "blocks").exists() for each in (first, second, third)] == [False, True, False]
    assert len({port for each in (first, second, third) for port in (each.port, each.rpc_port)}) == 6


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_one_that_ends_at_once_is_an_error_with_its_words(tmp_path: Path) -> None:
    node = Soterd(program(tmp_path, BROKEN), tmp_path / "home")
    with pytest.raises(SoterdError, match="ended at once, with 3: cannot do this"):
        await node.answers()
    node.stop()
    node.stop()


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    node = Soterd(program(tmp_path, STUBBORN), tmp_path / "home")
    await eventually(lambda: "stubborn" in node.tail(), "it ignores signals")
    with mock.patch.object(soterd, "STOP_TIMEOUT", 0.5):
        node.stop()
    with pytest.raises(SoterdError, match="ended at once, with -9"):
        await node.answers()


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_waiting_for_what_does_not_come() -> None:
    with pytest.raises(WaitTimeout, match=r"pigs fly: not within 0\.1 s"):
        await eventually(lambda: False, "pigs fly", 0.1)
    answers = iter([0, 0, 1])
    await eventually(lambda: next(answers), "the third is true")


def test_the_binary_is_what_is_given_or_what_the_environment_names(tmp_path: Path) -> None:
    given, named = program(tmp_path, NODE), tmp_path / "other"
    named.symlink_to(given)
    with mock.patch.dict(os.environ, {"SOTERD": ""}):
        assert find_soterd() is None
        assert find_soterd(given) == given
    with mock.patch.dict(os.environ, {"SOTERD": str(named)}):
        assert find_soterd() == named.resolve()
        assert find_soterd(str(given)) == given


def test_a_binary_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    for path, words in (
        (tmp_path / "none", "which does not exist"),
        (tmp_path, "which is a folder: the binary itself is wanted"),
        (plain, "which cannot be executed"),
    ):
        with pytest.raises(SoterdError, match=f"the soterd binary is {path}, {words}"):
            find_soterd(path)
        in_environment = f"the environment variable SOTERD is {path}, {words}"
        with mock.patch.dict(os.environ, {"SOTERD": str(path)}), pytest.raises(SoterdError, match=in_environment):
            find_soterd()


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
