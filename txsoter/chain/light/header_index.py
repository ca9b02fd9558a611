"""``HeaderIndex``: the headers of a DAG in memory, and the rules by which another one is believed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from txsoter.chain.light.header_record import HASH_SIZE, TIME, HeaderRecord, join_raw, pack_header, pack_nonces
from txsoter.errors import FieldError, InvalidBlock, InvalidProof
from txsoter.networks import Network
from txsoter.wire import Block, BlockHeader, Hash, parents_commitment
from txsoter.wire.blocks import MAX_TIME_AHEAD
from txsoter.wire.cuckoo import CYCLE_LENGTH, check_cycle
from txsoter.wire.hashes import as_hash
from txsoter.wire.views import RowView

__all__ = ["MEDIAN_BLOCKS", "HeaderIndex"]

MEDIAN_BLOCKS = 11
"""Ancestors whose median time a block's time must exceed."""


class HeaderIndex:
    """The headers of a network's DAG, parents before children.

    It has neither clock nor I/O. Times are seconds since 1970. A network whose genesis block is known begins with it;
    otherwise the genesis is the first to be added.

    :param network: whose genesis it is.
    :param check_proofs: whether proof of work is checked.
    """

    def __init__(self, network: Network, check_proofs: bool = True) -> None:
        self.network = network
        self.check_proofs = check_proofs
        self._records: list[HeaderRecord] = []
        self._numbers: dict[bytes, int] = {}
        # by number: the time, and the number of the parent that is listed first, of the genesis its own
        self._times = array("L")
        self._first_parents = array("L")
        # by height: the number of the first record there, and those of others
        self._firsts = array("L")
        self._siblings: dict[int, list[int]] = {}
        self._tips: dict[int, None] = {}
        if network.genesis_block is not None:
            self.add(HeaderRecord.pack(pack_header(network.genesis_block.header), (), (), 0))

    # -- reading -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[HeaderRecord]:
        """Iterate over all records in the order in which they were added: parents before children."""
        return iter(self._records)

    def __contains__(self, block_hash: object) -> bool:
        return block_hash in self._numbers

    def get(self, block_hash: bytes) -> HeaderRecord | None:
        """Return the record of a block, or None."""
        number = self._numbers.get(block_hash)
        return None if number is None else self._records[number]

    def __getitem__(self, block_hash: bytes) -> HeaderRecord:
        """Return the record of a block.

        :raises KeyError: if it is not there.
        """
        return self._records[self._numbers[block_hash]]

    def number(self, block_hash: bytes) -> int:
        """Return how many records were added before that of a block.

        :raises KeyError: if it is not there.
        """
        return self._numbers[block_hash]

    def numbered(self, first: int, end: int) -> list[HeaderRecord]:
        """Return the records from the number ``first`` up to, and without, ``end``."""
        return self._records[first:end]

    def at_height(self, height: int) -> list[HeaderRecord]:
        """Return the records of a height, ascending by the shown form of their hashes; none of a height without any."""
        if not 0 <= height < len(self._firsts):
            return []
        numbers = [self._firsts[height], *self._siblings.get(height, ())]
        return sorted((self._records[number] for number in numbers), key=lambda record: record.hash[::-1])

    @property
    def tips(self) -> list[HeaderRecord]:
        """The records without children, ascending by the shown form of their hashes."""
        return sorted((self._records[number] for number in self._tips), key=lambda record: record.hash[::-1])

    @property
    def max_height(self) -> int:
        """The greatest height; -1 without any record."""
        return len(self._firsts) - 1

    def missing(self, parents: Iterable[bytes]) -> list[Hash]:
        """Return those of ``parents`` that are not there."""
        return [as_hash(each) for each in parents if each not in self._numbers]

    def median_time(self, parents: Sequence[bytes]) -> int:
        """Return the time, seconds since 1970, that the time of a block above ``parents`` must exceed.

        It is the median of 11 times, as nodes find them: of the newest parent, or the first listed of several as new,
        then of the parent that each block lists first. Of an even number, next to the genesis, it is the upper one.

        :param parents: hashes, in the order in which the block lists them.
        :raises KeyError: for a parent that is not there.
        """
        return self._median_from(self._newest([self._numbers[each] for each in parents]))

    def _newest(self, numbers: list[int]) -> int:
        return numbers[0] if len(numbers) == 1 else max(numbers, key=self._times.__getitem__)

    def _median_from(self, number: int) -> int:
        times, first_parents = self._times, self._first_parents
        found = []
        for _ in range(MEDIAN_BLOCKS):
            found.append(times[number])
            above, number = number, first_parents[number]
            if number == above:
                break
        found.sort()
        return found[len(found) // 2]

    # -- growing -------------------------------------------------------------------------------

    def check(
        self, header: BlockHeader | bytes, parents: Sequence[bytes], nonces: Sequence[int], now: float
    ) -> HeaderRecord:
        """Check a block's header against all rules that need no transactions, and return its record, not yet added.

        :param header: a header, or its 80 bytes.
        :param parents: hashes, in the order in which the block lists them.
        :param nonces: of the block's proof of work.
        :param now: seconds since 1970.
        :raises InvalidBlock: naming the rule that it breaks: ``"parents"`` (none, or not those that it commits to),
            ``"known parents"``, ``"time too new"``, ``"time too old"``, ``"genesis"`` or one of the proof of work's.
        :raises FieldError: for arguments of other types.
        """
        return self._checked(pack_header(header), parents, nonces, pack_nonces(nonces), now)

    def check_block(self, block: Block, now: float) -> HeaderRecord:
        """Check all of a block, its transactions too, as far as that needs no other block's transactions.

        :param now: seconds since 1970.
        :raises InvalidBlock: as :meth:`check` and :meth:`Block.verify_transactions` do.
        """
        parents, nonces = block.parents, block.nonces
        # most blocks come from the wire, and have these as the bytes that a record is made of
        if isinstance(parents, RowView):
            raw = parents.raw
            hashes = [raw[start : start + HASH_SIZE] for start in range(0, len(raw), parents.layout.size)]
        else:
            hashes = [each.hash for each in parents]
        packed = nonces.raw if isinstance(nonces, RowView) else pack_nonces(nonces)
        record = self._checked(pack_header(block.header), hashes, nonces, packed, now)
        block.verify_transactions()
        return record

    def _checked(
        self, raw: bytes, parents: Sequence[bytes], nonces: Sequence[int], packed: bytes, now: float
    ) -> HeaderRecord:
        block_hash = as_hash(sha256(sha256(raw).digest()).digest())
        if block_hash == self.network.genesis_hash:
            # it has neither a proof nor parents, and is known by its hash
            if parents or packed:
                raise InvalidBlock(block_hash, "the genesis block has neither parents nor nonces", "genesis")
            return HeaderRecord(block_hash, 0, join_raw(raw, (), b""))
        if not parents:
            raise InvalidBlock(block_hash, "it has no parents", "parents")
        if len(parents) == 1 and isinstance(parents[0], bytes):
            commitment = sha256(sha256(parents[0]).digest()).digest()
        else:
            commitment = parents_commitment(parents)
        if commitment != raw[4:36]:
            words = f"prev is {as_hash(raw[4:36])}, its parents' commitment is {as_hash(commitment)}"
            raise InvalidBlock(block_hash, words, "parents")
        try:
            numbers = [self._numbers[each] for each in parents]
        except KeyError:
            words = f"its parents {', '.join(map(str, self.missing(parents)[:3]))} are not known"
            raise InvalidBlock(block_hash, words, "known parents") from None
        time = int.from_bytes(raw[TIME], "little")
        if time > now + MAX_TIME_AHEAD:
            words = f"its time is {time}, at most {now + MAX_TIME_AHEAD:.0f} is taken now"
            raise InvalidBlock(block_hash, words, "time too new")
        median = self._median_from(self._newest(numbers))
        if time <= median:
            words = f"its time is {time}, not above the median of its ancestors, {median}"
            raise InvalidBlock(block_hash, words, "time too old")
        if self.check_proofs:
            try:
                check_cycle(block_hash[:16], nonces)
            except InvalidProof as error:
                raise InvalidBlock(block_hash, f"{error.rule}: {error.reason}", error.rule) from None
        elif len(nonces) > CYCLE_LENGTH:
            # the hash does not cover them: anybody may have added any number
            words = f"it has {len(nonces)} nonces, at most {CYCLE_LENGTH} are taken"
            raise InvalidBlock(block_hash, words, "20 nonces")
        return HeaderRecord(block_hash, 1 + self._highest(numbers), join_raw(raw, parents, packed))

    def _highest(self, numbers: list[int]) -> int:
        records = self._records
        return records[numbers[0]].height if len(numbers) == 1 else max([records[each].height for each in numbers])

    def add(self, record: HeaderRecord) -> bool:
        """Add a record that :meth:`check` returned, or that was kept; return False if it is there already.

        :raises FieldError: if a parent is not there, the height is not one more than the highest parent's, or it is
            another genesis.
        """
        if record.hash in self._numbers:
            return False
        number = len(self._records)
        try:
            numbers = [self._numbers[each] for each in record.parents]
        except KeyError:
            raise FieldError("record", record.hash, "one whose parents have been added") from None
        if not numbers and record.hash != self.network.genesis_hash:
            raise FieldError("record", record.hash, f"above the genesis {self.network.genesis_hash}")
        height = 1 + self._highest(numbers) if numbers else 0
        if record.height != height:
            raise FieldError("record.height", record.height, f"one more than its highest parent's: {height}")
        self._records.append(record)
        self._numbers[record.hash] = number
        self._times.append(int.from_bytes(record.raw[TIME], "little"))
        self._first_parents.append(numbers[0] if numbers else number)
        if height == len(self._firsts):
            self._firsts.append(number)
        else:
            self._siblings.setdefault(height, []).append(number)
        tips = self._tips
        for each in numbers:
            tips.pop(each, None)
        tips[number] = None
        return True

    def set_filter_header(self, block_hash: bytes, filter_header: Hash | None) -> HeaderRecord:
        """Note the header of a block's committed filter, or None to forget it; return the record as it is now.

        :raises KeyError: if the block is not there.
        """
        number = self._numbers[block_hash]
        record = self._records[number] = self._records[number]._replace(filter_header=filter_header)
        return record
