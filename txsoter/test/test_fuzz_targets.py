"""The fuzz targets in ``fuzz/`` hold over their kept corpus, and see the faults that they are there to see.

They are scripts of the source tree, and so are loaded only when pytest runs the tests.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from txsoter.chain import GolombFilter, golomb_coding
from txsoter.core import deadlines, handshake, keepalive, rules
from txsoter.core.channel import Channel
from txsoter.core.connection import Connection
from txsoter.core.handshake import LiveNonces
from txsoter.core.requests import Requests
from txsoter.core.send_queue import Entry, SendQueue
from txsoter.errors import CloseCause, ClosedBy, CloseReason, InvalidProof
from txsoter.peer.factory import SoterFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.peer.session import Session
from txsoter.peer.wakeup import Ticker
from txsoter.wire import ZERO_HASH, FrameDecoder, MerkleBlock, Pong, Tx, TxIn, Version, partial_merkle

FUZZ = Path(__file__).parents[2] / "fuzz"

TARGETS = ("connection", "frame_decoder", "golomb_filter", "partial_merkle", "peer")
NAMES = ("launch", "pieces", "conversation", "application", *TARGETS, "seeds")

each_target = pytest.mark.parametrize("target", TARGETS)


@cache
def fuzz() -> SimpleNamespace:
    """The modules there."""
    sys.path.insert(0, str(FUZZ))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FUZZ))
        for name in NAMES:
            sys.modules.pop(name, None)


def module_of(target: str) -> Any:
    """The module of a target."""
    return getattr(fuzz(), target)


def corpus(target: str) -> dict[str, bytes]:
    """The kept inputs of a target, by name."""
    return {path.name: path.read_bytes() for path in sorted((FUZZ / "corpus" / target).iterdir())}


def run(target: str, inputs: dict[str, bytes]) -> None:
    """Give a target some inputs; the one that fails is named."""
    for name, data in inputs.items():
        try:
            module_of(target).one_input(data)
        except Exception as error:
            raise AssertionError(f"{target}: {name}: {data.hex()}") from error


# -- the corpus ----------------------------------------------------------------------------------


def changed(rng: Random) -> Callable[[bytes, int], bytes]:
    """What libFuzzer does to bytes, without libFuzzer."""

    def change(data: bytes, most: int) -> bytes:
        at, size = rng.randint(0, len(data)), rng.randrange(5)
        piece = rng.choice((b"", b"\xff" * 9, b"\0", b"\1", rng.randbytes(4), data[at : at + 20]))
        return (data[:at] + piece + data[at + size :])[:most]

    return change


@each_target
def test_nothing_is_wrong_with_what_is_kept(target: str) -> None:
    run(target, corpus(target))


@each_target
def test_nothing_is_wrong_with_what_is_like_it(target: str) -> None:
    """Some hundred mutations of it, the same on every run."""
    rng, kept, module = Random(target), list(corpus(target).values()), module_of(target)
    inputs = {}
    for number in range(400):
        data = rng.choice(kept)
        for _ in range(rng.randint(1, 4)):
            data = module.mutated(data, 4096, rng.getrandbits(32), module.SETTINGS, module.KINDS, changed(rng))
        inputs[f"mutation {number}"] = data
    run(target, inputs)


@each_target
def test_the_corpus_is_what_its_script_writes(target: str) -> None:
    """Beside it there is only what has found something."""
    found = {name: data for name, data in corpus(target).items() if not name.startswith("found-")}
    assert found == fuzz().seeds.seeds()[target], "run fuzz/seeds.py"


@each_target
def test_the_corpus_has_each_message_and_each_thing_that_happens_and_is_small(target: str) -> None:
    module, kept = module_of(target), corpus(target).values()
    kinds = {piece.kind for data in kept for piece in fuzz().pieces.parsed(data, module.SETTINGS)[1]}
    assert kinds == set(range(module.KINDS))
    assert sum(map(len, kept)) < 8192


@each_target
def test_mutations_keep_to_the_format(target: str) -> None:
    """An input is its parts put together; one that is mutated is no larger than asked for."""
    rng, module, pieces = Random(1), module_of(target), fuzz().pieces
    for data in corpus(target).values():
        assert pieces.joined(*pieces.parsed(data, module.SETTINGS)) == data
        for seed in range(20):
            other = pieces.mutated(data, 300, seed, module.SETTINGS, module.KINDS, changed(rng))
            assert len(other) <= 300


# -- what the target frame_decoder sees ------------------------------------------------------------


def payload(command: str, body: bytes, pver: int = 70013, encoding: int = 0) -> bytes:
    """An input of the decoder's target: one message."""
    pieces = fuzz().pieces
    settings = bytes((pieces.PROTOCOL_VERSIONS.index(pver), encoding, 1, 0))
    data: bytes = pieces.joined(settings, [pieces.Piece(pieces.kind_of(command), body)])
    return data


BASE_TX = Tx(1, [TxIn(ZERO_HASH, 0)]).to_payload()
HOLLOW_TX = BASE_TX[:4] + b"\0\1" + BASE_TX[4:-4] + b"\0" + BASE_TX[-4:]
VERSION = Version().to_payload()

NEEDS: dict[str, tuple[Any, ...]] = {
    "the fields that a version leaves out are written": ("version", VERSION[:46]),
    "a relay flag other than 0 is written as 1, and not at all below 70001": ("version", VERSION, 70000),
    "what is left over inside of an alert that parses is dropped": ("alert", b"\x4a" + bytes(74) + b"\0"),
    "the marker of a transaction without witnesses is dropped": ("tx", HOLLOW_TX, 70013, 1),
}


def test_each_exception_is_needed() -> None:
    """Without it the input that it is there for fails; with it that passes."""
    target = fuzz().frame_decoder
    assert set(target.EXCEPTIONS) == set(NEEDS)
    for name, message in NEEDS.items():
        target.one_input(payload(*message))
        others = {each: holds for each, holds in target.EXCEPTIONS.items() if each != name}
        with patch.object(target, "EXCEPTIONS", others), pytest.raises(AssertionError, match="otherwise than it came"):
            target.one_input(payload(*message))


class Forgetful(FrameDecoder[Any]):
    """Loses the last byte of each payload."""

    def next_frame(self) -> Any:
        found = super().next_frame()
        return found and (found[0], found[1][:-1])


class Impatient(FrameDecoder[Any]):
    """Loses the last byte of small chunks."""

    def feed(self, data: bytes) -> None:
        super().feed(data if len(data) > 30 else data[:-1])


@pytest.mark.parametrize(("broken", "words"), [(Forgetful, "disagree"), (Impatient, "chunking makes a difference")])
def test_it_sees_a_decoder_that_is_wrong(broken: type, words: str) -> None:
    target, data = fuzz().frame_decoder, payload("ping", bytes(8))
    with patch.object(target, "FrameDecoder", broken), pytest.raises(AssertionError, match=words):
        target.one_input(data)


def test_it_sees_messages_that_are_written_otherwise() -> None:
    with (
        patch.object(Pong, "write_payload", lambda message, pver, encoding: b"\1" + bytes(7)),
        pytest.raises(AssertionError, match="written otherwise than it came"),
    ):
        fuzz().frame_decoder.one_input(payload("pong", bytes(8)))


# -- what the targets golomb_filter and partial_merkle see -----------------------------------------

SEEN: dict[str, list[tuple[str, str, Any, str, Any]]] = {
    "golomb_filter": [
        ("items", "not in the filter that was built", GolombFilter, "match_any", lambda *arguments: False),
        ("one", "others than those that are coded", golomb_coding, "decode", lambda *arguments: [7]),
        ("one", "coded otherwise", golomb_coding, "encode", lambda values, p: bytes(9)),
    ],
    "partial_merkle": [
        ("one", "root or what is proven is not", partial_merkle, "proven", lambda *arguments: (ZERO_HASH, [])),
        (
            "equal-siblings",
            "root or what is proven is not",
            partial_merkle,
            "proven",
            lambda *arguments: (ZERO_HASH, []),
        ),
        ("one", "proves something else", MerkleBlock, "matched", lambda message: [ZERO_HASH]),
        ("built-2", "built of another root", partial_merkle, "partial_tree", lambda txids, matched: (txids[:1], b"\0")),
    ],
}
"""By target: an input, the words of the fault, and what is another meanwhile."""


@pytest.mark.parametrize("target", SEEN)
def test_they_see_what_is_wrong(target: str) -> None:
    for name, words, broken, attribute, instead in SEEN[target]:
        data = corpus(target)[name]
        module_of(target).one_input(data)
        with patch.object(broken, attribute, instead), pytest.raises(AssertionError, match=words):
            module_of(target).one_input(data)


@pytest.mark.parametrize(
    ("target", "module", "function"),
    [("golomb_filter", golomb_coding, "decode"), ("partial_merkle", partial_merkle, "proven")],
)
def test_they_see_what_is_refused_though_it_is_right(target: str, module: Any, function: str) -> None:
    def refuses(*arguments: object) -> None:
        raise InvalidProof("rule", "reason")

    with patch.object(module, function, refuses), pytest.raises(AssertionError, match="is refused that is one"):
        module_of(target).one_input(corpus(target)["one"])


# -- what the target peer sees -----------------------------------------------------------------------

BYSTANDER = 64


def talk(*said: Any, more: int = 0, turns: int = 0) -> bytes:
    """An input of the peer's target: what is said and done after the handshake."""
    pieces = fuzz().pieces
    settings = bytes((0, more, 0, len(pieces.PROTOCOL_VERSIONS), 0, turns, 0))
    data: bytes = pieces.joined(settings, said)
    return data


def happens(what: str, *arguments: int) -> Any:
    """A piece that stands for something that happens."""
    peer = fuzz().peer
    return fuzz().pieces.Piece(
        fuzz().pieces.RAW + 1 + peer.EVENTS.index(getattr(peer.Conversation, what)), bytes(arguments)
    )


def ping() -> Any:
    """A piece that is a ping."""
    return fuzz().pieces.Piece(fuzz().pieces.kind_of("ping"), bytes(8))


def half_a_ping(*more: int) -> Any:
    """A piece that is the beginning of a ping."""
    pieces = fuzz().pieces
    return pieces.Piece(pieces.RAW, pieces.framed(ping())[:20] + bytes(more))


def breaks(words: str, data: bytes, broken: Any, name: str, instead: Any, target: str = "peer") -> None:
    """Nothing is wrong, until one part is another."""
    module = module_of(target)
    module.one_input(data)
    # what a broken one leaves behind must not become another test's
    with (
        patch.object(fuzz().conversation, "LIVE_NONCES", LiveNonces()) as nonces,
        patch.object(rules, "LIVE_NONCES", nonces),
        patch.object(handshake, "LIVE_NONCES", nonces),
        patch.object(broken, name, instead),
        pytest.raises((AssertionError, ZeroDivisionError), match=words),
    ):
        module.one_input(data)


def fails(*arguments: object) -> None:
    raise ZeroDivisionError("division")


def does_nothing(*arguments: object) -> None:
    pass


def disconnects_all(factory: SoterFactory, peer: Any) -> None:
    factory.peers.discard(peer)
    factory.disconnect_all()


def closes_when_told_twice(channel: Channel, *arguments: Any, close: Any = Channel.close, **more: Any) -> None:
    if channel.reason is None:
        channel.reason = CloseReason(ClosedBy.LOCAL, CloseCause.DISCONNECT)
    else:
        close(channel, *arguments, **more)


def forgets_tokens(queue: SendQueue) -> list[object]:
    queue.entries.clear()
    queue.untold.clear()
    queue.waiting = 0
    return []


def forgets_requests(requests: Requests, reason: object) -> list[object]:
    requests.waiting = requests.due = None
    return []


def test_it_sees_what_escapes() -> None:
    breaks("division", talk(), FrameDecoder, "feed", fails)


def test_it_sees_what_is_logged() -> None:
    breaks("(?s)logged: .*division", talk(), SoterPeerProtocol, "peer_ready", fails)


def test_it_sees_two_handlers_at_once() -> None:
    breaks("two handlers at once", talk(ping(), turns=2), Session, "wait_for", lambda *arguments: False)


def test_it_sees_messages_that_are_handled_after_the_end() -> None:
    # the target's own look at it is not to break with it
    with patch.object(SoterPeerProtocol, "is_closing", property(lambda peer: peer.close_reason is not None)):
        breaks("after the end has begun", talk(turns=5), Channel, "close", closes_when_told_twice)


def test_it_sees_what_the_budget_is_not_told() -> None:
    breaks("budget was told otherwise", talk(half_a_ping(0, 0), more=BYSTANDER), Channel, "memory", lambda _: 99_999)


def test_it_sees_timers_that_are_left() -> None:
    breaks("timers are left", talk(happens("remote_closes")), Ticker, "forget", does_nothing)


def test_it_sees_a_factory_that_does_not_forget() -> None:
    breaks("factory still knows", talk(), SoterFactory, "forget", does_nothing)


def test_it_sees_a_nonce_that_is_kept() -> None:
    breaks("nonce is still taken", talk(), LiveNonces, "discard", does_nothing)


def test_it_sees_bytes_that_are_kept() -> None:
    breaks("still buffered", talk(half_a_ping()), FrameDecoder, "clear", does_nothing)


def test_it_sees_requests_that_are_kept() -> None:
    breaks("still asked", talk(happens("application_asks")), Requests, "close", lambda *arguments: [])


def test_it_sees_requests_whose_callers_are_not_told() -> None:
    breaks("not told", talk(happens("application_asks")), Requests, "close", forgets_requests)


def test_it_sees_deferreds_that_do_not_fire() -> None:
    queued = [happens("remote_stops_reading"), *[happens("application_acts", 7)] * 40]
    breaks("not told", talk(*queued), SendQueue, "drop", forgets_tokens)


def test_it_sees_messages_that_are_malformed() -> None:
    breaks("wrote what is malformed", talk(ping()), keepalive, "_PONG_COMMAND", b"version".ljust(12, b"\0"))


def test_it_sees_a_peer_that_is_kept() -> None:
    kept: list[object] = []
    breaks("still referred to", talk(), SoterPeerProtocol, "peer_closed", lambda peer, reason: kept.append(peer))
    assert len(kept) == 1


def test_it_sees_that_another_connection_is_disturbed() -> None:
    data = talk(happens("application_hangs_up"), happens("time_passes"), more=BYSTANDER)
    breaks("another connection was disturbed", data, SoterFactory, "forget", disconnects_all)


# -- what the target connection sees -----------------------------------------------------------------

LAZY, FULL, ROUND_TRIPS = 1, 2, 16


def life(*said: Any, flags: int = 0, manners: int = 0, turns: int = 0) -> bytes:
    """An input of the connection's target: what is said and done after the handshake."""
    pieces = fuzz().pieces
    data: bytes = pieces.joined(bytes((flags, 0, 0, len(pieces.PROTOCOL_VERSIONS), manners, turns, 0)), said)
    return data


def does(what: str, *arguments: int) -> Any:
    """A piece that stands for something that is done to a connection."""
    target = fuzz().connection
    number = target.EVENTS.index(getattr(target.Life, what))
    return fuzz().pieces.Piece(fuzz().pieces.RAW + 1 + number, bytes(arguments))


def hangs_up_between_events() -> bytes:
    """A pong ends a round trip, of which the adapter hears first; it hangs up before it has asked for the pong."""
    pong = fuzz().pieces.Piece(fuzz().pieces.kind_of("pong"), (7).to_bytes(8, "little"))
    turn, sends = does("turns_come"), does("application_sends", 0, 0, 7)
    return life(turn, sends, turn, pong, does("an_event_is_taken"), does("closes"), manners=LAZY | ROUND_TRIPS)


def tells_twice(connection: Connection, batch: list[Entry], written: Any = Connection.written) -> None:
    written(connection, batch)
    connection.channel.queue.untold += connection.channel.queue.untold


@pytest.mark.parametrize(
    ("words", "data", "broken", "name", "instead"),
    [
        ("division", life, FrameDecoder, "feed", fails),
        ("not out", lambda: life(does("application_sends", 0, 0, 1)), Connection, "written", tells_twice),
        ("end came before tokens", lambda: life(does("application_asks")), Requests, "close", forgets_requests),
        (
            "end came before tokens",
            lambda: life(*[does("application_sends", 2, 0, 200)] * 2, manners=FULL),
            SendQueue,
            "drop",
            forgets_tokens,
        ),
        ("due .* s ago", lambda: life(does("time_passes", 9)), deadlines, "ROUNDING", -1e9),
        ("memory is still held", life, Channel, "memory", lambda channel: 1),
        ("more is held than", lambda: life(ping()), Channel, "memory", lambda channel: 99_999),
        ("is left", lambda: life(half_a_ping()), FrameDecoder, "clear", does_nothing),
        ("nonce is still taken", life, LiveNonces, "discard", does_nothing),
        ("wrote what is malformed", lambda: life(ping()), keepalive, "_PONG_COMMAND", b"version".ljust(12, b"\0")),
        ("nobody was told", lambda: life(does("is_lost")), Channel, "finish", does_nothing),
        ("after the end had begun", hangs_up_between_events, Channel, "stop_reading", does_nothing),
    ],
)
def test_it_sees_a_connection_that_is_wrong(
    words: str, data: Callable[[], bytes], broken: Any, name: str, instead: Any
) -> None:
    breaks(words, data(), broken, name, instead, "connection")
