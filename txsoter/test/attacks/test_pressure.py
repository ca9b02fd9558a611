"""Attacks on our queues: a remote that takes nothing, or little, or asks for more than anybody would answer at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from txsoter import SIMNET, CloseCause, CloseReason, ConnectionClosed, SoterPeerProtocol
from txsoter.errors import RequestTimedOut, SendQueueFull
from txsoter.test.attacks.pressure import BLOCK, Torrent, big_block, drain, frames, stop_reading
from txsoter.test.attacks.support import BOTH, KIB, MIB, READ, Attack, AttackTestCase
from txsoter.test.peer.cases import as_block, as_tx, tx
from txsoter.wire import (
    Addr,
    Block,
    GetAddr,
    GetBlocks,
    GetData,
    Inv,
    Message,
    NetAddress,
    NotFound,
    Ping,
    Pong,
)
from txsoter.wire.framing import frame

IN_TRANSIT = 128 * KIB
"""What a transport may hold: it has had enough past 64 KiB, and is handed 64 KiB at a time."""

PONG = 32
"""Bytes of a pong's frame."""

PONG_COST = 8
"""How many times its bytes a pong takes in memory while it waits: they are 32, its objects are 200."""

WRITE_TIMEOUT = 60
"""Seconds for which a remote may take nothing."""

WRITE_RATE = 256 * KIB
"""Bytes that wait and give it one second more."""


class SlowReaderTestCase(AttackTestCase):
    """What attackers have in common that take too little."""

    def until_closing(self, attack: Attack) -> float:
        """Let time pass until we give the attacker up; the seconds that took."""
        began = attack.clock.seconds()
        while not attack.peer.is_closing:
            self.assertLess(attack.clock.seconds() - began, 3600)
            attack.advance(1)
        return attack.clock.seconds() - began

    def assert_given_up(self, attack: Attack) -> CloseReason:
        """The attacker was closed for taking nothing, and aborted when it did not take the rest in 10 s either."""
        self.assertIsNone(attack.attacker.closed)
        self.assertEqual(attack.peer.stats().queue_bytes, 0)
        attack.advance(10)
        return self.assert_refused(attack, CloseCause.WRITE_TIMEOUT)


class PingFloodTests(SlowReaderTestCase):
    """Our pongs pile up."""

    soft, hard = 256 * KIB, 512 * KIB

    def test_from_a_remote_that_reads_nothing(self) -> None:
        """No more waits than the soft limit and a pong; after 5 s pings are read on, and not answered."""
        pings = frames(Ping(nonce) for nonce in range(self.hard // PONG + 5 * READ // PONG))
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, soft_queue_limit=self.soft, hard_queue_limit=self.hard)
            stop_reading(attack)
            torrent = Torrent(attack, pings)
            with self.assert_bounded(PONG_COST * self.soft + 2 * IN_TRANSIT):
                torrent.push()
                attack.advance(4)
                self.assertFalse(attack.transport.reading)
                self.assertLessEqual(attack.peer.stats().queue_bytes, self.soft + PONG)
                # one read lies undecoded
                self.assertLessEqual(torrent.most, self.soft + PONG + READ + IN_TRANSIT)
                attack.advance(1)
                torrent.push()
                self.assertEqual(len(torrent), 0)
                self.assertLessEqual(attack.peer.stats().queue_bytes, self.soft + PONG)
                took = self.until_closing(attack)
                self.assertLessEqual(torrent.most, self.soft + PONG + READ + IN_TRANSIT)
            self.assertLessEqual(took, WRITE_TIMEOUT - 5 + self.soft / WRITE_RATE + 1)
            self.assert_given_up(attack)

    def test_from_a_remote_that_reads_nothing_when_we_never_read_on(self) -> None:
        """With read_on_after None no more ever waits than the soft limit and a pong."""
        attack = self.attack(read_on_after=None, soft_queue_limit=self.soft, hard_queue_limit=self.hard)
        stop_reading(attack)
        torrent = Torrent(attack, frames(Ping(nonce) for nonce in range(self.hard // PONG)))
        with self.assert_bounded(PONG_COST * self.soft + 2 * IN_TRANSIT):
            torrent.push()
            took = self.until_closing(attack)
        self.assertGreater(len(torrent), 0)
        self.assertLessEqual(torrent.most, self.soft + PONG + READ + IN_TRANSIT)
        self.assertLessEqual(took, WRITE_TIMEOUT + 1 + self.soft / WRITE_RATE)
        self.assert_given_up(attack)

    def test_behind_what_the_application_sends(self) -> None:
        """The deadline grows with what waits, 188 s at most by default; pings add nothing to it."""
        attack = self.attack()
        config = attack.peer.config
        self.assertEqual((config.soft_queue_limit, config.hard_queue_limit), (MIB, 32 * MIB))
        self.assertEqual((config.read_on_after, config.write_timeout), (5, WRITE_TIMEOUT))
        stop_reading(attack)
        attack.hand_out(*(attack.peer.send(block) for block in [big_block()] * 32))
        torrent = Torrent(attack, frames(Ping(nonce) for nonce in range(2 * MIB // PONG)))
        waiting = attack.peer.stats().queue_bytes
        attack.advance(5)
        torrent.push()
        self.assertEqual((len(torrent), attack.peer.stats().queue_bytes), (0, waiting))
        self.assertLessEqual(torrent.most, 32 * MIB + READ + IN_TRANSIT)
        self.assertLessEqual(self.until_closing(attack), WRITE_TIMEOUT + 128 - 5)
        self.assert_given_up(attack)


class BlocksTests(SlowReaderTestCase):
    """It stops reading while we send it blocks."""

    def test_and_the_application_waits_for_each(self) -> None:
        """One block waits, and what is read ahead for room to send; the application is told why it cannot go on."""
        outcomes: list[Any] = []
        lookahead = 256 * KIB

        async def serve(peer: SoterPeerProtocol, message: GetData) -> None:
            try:
                for _ in message.vectors:
                    await peer.send(block)
            except ConnectionClosed as error:
                outcomes.append(error.reason.cause)
                raise

        block = big_block()
        for inbound in BOTH:
            del outcomes[:]
            attack = self.attack(inbound=inbound, on_getdata=serve, lookahead_limit=lookahead)
            stop_reading(attack)
            flood = frames([GetData([as_block(each) for each in range(40)])] + [Inv([as_tx(1)])] * 8000)
            with self.assert_bounded(4 * MIB):
                torrent = Torrent(attack, flood)
                torrent.push()
                self.assertFalse(attack.transport.reading)
                attack.advance(5)
                # it might wait for us to read
                torrent.push()
                self.assertFalse(attack.transport.reading)
                took = self.until_closing(attack)
            self.assertGreater(len(torrent), 0)
            self.assertLessEqual(torrent.most, BLOCK + lookahead + READ + IN_TRANSIT)
            self.assertLessEqual(took, WRITE_TIMEOUT + 1 + BLOCK / WRITE_RATE)
            self.assertEqual(outcomes, [CloseCause.WRITE_TIMEOUT])
            # it is cut short, and has not failed
            self.assertEqual(attack.peer.stats().handler_errors, 0)
            self.assert_given_up(attack)

    def test_and_the_application_sends_on(self) -> None:
        """Past 32 MiB send() fails; what waits fails with the connection, after 60 s and 128 for its size."""
        block = big_block()
        attack = self.attack()
        stop_reading(attack)
        with self.assert_bounded(32 * MIB + 4 * MIB):
            sent = [attack.peer.send(block) for _ in range(50)]
            refused = [each for each in sent if each.called]
            self.assertLessEqual(attack.held(), 32 * MIB + IN_TRANSIT)
            took = self.until_closing(attack)
        self.assertLessEqual(took, WRITE_TIMEOUT + 1 + 128)
        self.assertEqual(len(refused), 50 - 32 * MIB // BLOCK)
        for each in sent:
            self.failureResultOf(each, SendQueueFull if each in refused else ConnectionClosed)
        attack.hand_out(*sent)
        del sent[:], refused[:]
        self.assert_given_up(attack)


class TrickleTests(SlowReaderTestCase):
    """It drains only a trickle."""

    def test_of_a_byte_a_second(self) -> None:
        """That is no progress: progress is a piece of 64 KiB."""
        attack = self.attack()
        stop_reading(attack)
        attack.hand_out(*(attack.peer.send(big_block()) for _ in range(4)))
        seconds = 0
        while not attack.peer.is_closing:
            seconds += 1
            drain(attack, 1)
            attack.advance(1)
        self.assertLessEqual(seconds, WRITE_TIMEOUT + 1 + 4 * BLOCK / WRITE_RATE)
        self.assertEqual(attack.attacker.unread, seconds)
        attack.attacker.forget_unread()
        self.assert_given_up(attack)

    def test_of_a_piece_in_50_s_while_it_asks_for_more(self) -> None:
        """That is progress, so it is kept. No more waits than the soft limit; what was confirmed arrives in order."""
        soft, hard = 256 * KIB, 320 * KIB
        attack = self.attack(soft_queue_limit=soft, hard_queue_limit=hard)
        stop_reading(attack)
        sent = [attack.peer.send(each) for each in [big_block(100_000, number) for number in range(3)]]
        rounds, each_round = 12, 2 * READ // PONG
        torrent = Torrent(attack, frames(Ping(nonce) for nonce in range(rounds * each_round)))
        for _ in range(rounds):
            attack.advance(50, step=10)
            torrent.push(2)
            drain(attack, attack.transport.waiting)
        self.assertLessEqual(torrent.most, soft + PONG + 2 * READ + IN_TRANSIT)
        for confirmed in sent:
            self.successResultOf(confirmed)
        attack.transport.takes = True
        attack.pump()
        torrent.push()
        heard = [each for each in attack.attacker.heard if each.command != "ping"]
        self.assertEqual(heard[:3], [big_block(100_000, number) for number in range(3)])
        answered = [each.nonce for each in heard[3:] if isinstance(each, Pong)]
        self.assertTrue(0 < len(answered) < rounds * each_round)
        self.assertEqual(answered, sorted(set(answered)))
        attack.attacker.heard.clear()
        self.assert_went_on(attack)


class QuestionsTests(AttackTestCase):
    """getdata for 50,000 unknown things, many of them, answered by a slow handler."""

    def test_one_at_a_time(self) -> None:
        """Of those behind the one in hand no more is read than a socket gives at once; all are answered in order."""
        running: list[int] = []
        answered: list[int] = []

        async def on_getdata(peer: SoterPeerProtocol, message: GetData) -> None:
            number = message.vectors[0].height
            running.append(number)
            self.assertEqual(running, [number])
            # longer than any deadline of the remote's: it is we who let it wait
            await deferLater(attack.clock, 400)
            for start in range(0, len(message.vectors), 45_000):
                await peer.send(NotFound(message.vectors[start : start + 45_000]))
            answered.append(running.pop())

        count = 5
        questions = b"".join(unknown_things(number) for number in range(count))
        attack = self.attack(on_getdata=on_getdata)
        torrent = Torrent(attack, questions)
        heard: list[Message] = []
        with self.assert_bounded(24 * MIB):
            for number in range(count):
                torrent.push()
                self.assertEqual((running, answered), ([number], list(range(number))))
                self.assertGreaterEqual(len(torrent), (count - number - 1) * len(unknown_things(0)) - READ)
                self.assertFalse(attack.transport.reading)
                attack.advance(400, step=25)
                heard += attack.attacker.heard
                attack.attacker.heard.clear()
                attack.attacker.raw = b""
                torrent.note()
        # one that is not whole yet
        self.assertLessEqual(torrent.most, len(unknown_things(0)) + READ)
        self.assertEqual(answered, list(range(count)))
        self.assertEqual([len(each.vectors) for each in heard if isinstance(each, NotFound)], [45_000, 5_000] * count)
        self.assertEqual(attack.peer.stats().handler_errors, 0)
        attack.attacker.heard.clear()
        self.assert_went_on(attack)


def unknown_things(number: int) -> bytes:
    """The frame of a getdata for more than soterd would take; its number stands as their height."""
    vector = (1).to_bytes(4, "little") + bytes(32) + number.to_bytes(4, "little")
    return frame(SIMNET.magic, GetData.padded_command, b"\xfd\x50\xc3" + vector * 50_000)


def handled(attack: Attack, command: str) -> int:
    """How many messages of a command have had their turn."""
    traffic = attack.peer.stats().received.get(command)
    return 0 if traffic is None else traffic.messages


FLOODS: dict[str, tuple[list[Message], int]] = {
    "addr": ([Addr([NetAddress(1, "192.0.2.7", each + 1, 1234) for each in range(1000)])], 400),
    "inv": ([Inv([as_tx(each) for each in range(45_000)])], 8),
    "tx": ([tx(each) for each in range(50)], 900),
}
"""What is sent, and how often: about 12 MiB, or as many as cost as much to hold."""


class FloodTests(AttackTestCase):
    """addr, inv, tx without end while a handler is slow."""

    lookahead = 8 * MIB
    """How much is read ahead by default, each message counted as its bytes and 200 more."""

    def test_while_it_waits_for_anything_but_the_remote(self) -> None:
        """No more is read than a socket gives at once; later all of it has its turn."""
        for command, (messages, times) in FLOODS.items():
            gates: list[Deferred[None]] = []

            def wait(peer: SoterPeerProtocol, message: GetAddr, gates: list[Deferred[None]] = gates) -> Deferred[None]:
                gates.append(Deferred())
                return gates[0]

            attack = self.attack(on_getaddr=wait)
            torrent = Torrent(attack, frames([GetAddr()]) + frames(messages) * times)
            with self.assert_bounded(MIB):
                torrent.push()
                self.assertFalse(attack.transport.reading)
                attack.advance(600, step=30)
            self.assertLessEqual(torrent.most, READ)
            self.assertEqual(handled(attack, command), 0)
            gates.pop().callback(None)
            torrent.push()
            self.assertEqual(handled(attack, command), len(messages) * times)
            # our own pings
            self.assertEqual(set(attack.attacker.commands), {"ping"})
            attack.attacker.heard.clear()
            self.assert_went_on(attack)

    def test_while_it_waits_for_an_answer_that_never_comes(self) -> None:
        """To find the answer messages are read ahead, up to 8 MiB and one message; then the request times out."""

        def ask(peer: SoterPeerProtocol, message: GetAddr) -> Deferred[Block]:
            return peer.request(GetBlocks(height=1), Block)

        for command, (messages, times) in FLOODS.items():
            order: list[int] = []
            attack = self.attack(on_getaddr=ask, on_tx=lambda peer, tx, order=order: order.append(tx.lock_time))
            self.assertEqual(attack.peer.config.lookahead_limit, self.lookahead)
            flood = frames(messages)
            longest = max(len(frames([each])) for each in messages)
            torrent = Torrent(attack, frames([GetAddr()]) + flood * times)
            with self.assert_bounded(self.lookahead + longest + MIB):
                torrent.push()
                self.assertFalse(attack.transport.reading)
                attack.advance(29)
            self.assertGreater(len(torrent), 0)
            self.assertLessEqual(torrent.most, self.lookahead + longest + READ)
            self.assertEqual(handled(attack, command), 0)
            attack.advance(1)
            self.assertEqual(len(self.flushLoggedErrors(RequestTimedOut)), 1)
            torrent.push()
            self.assertEqual(handled(attack, command), len(messages) * times)
            if command == "tx":
                self.assertEqual(order, list(range(len(messages))) * times)
            self.assert_went_on(attack, sent_back=["getblocks"])
