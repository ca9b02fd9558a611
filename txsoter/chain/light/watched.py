"""``Watched``: scripts and outputs that concern a program, and the transactions that concern them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import attrs

from txsoter.chain.bloom_filter import BloomFilter
from txsoter.chain.light.filter_checks import Outpoint
from txsoter.chain.script import pushed_data
from txsoter.errors import FieldError
from txsoter.wire import BloomUpdate, Hash, MerkleBlock, Tx
from txsoter.wire.codec import U32

__all__ = ["Concerns", "Outpoints", "Watched", "WatchedTransaction"]

Outpoints = Iterable[Outpoint] | Mapping[Outpoint, bytes]

FALSE_POSITIVES = 1e-5
"""Share of other transactions that a bloom filter matches as well."""

SPARE = 100
"""Outputs found while a bloom filter is loaded for which it has room."""


class Concerns(NamedTuple):
    """The parts of a transaction that concern what is watched.

    :param pays: positions of outputs that pay to a watched script.
    :param spends: positions of inputs that spend a watched output.
    """

    pays: tuple[int, ...]
    spends: tuple[int, ...]


@attrs.frozen
class WatchedTransaction:
    """A transaction that concerns what is watched, and the proof that it is in a block.

    Two blocks may have the same transaction: it comes once for each.

    :ivar block_hash: the block.
    :ivar height: the block's.
    :ivar transaction: the transaction; without witnesses if the node that sent it offers none.
    :ivar proof: a merkle proof of it, whose header is that of the block.
    :ivar pays: positions of its outputs that pay to a watched script.
    :ivar spends: positions of its inputs that spend a watched output.
    :ivar is_mined: whether it is the block's coinbase, whose outputs can be spent 100 heights later.
    :ivar confirmations: blue blocks above the block when this was found.
    :ivar is_blue: whether the block was blue then.
    """

    block_hash: Hash
    height: int
    transaction: Tx
    proof: MerkleBlock
    pays: tuple[int, ...]
    spends: tuple[int, ...]
    is_mined: bool
    confirmations: int
    is_blue: bool


class Watched:
    """Scripts and outputs that are watched. An output found that pays to a script is watched from then on, too.

    :param scripts: of outputs, whole and not empty.
    :param outpoints: outputs, as transaction id and position; a mapping gives their scripts as well.
    :raises FieldError: for arguments that cannot be, and for nothing to watch.
    """

    def __init__(
        self, scripts: Iterable[bytes] = (), outpoints: Iterable[Outpoint] | Mapping[Outpoint, bytes] = ()
    ) -> None:
        self._scripts = dict.fromkeys(_script("scripts", each) for each in scripts)
        self._outpoints: dict[Outpoint, None] = {}
        self._search = dict(self._scripts)
        self.needs_blocks = False
        for each in outpoints:
            self._outpoints[_outpoint(each)] = None
            if isinstance(outpoints, Mapping):
                self._search[_script("outpoints", outpoints[each])] = None
            else:
                self.needs_blocks = True
        if not self._scripts and not self._outpoints:
            raise FieldError("scripts", scripts, "given, or outpoints: there is nothing to watch")

    @property
    def items(self) -> list[bytes]:
        """The scripts that a committed filter is searched for."""
        return list(self._search)

    @property
    def fits_bloom(self) -> bool:
        """True if a bloom filter can find everything: it knows scripts by the data that they push."""
        return all(any(pushed_data(script)) for script in self._scripts)

    def bloom_filter(self, tweak: int) -> BloomFilter:
        """Return the bloom filter of all that is watched; what it matches is added by the node as it goes on.

        :param tweak: u32, a random one.
        """
        pushes = {data for script in self._scripts for data in pushed_data(script) if data}
        found = BloomFilter(len(pushes) + len(self._outpoints) + SPARE, FALSE_POSITIVES, tweak, BloomUpdate.ALL)
        for data in pushes:
            found.add(data)
        for txid, index in self._outpoints:
            found.add_outpoint(txid, index)
        return found

    def concerns(self, tx: Tx) -> Concerns | None:
        """Return how a transaction concerns what is watched, and watch its outputs that do; None if it does not."""
        pays = tuple(position for position, each in enumerate(tx.outputs) if each.script in self._scripts)
        spends = tuple(position for position, each in enumerate(tx.inputs) if each[:2] in self._outpoints)
        if not pays and not spends:
            return None
        txid = tx.txid
        self._outpoints.update(dict.fromkeys((txid, position) for position in pays))
        return Concerns(pays, spends)


def _script(name: str, script: object) -> bytes:
    if not isinstance(script, bytes) or not script:
        raise FieldError(name, script, "scripts, bytes that are not empty")
    return script


def _outpoint(outpoint: object) -> Outpoint:
    limit = "pairs of a transaction's id, a Hash, and an output's position"
    if not isinstance(outpoint, tuple) or len(outpoint) != 2 or not isinstance(outpoint[0], Hash):
        raise FieldError("outpoints", outpoint, limit)
    try:
        U32.check(outpoint[1])
    except FieldError:
        raise FieldError("outpoints", outpoint, limit) from None
    return outpoint
