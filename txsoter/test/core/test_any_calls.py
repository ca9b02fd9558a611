"""Properties: the chunking of bytes does not matter, no call raises but for its arguments, and nothing is left."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txsoter.core.events import Closed, Observed, RequestEnded, SendFailed
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, ConnectionClosed, LocalError, RequestFailed
from txsoter.networks import REGTEST
from txsoter.test.core.ends import (
    ConnectionTestCase,
    End,
    block_vector,
    filler,
    frame,
    malformed_header,
    remote_version,
    simnet,
    tx_vector,
)
from txsoter.test.core.fake_adapter import FakeAdapter, Later
from txsoter.testing import strategies as soter
from txsoter.wire import (
    FeeFilter,
    GetAddr,
    GetBlocks,
    GetData,
    Inv,
    MemPool,
    Message,
    NotFound,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    Unknown,
    VerAck,
    Version,
)


def deterministic(examples: int) -> settings:
    """Return settings for the same examples on every run, without a database of them."""
    return settings(
        derandomize=True, database=None, deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck)
    )


# -- chunking ----------------------------------------------------------------------------------

INTERESTING = st.sampled_from(
    [
        Ping(1),
        Ping(2),
        Pong(3),
        FeeFilter(4),
        Inv([tx_vector(1)]),
        GetData([tx_vector(1)]),
        SendHeaders(),
        Unknown("novel", bytes(100)),
        Reject(b"block", RejectCode.INVALID, b"bad"),
    ]
)


def chunks(stream: bytes, sizes: list[int]) -> list[bytes]:
    """Return ``stream`` cut into pieces of those sizes, again and again."""
    pieces, start, number = [], 0, 0
    while start < len(stream):
        size = sizes[number % len(sizes)]
        pieces.append(stream[start : start + size])
        start, number = start + size, number + 1
    return pieces


def described(event: object) -> tuple[Any, ...]:
    """Return what an event says, to compare."""
    fields = {name: getattr(event, name) for name in getattr(type(event), "__slots__", ())}
    return type(event), {name: str(each) if isinstance(each, Exception) else each for name, each in fields.items()}


class ChunkingTests(ConnectionTestCase):
    @deterministic(150)
    @given(
        messages=st.lists(st.one_of(INTERESTING, soter.messages()), max_size=12),
        sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
        last=st.sampled_from([b"", frame(Ping(1))[:-3], malformed_header(), frame(Ping(1))[:20] + bytes(12)]),
    )
    def test_any_chunking_of_any_messages_gives_the_same_events(
        self, messages: list[Message], sizes: list[int], last: bytes
    ) -> None:
        """Whatever they are: also what closes the connection in the middle, and what is malformed at the end."""
        frames = b"".join(frame(each) for each in messages if not isinstance(each, (Version, VerAck))) + last
        stream = frame(remote_version()) + frame(VerAck()) + frames
        seen = []
        for pieces in ([stream], chunks(stream, sizes), chunks(stream, [1]) if len(stream) < 3000 else [stream]):
            end = self.end(observes=True, seed=1).made()
            asked = end.request(GetBlocks(height=1), Inv)
            for piece in pieces:
                end.feed(piece)
            answer = [str(each) for each in end.outcomes[asked]]
            memory = end.channel.memory()
            self.assert_leaves_nothing(end)
            events = [described(each) for each in end.events]
            seen.append((end.turns, events, end.raw, answer, memory, end.channel.counters.received))
        self.assertEqual(seen[1], seen[0])
        self.assertEqual(seen[2], seen[0])


# -- any calls ---------------------------------------------------------------------------------

SENT: list[Message] = [
    Ping(1),
    filler(100),
    filler(70_000),
    GetBlocks(height=1),
    SendHeaders(),
    Inv([tx_vector(1)]),
    # cannot be encoded
    Reject(b"version", 300, b""),
    Inv([tx_vector(1)] * 50_001),
]

RECEIVED: list[bytes] = [
    *map(
        frame,
        (
            remote_version(),
            remote_version(protocol_version=60000, services=8),
            remote_version(protocol_version=208),
            VerAck(),
            Ping(1),
            Pong(1),
            FeeFilter(1),
            GetAddr(),
            Inv([tx_vector(1)]),
            NotFound([tx_vector(1)]),
            Reject(b"getblocks", 0x10, b"no"),
            Unknown("novel", bytes(5000)),
        ),
    ),
    frame(Ping(1))[:13],
    frame(Ping(1))[13:],
    malformed_header(),
    bytes(24),
]

REQUESTS: list[tuple[Message, type[Message]]] = [
    (GetBlocks(height=1), Inv),
    (GetData([tx_vector(1)]), Inv),
    (Ping(1), Pong),
    (MemPool(), Message),
    (GetData(()), Inv),
    (SendHeaders(), Inv),
]


def matching_raises(message: Message) -> bool:
    raise ZeroDivisionError


HANDSHAKE = [0, 3]
"""Numbers of the frames that make a connection ready."""

# by number: what hypothesis shows of a failure stays short
CALL = st.one_of(
    st.tuples(st.just("feed"), st.lists(st.integers(0, len(RECEIVED) - 1), min_size=1, max_size=4)),
    st.tuples(st.just("feed"), st.just(HANDSHAKE)),
    st.tuples(st.just("send"), st.integers(0, len(SENT) - 1)),
    st.tuples(
        st.just("request"),
        st.integers(0, len(REQUESTS) - 1),
        st.sampled_from([None, 0.5, 30.0, -1.0]),
        st.sampled_from([None, matching_raises, bool]),
    ),
    st.tuples(st.just("give_up"), st.integers(0, 5)),
    st.tuples(st.just("inventory"), st.sampled_from([tx_vector(1), tx_vector(2), block_vector(3)]), st.booleans()),
    st.tuples(st.just("known"), st.sampled_from([tx_vector(1), block_vector(3)])),
    st.tuples(st.just("room"), st.sampled_from([None, 0, 100, 70_000])),
    st.tuples(st.just("take")),
    st.tuples(st.just("advance"), st.sampled_from([0.0, 0.1, 1.0, 6.0, 20.0, 70.0, 400.0])),
    st.tuples(st.just("late"), st.sampled_from([0.0, 3.0, 100.0, 1e6])),
    st.tuples(st.just("finish"), st.sampled_from([(), ("result",), (Reject(b"version", RejectCode.INVALID, b"no"),)])),
    st.tuples(st.just("fail")),
    st.tuples(st.just("close"), st.sampled_from([None, Reject(b"block", 0x10, b"no"), Reject(b"block", 300, b"no")])),
    st.tuples(st.just("lose")),
)

CONFIGS: list[dict[str, Any]] = [
    {},
    {"network": REGTEST},
    {"soft_queue_limit": 100, "hard_queue_limit": 100_000, "trickle_interval": None},
    {"max_messages_per_second": 2.0, "max_bytes_per_second": 1000.0},
    {"strict": True, "close_on_handler_error": True, "protocol_version": 70001},
    {"lookahead_limit": 0, "stall_interval": 1.0, "stall_timeout": 2.0, "ping_interval": 5.0},
    {"close_timeout": None, "write_timeout": None, "read_on_after": 1.0, "idle_timeout": 10.0},
]


class AnyCallsTests(ConnectionTestCase):
    def call(self, end: End, name: str, *arguments: Any) -> None:
        """Make one call, if an adapter could make it now."""
        connection = end.connection
        if name == "feed":
            if end.state is not State.CONNECTING:
                end.feed(*[RECEIVED[number] for number in arguments[0]])
        elif name == "send":
            end.send(SENT[arguments[0]])
        elif name == "request":
            number, timeout, matching = arguments
            message, expected = REQUESTS[number]
            end.request(message, expected, timeout, matching)
        elif name == "give_up":
            waiting = [request.token for request in end.channel.requests.waiting or ()]
            if arguments[0] < len(waiting):
                end.give_up(waiting[arguments[0]])
        elif name == "inventory":
            vector, force = arguments
            connection.queue_inventory(vector, force, end.now)
            end.run()
        elif name == "known":
            connection.add_known_inventory(arguments[0])
        elif name == "room":
            end.room = arguments[0]
        elif name == "take":
            end.take()
        elif name == "advance":
            end.advance(arguments[0])
        elif name == "late":
            end.now += arguments[0]
            connection.handle_timeout(end.now)
            end.run()
        elif name == "finish":
            if end.channel.in_hand is not None:
                end.finish(*arguments[0])
        elif name == "fail":
            connection.handler_failed(KeyError("x"), "'x'", "novel")
            end.run()
        elif name == "close":
            connection.close(CloseCause.DISCONNECT, "", end.now, arguments[0])
            end.run()
        else:
            end.lose(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, "lost")

    @deterministic(400)
    @given(
        fields=st.sampled_from(CONFIGS),
        inbound=st.booleans(),
        observes=st.booleans(),
        holds=st.sets(st.sampled_from([Version, FeeFilter, Ping, Unknown])),
        early=st.lists(CALL, max_size=2),
        is_ready=st.booleans(),
        calls=st.lists(CALL, max_size=30),
    )
    def test_none_raises_but_for_its_arguments_and_nothing_is_left(
        self,
        fields: dict[str, Any],
        inbound: bool,
        observes: bool,
        holds: set[type[Message]],
        early: list[Any],
        is_ready: bool,
        calls: list[Any],
    ) -> None:
        """What is left, and which tokens have not come back once, each End checks at its end."""
        end = End(simnet(**fields), inbound, observes=observes, holds=holds)
        ready = [("feed", HANDSHAKE)] if is_ready else []
        for number, call in enumerate([*early, ("made",), *ready, *calls]):
            if call[0] == "made":
                if end.state is State.CONNECTING:
                    end.made("127.0.0.1")
                continue
            self.assertEqual(end.state is State.CONNECTING, number < len(early) and end.reason is None)
            before = end.connection.reason
            try:
                self.call(end, *call)
            except LocalError:
                self.assertIn(call[0], ("send", "request"))
            if before is not None:
                self.assertIs(end.connection.reason, before)
            for event in end.of(RequestEnded):
                fine = (RequestFailed, LocalError, ZeroDivisionError, type(None))
                self.assertIsInstance(event.error, fine)
        self.assert_leaves_nothing(end)


# -- the driver --------------------------------------------------------------------------------


class AnyReentrancyTests(ConnectionTestCase):
    """Handlers, and whoever is told of something, call back at every opportunity."""

    @deterministic(250)
    @given(
        fields=st.sampled_from(CONFIGS),
        actions=st.lists(st.integers(0, 9), min_size=1, max_size=40),
        frames=st.lists(st.integers(0, len(RECEIVED) - 1), max_size=20),
        room=st.sampled_from([None, 0, 1000]),
    )
    def test_every_token_comes_back_once_and_every_message_is_handled_once(
        self, fields: dict[str, Any], actions: list[int], frames: list[int], room: int | None
    ) -> None:
        left = list(actions)
        given_: list[int] = []
        waiting: list[Later] = []
        in_handlers = 0
        handled: list[Message] = []

        def act() -> None:
            """Do the next thing that is to be done."""
            action = left.pop() if left else -1
            if action in (0, 1):
                given_.append(len(given_))
                adapter.send(Ping(1) if action else filler(2000), given_[-1])
            elif action == 2:
                given_.append(len(given_))
                adapter.connection.request(GetBlocks(height=1), Inv, 5.0, None, given_[-1], adapter.time)
                adapter.driver.run()
            elif action == 3 and waiting:
                waiting.pop().succeed()
            elif action == 4:
                adapter.driver.pause_writing()
            elif action == 5:
                adapter.take()
            elif action == 6:
                adapter.driver.close(CloseCause.DISCONNECT)
            elif action == 7:
                adapter.connection.queue_inventory(tx_vector(1), True, adapter.time)
                adapter.driver.run()
            elif action == 8:
                adapter.driver.timeout()
            elif action == 9 and len(left) % 4 == 0:
                adapter.driver.connection_lost(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, "")

        def handler(peer: Any, message: Message, payload: bytes) -> Later | None:
            nonlocal in_handlers
            self.assertEqual(in_handlers, 0, "two messages are handled at the same time")
            in_handlers += 1
            handled.append(message)
            act()
            in_handlers -= 1
            if len(handled) % 3:
                return None
            waiting.append(Later())
            return waiting[-1]

        kinds = (Version, VerAck, Ping, Pong, FeeFilter, GetAddr, Inv, NotFound, Reject, Unknown)
        adapter = FakeAdapter(simnet(**fields), dict.fromkeys(kinds, handler))
        adapter.on_sent = adapter.on_event = lambda _: act()
        adapter.room = room
        try:
            adapter.made()
            adapter.feed(frame(remote_version()), frame(VerAck()))
            for number in frames:
                adapter.feed(RECEIVED[number])
                adapter.advance(1.0)
        finally:
            while waiting:
                waiting.pop().succeed()
            adapter.driver.connection_lost(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "")
            while waiting:
                waiting.pop().succeed()
        told = [*adapter.told, *[each.token for each in (*adapter.of(SendFailed), *adapter.of(RequestEnded))]]
        self.assertEqual(sorted(told), given_)
        self.assertEqual(len(adapter.of(Closed)), 1)
        self.assertEqual(adapter.failures, [])
        memory = adapter.channel.config.memory
        self.assertEqual((adapter.channel.memory(), memory.total, len(memory)), (0, 0, 0))
        self.assertLessEqual(adapter.log.count("hang_up"), 1)
        counted = sum(each.messages for each in adapter.channel.counters.received.values())
        self.assertLessEqual(len(handled), counted)
        for event in adapter.events:
            error = getattr(event, "error", None)
            if error is not None and not isinstance(event, Observed):
                self.assertIsInstance(error, (ConnectionClosed, LocalError, RequestFailed))
