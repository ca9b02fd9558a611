"""What users do, as often as it is asked for on standard input: an end of the suite ``compiled``."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import process_time
from typing import Any, NamedTuple

import txsoter
from benchmarks.chain_inputs import Parents, block_of_transactions, long_dag, proofs, scripts, wide_dag
from benchmarks.inputs import MAGIC, SAMPLES, Sample
from txsoter.chain import BloomFilter, Dag, GolombFilter, check_proof_of_work, merkle_block
from txsoter.wire import Block, MerkleBlock, read_message, write_message

__all__ = ["main"]

KEY = bytes(16)


class Case(NamedTuple):
    """Something to measure.

    :param call: gets what ``prepare`` makes, which is not measured.
    :param times: how often it is called in a row: a call of some microseconds is less than the clock can tell.
    """

    name: str
    call: Callable[..., object]
    prepare: Callable[[], tuple[Any, ...]] = tuple
    times: int = 1


def main(quick: bool) -> None:
    """Print the cases' names, then answer each number read with the microseconds of that case."""
    cases = [*_messages(quick), *_proofs_and_filters(quick), *_orders(quick)]
    print(json.dumps({"cases": [case.name for case in cases], "compiled": txsoter.compiled}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"us": _least(cases[int(line)], 0.0 if quick else 0.1)}), flush=True)


def _least(case: Case, budget: float) -> float:
    """Return the least CPU time of a call in microseconds; of those that fit into ``budget`` seconds."""
    _, call, prepare, times = case
    least, spent, runs, repeat = float("inf"), 0.0, 0, range(times)
    while spent < budget or runs < 3:
        prepared = prepare()
        gc.disable()
        started = process_time()
        for _ in repeat:
            call(*prepared)
        taken = process_time() - started
        gc.enable()
        least, spent, runs = min(least, taken), spent + taken, runs + 1
    return least / times * 1e6


def _messages(quick: bool) -> Iterator[Case]:
    for sample in SAMPLES:
        yield from _message(sample, quick)


def _message(sample: Sample, quick: bool) -> Iterator[Case]:
    built, encoding = sample.build(quick), sample.encoding
    frame = write_message(built, MAGIC, encoding=encoding)
    times = max(1, 100_000 // len(frame))

    def decode() -> Any:
        return read_message(frame, MAGIC, encoding=encoding)[0]

    def look_at_each() -> None:
        for each in decode().transactions:
            _ = each.inputs, each.outputs

    yield Case(f"decode {sample.name}", decode, times=times)
    yield Case(f"encode {sample.name}", lambda: write_message(built, MAGIC, encoding=encoding), times=times)
    if isinstance(built, Block):
        yield Case(f"decode {sample.name}, each transaction parsed", look_at_each, times=times)


def _proofs_and_filters(quick: bool) -> Iterator[Case]:
    header, nonces = proofs()[0]
    yield Case("proof of work checked", partial(check_proof_of_work, header, nonces), times=50)
    few, some, many = (20, 10, 50) if quick else (100, 1000, 10_000)
    items, queries = scripts(many, "items"), scripts(some, "queries")
    yield Case(f"filter of {many:,} items built", partial(GolombFilter.build, KEY, items))
    for count in (few, many):
        raw = bytes(GolombFilter.build(KEY, items[:count]))
        yield Case(f"filter of {count:,} read", partial(GolombFilter.from_bytes, raw, KEY), times=many // count)
    block = block_of_transactions(20 if quick else 2000)
    bloom = BloomFilter(len(queries), 0.001)
    for each in queries:
        bloom.add(each)
    matches = bloom.matches_tx
    yield Case("a block matched with a bloom filter", lambda: [matches(each) for each in block.transactions])
    chosen = range(0, len(block.transactions), 20)
    proof = merkle_block(block, chosen).to_payload()
    yield Case("merkle proof checked", lambda: MerkleBlock.from_payload(proof)[0].matched())


def _orders(quick: bool) -> Iterator[Case]:
    for parents in (long_dag(), wide_dag(200 if quick else 10_000)):
        size, filled = f"{len(parents):,} blocks", partial(_filled, parents)
        yield Case(f"DAG of {size} filled", filled)
        yield Case(f"soterd_order, {size}", Dag.soterd_order, filled)
        yield Case(f"topological_order, {size}", Dag.topological_order, filled)
        yield Case(f"past and anticone, {size}", partial(_look_around, *filled(), list(parents)[::50]))


def _filled(parents: Parents) -> tuple[Dag[str]]:
    dag: Dag[str] = Dag()
    for name, named in parents.items():
        dag.add(name, named)
    return (dag,)


def _look_around(dag: Dag[str], names: list[str]) -> None:
    for each in names:
        dag.past(each)
        dag.anticone(each)
