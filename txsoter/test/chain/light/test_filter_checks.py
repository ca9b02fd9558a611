"""Tests of :mod:`txsoter.chain.light.filter_checks`: which filters can be a block's."""

from __future__ import annotations

from txsoter.chain import GolombFilter, basic_filter, basic_filter_items
from txsoter.chain.light.filter_checks import best_filter, check_filter, created_outputs, spent_outpoints
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase, block_of
from txsoter.test.chain.served_dag import GENESIS, block_above, payment
from txsoter.wire import Block

COIN = block_above([GENESIS], script=b"\x51coin")
OTHER = block_above([GENESIS], script=b"\x51other", number=1)
SPENDING = block_above(
    [COIN, OTHER],
    payment((COIN.transactions[0], 0), (OTHER.transactions[0], 0), to=[b"\x52", b"\x6a\x01x", b""]),
    number=2,
)
SPENT = {
    (COIN.transactions[0].txid, 0): b"\x51coin",
    (OTHER.transactions[0].txid, 0): b"\x51other",
}
OUTPUTS = [b"\x51", b"\x52"]


def data_of(block: Block, *items: bytes) -> bytes:
    return bytes(GolombFilter.build(block.hash[:16], items))


class CheckFilterTests(ChainTestCase):
    def refused(self, rule: str, *items: bytes, known: int = 2) -> None:
        spent = dict(list(SPENT.items())[:known])
        self.assert_invalid(rule, "", check_filter, data_of(SPENDING, *items), SPENDING, spent)

    def passed(self, *items: bytes, known: int = 2) -> int:
        return check_filter(data_of(SPENDING, *items), SPENDING, dict(list(SPENT.items())[:known]))

    def test_vectors_pass_whatever_is_known_of_what_they_spend(self) -> None:
        """And none of them passes for the block of another."""
        last = None
        for row in vectors.consensus("gcs"):
            if row["kind"] == "raw":
                continue
            block, data = block_of(row["block"]), bytes.fromhex(row["filter"])
            scripts = [bytes.fromhex(each) for each in row["prev_scripts"]]
            outpoints = spent_outpoints(block)
            if len(scripts) > len(outpoints):
                # made at random
                continue
            check_filter(data, block, {})
            if len(outpoints) == len(scripts):
                check_filter(data, block, dict(zip(outpoints, scripts, strict=True)))
            if last is not None and basic_filter_items(block, ()):
                self.assert_invalid("output scripts", "", check_filter, last, block, {})
            last = data if len(data) > 4 else last

    def test_all_items_and_fewer(self) -> None:
        """A spent script may be missing: the node has skipped the transaction."""
        for known in (0, 1, 2):
            self.assertEqual(self.passed(*OUTPUTS, b"\x51coin", b"\x51other", known=known), 2 + known)
            self.assertEqual(self.passed(*OUTPUTS, b"\x51coin", known=known), 2 + min(known, 1))
            self.assertEqual(self.passed(*OUTPUTS, known=known), 2)
        self.assertEqual(bytes(basic_filter(SPENDING, SPENT.values())), data_of(SPENDING, *OUTPUTS, *SPENT.values()))

    def test_an_output_script_is_missing(self) -> None:
        self.refused("output scripts", b"\x51", b"\x51coin", b"\x51other")
        self.refused("output scripts")

    def test_an_item_too_many(self) -> None:
        """Outputs and inputs have four at most, also where nothing is known of what is spent."""
        for known in (0, 1, 2):
            self.refused("items of the filter", *OUTPUTS, *SPENT.values(), b"more", known=known)

    def test_an_item_that_nothing_explains(self) -> None:
        self.refused("items of the filter", *OUTPUTS, b"\x51coin", b"what")
        self.refused("items of the filter", *OUTPUTS, b"what")
        # with one script unknown, that could be it
        self.assertEqual(self.passed(*OUTPUTS, b"\x51coin", b"what", known=1), 3)

    def test_bits_that_fill_the_last_byte(self) -> None:
        """A node has none set: another filter of the same items is a lie."""
        data = data_of(SPENDING, *OUTPUTS, *SPENT.values())
        self.assertNotEqual(data[-1] | 1, data[-1])
        padded = data[:-1] + bytes([data[-1] | 1])
        self.assert_invalid("items of the filter", "not the scripts", check_filter, padded, SPENDING, SPENT)

    def test_a_block_that_spends_nothing_has_one_filter(self) -> None:
        only = data_of(COIN, b"\x51coin")
        self.assertEqual(check_filter(only, COIN, {}), 1)
        for rule, items in (
            ("output scripts", ()),
            ("output scripts", (b"more",)),
            ("items of the filter", (b"\x51coin", b"more")),
        ):
            self.assert_invalid(rule, "", check_filter, data_of(COIN, *items), COIN, {})

    def test_the_best_has_the_most_known_scripts(self) -> None:
        full, less = data_of(SPENDING, *OUTPUTS, *SPENT.values()), data_of(SPENDING, *OUTPUTS, b"\x51coin")
        wrong = data_of(SPENDING, *OUTPUTS, b"what")
        self.assertEqual(best_filter(SPENDING, [less, full], SPENT), full)
        self.assertEqual(best_filter(SPENDING, [full, less, less], SPENT), full)
        for most in (full, less):
            self.assertEqual(best_filter(SPENDING, [full, less, most], {}), most)
        self.assertEqual(best_filter(SPENDING, [wrong, full], dict(list(SPENT.items())[1:])), full)

    def test_outputs(self) -> None:
        self.assertEqual(spent_outpoints(SPENDING), list(SPENT))
        self.assertEqual(spent_outpoints(COIN), [])
        created = created_outputs([COIN, OTHER])
        self.assertEqual(created, SPENT)
