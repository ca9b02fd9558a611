"""Attacks by counts: of what is not there, too long for what they say, or negative."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from txsoter.errors import CloseCause
from txsoter.test.attacks.support import BOTH, KIB, Attack, AttackTestCase, RejectOf, raw_frame
from txsoter.testing import remote_version
from txsoter.wire import (
    PROTOCOL_VERSION,
    Alert,
    AlertDetails,
    Message,
    Reject,
    RejectCode,
    Services,
    Tx,
    blocks,
    bloom,
    inventory,
    txcodec,
)
from txsoter.wire.addresses import AddressCodec
from txsoter.wire.codec import BOOL, HASH, FixedBytes, ListOf, Scalar, VarBytes, write_varint
from txsoter.wire.message import field_codecs, messages
from txsoter.wire.views import Rows

BOUND = 64 * KIB
"""The most that the process may hold for any attack here."""

HUGE = (2**64 - 1, 2**64 - 2, 2**63, 2**63 - 1, 2**32, 2**32 - 1, 2**31 - 1)
"""Counts of what no message can hold."""

BEHIND = bytes(36)
"""What stands behind a count, so that the payload does not simply end with it: all that ``getblocks`` has room for."""

Build = Callable[[bytes], bytes]
"""Makes a payload, of the bytes of one of its counts."""


class Place(NamedTuple):
    """A count in a message.

    :param path: where, such as ``block.transactions[0].inputs``.
    :param build: makes a payload of the count's bytes.
    :param is_i32: whether it is an i32, not a varint.
    :param witness: whether it is there in the witness encoding only.
    :param quoted: whether it stands in bytes that need not be understood: a serialized alert.
    """

    path: str
    build: Build
    is_i32: bool = False
    witness: bool = False
    quoted: bool = False

    @property
    def command(self) -> str:
        """The message's command."""
        return self.path.partition(".")[0]

    @property
    def encodings(self) -> tuple[bool, ...]:
        """Whether the remote is to be one that writes witnesses, in all the ways that make a difference."""
        if self.witness:
            return (True,)
        return (False, True) if self.command == "tx" or "transactions" in self.path else (False,)


Codecs = tuple[tuple[str, Any], ...]

WITHOUT_COUNT = (Scalar, FixedBytes, type(BOOL), type(HASH), AddressCodec, blocks.HeaderCodec, bloom._HashFunctions)
"""The kinds of fields that have a fixed size."""


def after(build: Build, before: bytes) -> Build:
    """``build``, with ``before`` in front of the count."""
    return lambda raw: build(before + raw)


def places_of(path: str, codecs: Codecs, values: list[Any], build: Build) -> Iterator[Place]:
    """The counts in a row of fields.

    :param values: of the fields, for those that stand before the count.
    """
    before = b""
    for (name, codec), value in zip(codecs, values, strict=True):
        yield from places_in(f"{path}.{name}", codec, after(build, before))
        before += codec.write(value, PROTOCOL_VERSION)


def places_in(path: str, codec: Any, build: Build) -> Iterator[Place]:
    """The counts of one field. A kind of field that is not known here is an error: it may have counts."""
    if isinstance(codec, WITHOUT_COUNT):
        return
    yield Place(path, build, is_i32=isinstance(codec, blocks._SubHeaderRows))
    if isinstance(codec, blocks._Transactions):
        yield from places_in_transaction(f"{path}[0]", after(build, b"\1"))
    elif isinstance(codec, ListOf):
        yield from places_in(f"{path}[0]", codec.codec, after(build, b"\1"))
    elif not isinstance(codec, (VarBytes, Rows, inventory._LocatorCodec, blocks._SubHeaderRows)):
        raise AssertionError(f"{path} is of a kind that this test does not know: {type(codec).__name__}")


def places_in_transaction(path: str, build: Build) -> Iterator[Place]:
    """The counts of a transaction, which is no plain row of fields."""
    inputs, outputs = txcodec._BASE_INPUT_CODECS, txcodec._OUTPUT_CODECS
    an_input = bytes(32 + 4) + b"\0" + bytes(4)
    version = bytes(4)
    yield Place(f"{path}.inputs", after(build, version))
    one_input = after(build, version + b"\1")
    yield from places_of(f"{path}.inputs[0]", inputs, [bytes(32), 0, b"", 0], one_input)
    yield Place(f"{path}.outputs", after(one_input, an_input))
    one_output = after(one_input, an_input + b"\1")
    yield from places_of(f"{path}.outputs[0]", outputs, [0, b""], one_output)
    marked = after(build, version + b"\0\1")
    yield Place(f"{path}.inputs (witness)", marked, witness=True)
    in_witness = places_in(f"{path}.inputs[0].witness", txcodec._WITNESS, after(marked, b"\1" + an_input + b"\0"))
    yield from (each._replace(witness=True) for each in in_witness)


def places_in_alert(path: str) -> Iterator[Place]:
    """The counts of what is quoted in an alert."""

    def quote(raw: bytes) -> bytes:
        return write_varint(len(raw)) + raw + b"\3sig"

    details = AlertDetails()
    codecs = field_codecs(AlertDetails)
    values = [getattr(details, name) for name, _ in codecs]
    yield from (each._replace(quoted=True) for each in places_of(path, codecs, values, lambda raw: quote(raw + BEHIND)))


def places_of_message(kind: type[Message]) -> Iterator[Place]:
    """The counts of a message, by its declaration."""
    if kind is Tx:
        yield from places_in_transaction("tx", lambda raw: raw + BEHIND)
        return
    # one that declares nothing can hold nothing
    assert bool(kind._codecs) is (kind.max_size() > 0), kind
    default = kind()
    values = [getattr(default, name) for name, _ in kind._codecs]
    yield from places_of(kind.command, kind._codecs, values, lambda raw: raw + BEHIND)
    if kind is Alert:
        yield from places_in_alert("alert.serialized")


PLACES = [place for kind in messages().values() for place in places_of_message(kind)]

A_TRANSACTION = """
    .inputs .inputs[0].script .outputs .outputs[0].script
    .inputs_(witness) .inputs[0].witness .inputs[0].witness[0]
"""

EXPECTED = """
    version.user_agent addr.addresses addrcache.inbound addrcache.outbound addrcache.known
    getblocks.height getheaders.height inv.vectors getdata.vectors notfound.vectors headers.headers
    block.parents block.nonces block.transactions merkleblock.hashes merkleblock.flags
    alert.serialized alert.signature alert.serialized.cancels alert.serialized.user_agents
    alert.serialized.user_agents[0] alert.serialized.comment alert.serialized.status_bar alert.serialized.reserved
    filteradd.data filterload.filter reject.rejected reject.reason
    cfilter.data cfheaders.filter_hashes cfcheckpt.filter_headers
"""


def long_forms(value: int) -> Iterator[bytes]:
    """The varints of ``value`` that are longer than they need be."""
    for prefix, size in ((b"\xfd", 2), (b"\xfe", 4), (b"\xff", 8)):
        if value < 1 << 8 * size and 1 + size > len(write_varint(value)):
            yield prefix + value.to_bytes(size, "little")


class CountTestCase(AttackTestCase):
    """Counts that must be refused."""

    def victim(self, inbound: bool = True, witness: bool = False) -> Attack:
        """A connection that is ready, its remote writing witnesses or not."""
        attack = self.attack(inbound=inbound, handshake=False)
        attack.handshake(remote_version(services=Services.WITNESS if witness else 0))
        return attack

    def assert_count_refused(self, place: Place, count: bytes, why: str, inbound: bool = True) -> None:
        """A message with that count is malformed; in a quoted alert, it is only not understood."""
        raw = raw_frame(place.command, place.build(count))
        for witness in place.encodings:
            attack = self.victim(inbound, witness)
            with self.assert_bounded(BOUND):
                attack.say(raw)
            if place.quoted:
                self.assertEqual(attack.peer.stats().received["alert"].messages, 1)
                self.assert_went_on(attack)
                continue
            # also of a second version, which is read before it is refused as one
            reject = attack.attacker.heard[0]
            assert isinstance(reject, Reject)
            shown = reject.reason.decode()
            self.assertTrue(re.fullmatch(f"{place.command}: ({why})", shown), (place.path, count.hex(), shown))
            sent_back = [RejectOf(b"malformed", RejectCode.MALFORMED, "")]
            self.assert_refused(attack, CloseCause.MALFORMED, command=place.command, sent_back=sent_back)


class PlaceTests(CountTestCase):
    """Every count of every message: derived from the declarations, so that none is forgotten."""

    def test_every_count_of_the_31_messages_is_attacked(self) -> None:
        """The places are those of all the messages that hold anything of variable size, and the page's."""
        transaction = [each.replace("_", " ") for each in A_TRANSACTION.split()]
        expected = {
            *EXPECTED.split(),
            *(f"tx{each}" for each in transaction),
            *(f"block.transactions[0]{each}" for each in transaction),
        }
        self.assertEqual(sorted(each.path for each in PLACES), sorted(expected))
        self.assertEqual(len(messages()), 31)
        fixed = set(messages()) - {each.command for each in PLACES}
        for command in fixed:
            kind = messages()[command]
            size = sum(len(codec.write(getattr(kind(), name), PROTOCOL_VERSION)) for name, codec in kind._codecs)
            self.assertEqual(kind.max_size(), size, command)

    def test_each_place_holds_the_count_that_it_names(self) -> None:
        """A count of none there is taken: what is refused is the number, not the message around it."""
        for place in PLACES:
            attack = self.victim(witness=place.witness)
            attack.say(raw_frame(place.command, place.build(bytes(4 if place.is_i32 else 1))))
            stats = attack.peer.stats()
            self.assertEqual(
                (stats.received[place.command].messages, stats.malformed), (1 + (place.command == "version"), 0)
            )
            attack.hand_out(attack.peer.disconnect())
            attack.pump()
            self.assert_nothing_left(attack)

    def test_counts_of_2_to_the_64_less_1(self) -> None:
        """Attack: counts of 2^64-1 and the like in every list of every message: refused, and nothing allocated."""
        for place in PLACES:
            if not place.is_i32:
                for count in HUGE:
                    # scripts are as long as the payload lets them be
                    script = place.path.endswith(".script")
                    why = "payload ends too early" if script else f"too many [a-z ]+: {count}, at most [0-9]+"
                    self.assert_count_refused(place, write_varint(count), why, inbound=count != HUGE[0])

    def test_long_varints(self) -> None:
        """Attack: each count in each form that is longer than it need be, though its value would do."""
        for place in PLACES:
            if not place.is_i32:
                for value in (0, 1, 0xFC, 0xFFFF, 0xFFFFFFFF):
                    for count in long_forms(value):
                        self.assert_count_refused(place, count, f"varint {value} is not in its shortest form")

    def test_negative_sub_header_counts(self) -> None:
        """Attack: a block with -1 parents or nonces, or with 2^31-1 of them."""
        sub_headers = [place for place in PLACES if place.is_i32]
        self.assertEqual([each.path for each in sub_headers], ["block.parents", "block.nonces"])
        for inbound in BOTH:
            for place in sub_headers:
                for count in (-1, -2, -(2**31)):
                    raw = count.to_bytes(4, "little", signed=True)
                    self.assert_count_refused(place, raw, f"negative count in a sub-header: {count}", inbound)
                for count in (2**31 - 1, 2**26, 9):
                    self.assert_count_refused(place, count.to_bytes(4, "little"), "payload ends too early", inbound)


class WrappingTests(CountTestCase):
    """Counts that are harmless when they are added up in 64 bits."""

    def test_addrcache_of_1_and_2_to_the_64_less_1(self) -> None:
        """Attack: 64 bytes that crash the reference: an address, and 2^64-1 more, which make 0 together."""
        address = bytes(30)
        lists = {
            "1 + (2^64-1)": write_varint(1) + address + write_varint(2**64 - 1),
            "0 + 1 + (2^64-1)": b"\0" + write_varint(1) + address + write_varint(2**64 - 1),
            "1 + 0 + (2^64-1)": write_varint(1) + address + b"\0" + write_varint(2**64 - 1),
            "(2^64-1) + 1": write_varint(2**64 - 1) + write_varint(1) + address,
            "1 + (2^63-1) + 2^63": write_varint(1) + address + write_varint(2**63 - 1) + write_varint(2**63),
        }
        self.assertEqual(24 + len(lists["1 + (2^64-1)"]), 64)
        for inbound in BOTH:
            for payload in lists.values():
                attack = self.victim(inbound)
                with self.assert_bounded(BOUND):
                    attack.say(raw_frame("addrcache", payload))
                reject = RejectOf(b"malformed", RejectCode.MALFORMED, "addrcache: too many addresses")
                self.assert_refused(attack, CloseCause.MALFORMED, command="addrcache", sent_back=[reject])

    def test_addrcache_of_1001_in_three_lists(self) -> None:
        """Attack: each list is within the limit, but not all three together."""
        thousand = write_varint(1000) + bytes(1000 * 30)
        for payload in (thousand + b"\1", thousand + b"\0\1", write_varint(999) + bytes(999 * 30) + b"\0\2"):
            attack = self.victim()
            with self.assert_bounded(4 * BOUND):
                attack.say(raw_frame("addrcache", payload))
            reject = RejectOf(b"malformed", RejectCode.MALFORMED, "addrcache: too many addresses")
            self.assert_refused(attack, CloseCause.MALFORMED, command="addrcache", sent_back=[reject])
