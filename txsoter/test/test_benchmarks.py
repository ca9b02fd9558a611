"""The benchmarks run and measure what they say; how fast anything is, is not looked at here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import txsoter

ROOT = Path(__file__).parents[2]
LIMIT = 120
"""Seconds for any of them; a busy machine needs more than the few that they take."""


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m benchmarks`` with these arguments, to its end."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)


def quick(suite: str, tmp_path: Path, *options: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """A trial run: what it printed, and its rows by name."""
    file = tmp_path / "figures.json"
    done = benchmarks(suite, "--quick", "--json", str(file), *options)
    assert done.returncode == 0, done.stderr
    # no progress without a terminal, no warning, nothing left unhandled
    assert done.stderr == ""
    whole = json.loads(file.read_text())
    assert whole["quick"] is True
    assert whole["machine"]["packages"]["txsoter"]
    (report,) = whole["suites"]
    assert report["suite"] == suite
    for note in report["notes"]:
        assert note[:40] in done.stdout
    return done.stdout, {row["name"]: row for row in report["rows"]}


def assert_figures(row: dict[str, Any], *columns: str) -> None:
    """The row has these figures, each the median of its rounds."""
    assert set(columns) <= set(row["figures"])
    for figure in row["figures"].values():
        assert len(figure["rounds"]) >= 1
        assert figure["min"] == min(figure["rounds"])
        assert figure["max"] == max(figure["rounds"])
        assert figure["min"] <= figure["median"] <= figure["max"]


def test_codec(tmp_path: Path) -> None:
    """Each message is decoded, encoded and sent on, beside the floor; other libraries as far as there are any."""
    printed, rows = quick("codec", tmp_path)
    names = {name.partition(" ")[2] for name in rows if name.startswith("decode ")}
    assert names >= {
        "ping",
        "version",
        "inv of 45,000",
        "headers of 2000",
        "tx, 225 B",
        "block, 4 MB",
        "cfilter, 20 KB",
    }
    for name in names:
        for what in ("decode", "encode", "sent on"):
            row = rows[f"{what} {name}"]
            assert_figures(row, "txsoter", "SHA-256 twice")
            assert row["figures"]["txsoter"]["min"] > 0
            assert row["values"]["x floor"] > 0
    assert len([name for name in rows if name.startswith(("inv of 1000, ", "version, "))]) == 4
    assert "decode headers of 2000" in printed


REFERENCE = """
import json, sys
for line in sys.stdin:
    verb, file, encoding, count = line.split()
    if verb not in ("decode", "encode") or encoding not in ("base", "witness") or int(count) < 1:
        print(json.dumps({"error": line}), flush=True)
    else:
        print(json.dumps({"us": len(open(file, "rb").read()) / 1000}), flush=True)
"""


def test_codec_beside_another_implementation(tmp_path: Path) -> None:
    """A program given as the reference gets every frame, and its figures stand in the table."""
    program = tmp_path / "reference.py"
    program.write_text(REFERENCE)
    _, rows = quick("codec", tmp_path, "--reference", shlex.join((sys.executable, str(program))))
    for name in ("ping", "block, 450 KB mixed"):
        for what in ("decode", "encode", "sent on"):
            row = rows[f"{what} {name}"]
            assert_figures(row, "reference")
            assert row["values"]["reference / ours"] > 0
    assert rows["encode ping"]["figures"]["reference"]["median"] == pytest.approx(0.032)
    # its figures are no other library's
    assert rows["encode ping"]["values"].get("best other / ours", 1) > 0.05
    refused = benchmarks("peer", "--reference", "true")
    assert (refused.returncode, refused.stderr) == (1, "--reference: only the codec suite takes one\n")
    for given, fault in (
        (f"{sys.executable} -c 'print(5)'", ": answered 5, not a JSON object\n"),
        (shlex.join((sys.executable, "-c", 'print(\'{"error": "no such frame"}\')')), ": no such frame\n"),
        (f"{sys.executable} -c ''", ": ended with status 0\n"),
        ("/no/such/program", "--reference: cannot run '/no/such/program': [Errno 2] No such file or directory"),
        ("'", '--reference: cannot run "\'": No closing quotation\n'),
        ("", "--reference: cannot run '': no program\n"),
    ):
        refused = benchmarks("codec", "--quick", "--reference", given)
        assert refused.returncode == 1
        assert fault in refused.stderr


def test_peer(tmp_path: Path) -> None:
    """All modes run between two processes, of this library and of the floors, and the listeners heard everything."""
    printed, rows = quick("peer", tmp_path)
    assert len(rows) == 12
    for name, row in rows.items():
        assert_figures(row, "txsoter", "bare" if name.startswith("handshakes") else "checksum")
        assert row["figures"]["txsoter"]["min"] > 0
    assert "mixed shapes go at" in printed


def test_scale(tmp_path: Path) -> None:
    """Idle connections are made, aged, measured and told something, and none is lost."""
    printed, rows = quick("scale", tmp_path)
    assert len(rows) == 10
    for row in rows.values():
        assert_figures(row, "txsoter", "bare")
    assert rows["5 connections: objects each, dialling end"]["figures"]["txsoter"]["min"] > 0
    assert "CPU idle" in printed


def test_metrics(tmp_path: Path) -> None:
    """Pings cross with metrics and without, at the end that answers and at both, and the metrics are served."""
    printed, rows = quick("metrics", tmp_path)
    assert len(rows) == 5
    for name, row in rows.items():
        assert_figures(row, *(("on",) if name.startswith("a look at ") else ("off", "on")))
        assert row["figures"]["on"]["min"] > 0
    assert "round trips go into the histogram" in printed


def test_chain(tmp_path: Path) -> None:
    """Proofs, filters and orders are measured, beside other libraries as far as there are any."""
    printed, rows = quick("chain", tmp_path)
    assert len(rows) == 20
    for row in rows.values():
        assert_figures(row, "txsoter")
        assert row["figures"]["txsoter"]["min"] > 0
        assert row["values"]["a second"] > 0
    assert "soterd_order, 660 blocks" in rows
    assert "garbage collection off" in printed


def test_compiled(tmp_path: Path) -> None:
    """Compiled modules and their sources take turns in two processes; where there are none it says how to have them."""
    if not txsoter.compiled:
        done = benchmarks("compiled", "--quick")
        assert done.returncode == 1
        assert done.stderr.strip() == "compiled: no module of txsoter is compiled here: TXSOTER_MYPYC=1 pip install ."
        return
    printed, rows = quick("compiled", tmp_path)
    for row in rows.values():
        assert_figures(row, "pure", "compiled")
        assert row["values"]["pure / compiled"] > 0
    assert {"decode block, 4 MB", "proof of work checked", "soterd_order, 660 blocks"} <= set(rows)
    assert "txsoter.wire.txcodec" in printed


def test_compiled_end() -> None:
    """It names its cases, and measures each one that it is asked for."""
    from benchmarks.children import Child
    from benchmarks.compiled import START

    with Child(program=[sys.executable, "-c", START, str(ROOT), "quick"]) as end:
        begun = end.answer(LIMIT)
        assert tuple(begun["compiled"]) == txsoter.compiled
        for number, name in enumerate(begun["cases"]):
            assert end.ask(number, timeout=LIMIT)["us"] > 0, name


def test_ends_alone() -> None:
    """One end serves, another process drives it, and the accepting end's listeners count what came."""
    from benchmarks.children import Child

    with Child("peer", "serve", "tcp:0:interface=127.0.0.1", "--report", "--read-vectors", "rows") as serving:
        port = serving.answer(LIMIT)["port"]
        done = benchmarks("peer", "drive", f"tcp:127.0.0.1:{port}", "inv", "20")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rate"] > 0
        counts = serving.ask("report", timeout=LIMIT)
    assert (counts["ready"], counts["inv"], counts["vectors"]) == (1, 20, 20_000)


def test_crawl(tmp_path: Path) -> None:
    """Maps of a network are compared with the truth; the network is gone afterwards."""
    printed, rows = quick("crawl", tmp_path, "--nodes", "12", "25")
    for size in (12, 25):
        for what in ("nodes visited", "99 % of the edges known after", "CPU of the crawler", "memory of the crawler"):
            row = rows[f"{size} nodes: {what}"]
            assert_figures(row, "defaults", "no limits")
            assert row["figures"]["no limits"]["min"] > 0
        assert rows[f"{size} nodes: edges found"]["figures"]["defaults"]["median"] == 100
    assert "25 nodes: edges found" in printed


def test_a_map_that_is_wrong_is_no_figure() -> None:
    """A node that is missing, an edge that is none, and too few edges are errors."""
    from benchmarks.crawl import compared

    times = {"reachable": True, "first_seen": 5.0, "last_success": 7.0}
    nodes = [{"address": "127.1.1.1", "port": port, **times} for port in (1, 2)]
    names = [f"127.1.1.1:{port}" for port in (1, 2)]
    edge = {"from": names[0], "to": names[1], "first_seen": 6.5}
    truth = {"nodes": names, "edges": [names]}
    assert compared({"nodes": nodes, "edges": [edge]}, truth) == {"rate": 1.0, "edges_99": 1.5, "edges": 100.0}
    for found, words in (
        ({"nodes": nodes[:1], "edges": [edge]}, "1 nodes were not found"),
        ({"nodes": nodes, "edges": [edge, {**edge, "from": names[1], "to": names[0]}]}, "1 connections of the map are"),
        ({"nodes": nodes, "edges": []}, "0 of 1 connections were found"),
    ):
        with pytest.raises(RuntimeError, match=words):
            compared(found, truth)


def test_child_ends_with_its_owner() -> None:
    """A child process is gone once its context is left, also when that happens by an error."""
    from benchmarks.children import Child

    with pytest.raises(ZeroDivisionError), Child("peer", "serve", "tcp:0:interface=127.0.0.1", "--report") as serving:
        serving.answer(LIMIT)
        raise ZeroDivisionError
    assert serving.code is not None


def test_child_that_fails_is_an_error() -> None:
    """What a child cannot do fails in the one who asked."""
    from benchmarks.children import Child

    with Child("peer", "drive", "tcp:127.0.0.1:1", "-", "0") as driving, pytest.raises(RuntimeError, match="Refused"):
        driving.ask("ping", 1, timeout=LIMIT)
    with (
        Child("peer", "serve", "no-such-endpoint:0") as serving,
        pytest.raises(RuntimeError, match="ended with status 1"),
    ):
        serving.answer(LIMIT)


def test_rounds_take_turns() -> None:
    """Everybody is warmed up, then each round has everybody, another one first; ratios are taken round by round."""
    from benchmarks.measure import Figure, collect, interleave

    order: list[str] = []

    def case(name: str, value: float) -> dict[str, float]:
        order.append(name)
        return {"us": value * len(order)}

    results = interleave({"a": lambda: case("a", 1), "b": lambda: case("b", 2)}, 2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    figures = collect(results, "us")
    assert figures == {"a": Figure((3, 6)), "b": Figure((8, 10))}
    assert figures["b"].over(figures["a"]) == pytest.approx((8 / 3 + 10 / 6) / 2)
    assert (figures["a"].median, figures["a"].spread) == (4.5, (3, 6))


def test_short_cases_take_turns_across_sets() -> None:
    """Each round has all sets, warmed up in the first; in each, another case begins."""
    from benchmarks.measure import take_turns

    order: list[str] = []

    def case(name: str) -> dict[str, float]:
        order.append(name)
        return {"us": len(order)}

    sets = [{name: partial(case, name) for name in names} for names in ("ab", "c")]
    done: list[int] = []
    results = take_turns(sets, 2, lambda: done.append(len(order)))
    assert order == ["a", "b", "a", "b", "c", "c", "b", "a", "c"]
    assert results == [{"a": [{"us": 3}, {"us": 8}], "b": [{"us": 4}, {"us": 7}]}, {"c": [{"us": 6}, {"us": 9}]}]
    assert done == [4, 6, 8, 9]


def test_command_line() -> None:
    """Options mean the same before and behind the suite; fewer than 5 rounds are no figure."""
    from benchmarks.__main__ import parser

    for line in ("--quick --rounds 7 codec", "codec --quick --rounds 7", "--quick codec --rounds 7"):
        found = parser().parse_args(line.split())
        assert (found.suite, found.quick, found.rounds) == ("codec", True, 7)
    refused = benchmarks("codec", "--rounds", "4")
    assert refused.returncode == 2
    assert "at least 5 rounds" in refused.stderr
    refused = benchmarks("peer", "drive", "tcp:127.0.0.1:1", "dance", "3")
    assert refused.returncode == 1
    assert refused.stderr.startswith("mode 'dance': must be one of ping,")
