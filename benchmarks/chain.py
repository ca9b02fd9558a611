"""Proof of work, filters, merkle proofs and the order of the DAG."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from benchmarks.chain_competitors import NAMES, Library, available
from benchmarks.chain_inputs import Parents, block_of_transactions, long_dag, proofs, scripts, wide_dag
from benchmarks.chain_sync import SyncEnds, filled
from benchmarks.measure import Report, Row, collect, progress_bar, take_turns, time_call
from txsoter.chain import BloomFilter, Dag, GolombFilter, check_proof_of_work, merkle_block
from txsoter.wire import BlockHeader, MerkleBlock, double_sha256
from txsoter.wire.partial_merkle import partial_tree

__all__ = ["run"]

OURS = "txsoter"
KEY = bytes(16)

Run = Callable[[], Mapping[str, float]]


def run(rounds: int, quick: bool) -> Report:
    """Measure it, beside whoever else can do the same."""
    others = available()
    lacking = [name for name in NAMES if name not in {other.name for other in others}]
    report = Report("chain", (OURS, *(other.name for other in others), "best other / ours", "a second"))
    with ExitStack() as stack, progress_bar() as progress:
        cases = [*_calls(others, quick), *_dags(quick), *_headers(stack, quick)]
        task = progress.add_task("chain", total=len(cases) * rounds)
        measured = take_turns([case.runs for case in cases], rounds, lambda: progress.advance(task))
    for case, results in zip(cases, measured, strict=True):
        figures = collect(results, "us")
        row = Row(case.name, "us", dict(figures))
        ratios = [figure.over(figures[OURS]) for column, figure in figures.items() if column != OURS]
        if ratios:
            row.values["best other / ours"] = min(ratios)
        row.values["a second"] = 1e6 / figures[OURS].median
        report.rows.append(row)
    report.notes = [
        "Microseconds: median and half of least to greatest of the rounds; garbage collection off. One core.",
        "Others get the same items. chiabip158 is C++, has no key and 20 bits a remainder, and takes lists of numbers. "
        "btclib hashes in Python. bitcoinx' proofs are of another format, and have the last transaction, too.",
        "Filters are read from their bytes before each match. btclib would need half a minute for a thousand.",
        "Headers are synced over loopback by a light client from a process that serves prepared blocks, lists and "
        "connection included. Where proofs are checked, each header is checked by a recorded one instead of its own.",
        "Orders are computed from nothing but the DAG; the reference needs 1 to 1.5 s for the one of 660 blocks.",
    ]
    if lacking:
        report.notes.append(f"Not installed, so not measured: {', '.join(lacking)}.")
    return report


class Case(NamedTuple):
    """One line of the table: what is run for each column."""

    name: str
    runs: Mapping[str, Run]


def _calls(others: list[Library], quick: bool) -> Iterator[Case]:
    budget = 0.0005 if quick else 0.05

    def case(name: str, ours: Callable[[], object], theirs: Callable[[Library], Callable[[], object] | None]) -> Case:
        calls = {OURS: ours, **{other.name: call for other in others if (call := theirs(other)) is not None}}
        return Case(name, {column: time_call(call, budget) for column, call in calls.items()})

    mined = cycle(proofs())

    def check_one() -> None:
        check_proof_of_work(*next(mined))

    yield case("proof of work checked", check_one, lambda other: None)

    few, some, many = (20, 10, 50) if quick else (100, 1000, 10_000)
    items, queries = scripts(many, "items"), scripts(some, "queries")
    yield case(
        f"filter of {many:,} items built", lambda: GolombFilter.build(KEY, items), lambda other: other.gcs_build(items)
    )
    small = items[:few]
    raw = bytes(GolombFilter.build(KEY, small))
    yield case(
        f"{some:,} scripts matched, filter of {few}",
        lambda: GolombFilter.from_bytes(raw, KEY).match_any(queries),
        lambda other: other.gcs_match(small, queries),
    )
    filters = [scripts(few, f"block {number}") for number in range(some)]
    # a filter's key is of its block
    keys = [double_sha256(each[0])[:16] for each in filters]
    served = [(key, bytes(GolombFilter.build(key, each))) for key, each in zip(keys, filters, strict=True)]
    yield case(
        f"{some:,} scripts matched, {some:,} filters of {few}",
        lambda: [GolombFilter.from_bytes(data, key).match_any(queries) for key, data in served],
        lambda other: other.gcs_match_many(filters, queries),
    )

    known = scripts(some, "known")

    def bloom_of_known() -> BloomFilter:
        bloom = BloomFilter(len(known), 0.001)
        for each in known:
            bloom.add(each)
        return bloom

    bloom = bloom_of_known()
    yield case(f"bloom filter of {some:,} filled", bloom_of_known, lambda other: other.bloom_add(known))
    yield case(
        f"{some:,} matched, bloom filter of {some:,}",
        lambda: [each in bloom for each in queries],
        lambda other: other.bloom_match(known, queries),
    )

    block = block_of_transactions(20 if quick else 2000)
    txids = [each.txid for each in block.transactions]
    count = len(txids)
    chosen = range(0, count, 20)
    matched = [position in chosen for position in range(count)]
    proof = merkle_block(block, chosen).to_payload()
    yield case(
        f"merkle proof of {len(chosen)} of a block's {count:,}", lambda: merkle_block(block, chosen), lambda other: None
    )
    yield case(
        f"merkle proof of {len(chosen)} of {count:,} ids",
        lambda: partial_tree(txids, matched),
        lambda other: other.merkle_build(txids, matched),
    )
    yield case(
        f"merkle proof of {len(chosen)} of {count:,} checked",
        lambda: MerkleBlock.from_payload(proof)[0].matched(),
        lambda other: other.merkle_check(txids, matched),
    )
    header = BlockHeader()
    yield case("hash of a header, which a proof of work needs", lambda: header.hash, lambda other: None)


def _dags(quick: bool) -> Iterator[Case]:
    for parents in (long_dag(), wide_dag(200 if quick else 10_000)):
        size = f"{len(parents):,} blocks"
        yield Case(f"soterd_order, {size}", {OURS: _order(parents, Dag.soterd_order)})
        yield Case(f"topological_order, {size}", {OURS: _order(parents, Dag.topological_order)})
    yield Case(f"a block added to {size}", {OURS: _last_block(parents, lambda dag: None)})
    yield Case(
        f"a block added to {size}, and soterd_order", {OURS: _last_block(parents, lambda dag: dag.soterd_order())}
    )


def _headers(stack: ExitStack, quick: bool) -> Iterator[Case]:
    count = 200 if quick else 20_000
    ends = SyncEnds(stack, count)
    for name, options in (
        ("in memory", ()),
        ("in memory, proof of work checked", ("proofs",)),
        ("in a file", ("disk",)),
    ):
        yield Case(f"a header of {count:,} synced, {name}", {OURS: partial(ends.sync, *options)})
    many = count * 5
    folder = Path(stack.enter_context(TemporaryDirectory()))
    yield Case(f"file of {many:,} headers opened", {OURS: time_call(filled(folder, many), 0.0)})


def _filled(parents: Parents) -> Dag[str]:
    dag: Dag[str] = Dag()
    for name, named in parents.items():
        dag.add(name, named)
    return dag


def _order(parents: Parents, order: Callable[[Dag[str]], object]) -> Run:
    """Order a DAG that has not been looked at."""

    def run() -> Mapping[str, float]:
        dag = _filled(parents)
        return _timed(lambda: order(dag))

    return run


def _last_block(parents: Parents, look: Callable[[Dag[str]], object]) -> Run:
    """Add the last block to a DAG that has been looked at, and look again."""
    *names, last = parents

    def run() -> Mapping[str, float]:
        dag = _filled({name: parents[name] for name in names})
        look(dag)

        def add() -> None:
            dag.add(last, parents[last])
            look(dag)

        return _timed(add)

    return run


def _timed(call: Callable[[], object]) -> Mapping[str, float]:
    gc.disable()
    try:
        started = perf_counter()
        call()
        return {"us": (perf_counter() - started) * 1e6}
    finally:
        gc.enable()
