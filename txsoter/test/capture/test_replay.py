"""Replays in memory: the handshake, what is played and when, what is answered, and what ends it."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from txsoter import SIMNET, CloseCause, Listeners, PeerConfig, SoterPeerProtocol
from txsoter.capture import CaptureError, Record
from txsoter.capture.conversations import Conversation
from txsoter.capture.records import RECEIVED, SENT
from txsoter.capture.replay import Outcome, Player
from txsoter.capture.show import Row
from txsoter.core.state import State
from txsoter.errors import PayloadTooLarge
from txsoter.test.capture.support import START, CaptureCase, record
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import GetBlocks, Inv, Message, Ping, Pong, Reject, SendHeaders, Unknown, VerAck, Version

RECORDED = remote_version(user_agent=b"/recorded:1.0.0/", last_block=77, nonce=5, timestamp=9)


def said(message: Message, second: float = 0.0) -> Record:
    return record(message.command, message.to_payload(), START + round(second * 1_000_000))


CONVERSATION = [
    said(RECORDED),
    said(VerAck()),
    said(SendHeaders(), 1),
    said(Ping(1), 2),
    said(Pong(99), 3),
    said(GetBlocks(height=4), 6),
    said(Ping(2), 11),
]


@attrs.frozen
class Replay:
    """A player and a live peer, connected in memory."""

    player: Player
    live: Any
    link: MemoryLink
    rows: list[Row]
    over: Deferred[Outcome]


class ReplayCase(CaptureCase):
    def write(self, *records: Record, name: str = RECEIVED) -> Conversation:
        (self.folder / name).write_bytes(b"".join(each.pack() for each in records))
        return Conversation(self.folder)

    def replay(self, live: Any, conversation: Conversation | None = None, side: str = "recv", **options: Any) -> Replay:
        """Begin."""
        rows: list[Row] = []
        player = Player(
            self.write(*CONVERSATION) if conversation is None else conversation,
            side,
            SIMNET,
            self.clock,
            micros=self.micros,
            answered=rows.append,
            random=Random(1),
            **options,
        )
        over = player.when_over()
        replay = Replay(player, live, MemoryLink(player, live), rows, over)
        replay.link.pump()
        self.addCleanup(self.nothing_left, replay)
        return replay

    def nothing_left(self, replay: Replay) -> None:
        replay.link.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def peer(self, **hooks: Any) -> tuple[SoterPeerProtocol, list[tuple[float, Message]]]:
        """A live peer of ours, and what it hears, with the time in seconds."""
        heard: list[tuple[float, Message]] = []

        def on_read(peer: object, size: int, message: Message | None, error: object) -> None:
            assert message is not None
            heard.append((round(self.clock.seconds() - START / 1e6, 3), message))

        listeners = Listeners(on_read=on_read, **hooks)
        config = PeerConfig(
            network=SIMNET, listeners=listeners, clock=self.clock, idle_timeout=None, ping_interval=None
        )
        return SoterPeerProtocol(config, inbound=True), heard

    def pass_time(self, replay: Replay, seconds: float) -> None:
        replay.link.advance(self.clock, seconds, 0.25)


class HandshakeTests(ReplayCase):
    def test_the_recorded_version_as_of_now(self) -> None:
        """Who it was stays; nonce, time and addresses are those of this connection. The live peer accepts it."""
        live, heard = self.peer()
        replay = self.replay(live, speed=None)
        version = heard[0][1]
        assert isinstance(version, Version)
        self.assertEqual((version.user_agent, version.last_block), (b"/recorded:1.0.0/", 77))
        self.assertEqual(version.timestamp, START // 1_000_000)
        self.assertNotEqual(version.nonce, RECORDED.nonce)
        self.assertEqual((version.addr_you.host, version.addr_you.port), ("192.0.2.2", 18555))
        self.assertIs(live.state, State.READY)
        self.assertEqual([row.item.record.name for row in replay.rows if row.item.record][:2], ["version", "verack"])
        self.pass_time(replay, 6)

    def test_without_a_recorded_version(self) -> None:
        """One of our own; also when the recorded one is malformed."""
        for first in (said(Ping(3)), record("version", b"damaged")):
            live, heard = self.peer()
            replay = self.replay(live, self.write(first, said(Ping(3))), speed=None)
            version = heard[0][1]
            assert isinstance(version, Version)
            self.assertIn(b"/replay:", version.user_agent)
            self.assertEqual(version.genesis_hash, SIMNET.genesis_hash)
            self.assertIn(Ping(3), [message for _, message in heard])
            self.pass_time(replay, 6)
            self.assertTrue(self.successResultOf(replay.over).whole)

    def test_nothing_is_played_before_the_handshake_is_over(self) -> None:
        """Which takes a verack, once."""
        live = ScriptedPeer()
        replay = self.replay(live, speed=None)
        self.assertEqual(live.commands, ["version"])
        live.say(VerAck())
        replay.link.pump()
        live.say(remote_version())
        replay.link.pump()
        self.assertEqual(live.commands, ["version", "verack"])
        live.say(VerAck(), VerAck())
        replay.link.pump()
        self.assertEqual(live.commands[2:], ["sendheaders", "ping", "getblocks", "ping"])
        self.pass_time(replay, 6)

    def test_no_handshake_in_time(self) -> None:
        live = ScriptedPeer()
        replay = self.replay(live, timeout=10)
        self.pass_time(replay, 9.75)
        self.assertNoResult(replay.over)
        self.pass_time(replay, 0.25)
        outcome = self.successResultOf(replay.over)
        self.assertEqual((outcome.whole, outcome.reason), (False, "no handshake within 10 s"))

    def test_a_live_peer_that_refuses(self) -> None:
        """Its last word is told."""
        live = ScriptedPeer()
        replay = self.replay(live)
        live.say(Reject(b"version", 0x10, b"go \x1baway"))
        assert live.transport is not None
        live.transport.loseConnection()
        replay.link.pump()
        outcome = self.successResultOf(replay.over)
        self.assertEqual(
            (outcome.whole, outcome.reason),
            (False, "the live peer closed the connection after a reject (version, 0x10, go away)"),
        )

    def test_a_version_that_may_not_be_sent(self) -> None:
        """soterd takes longer ones than it may be sent: an error of ours, and the connection is closed."""
        long = remote_version(user_agent=b"/" + b"a" * 254 + b"/")
        payload = attrs.evolve(long, user_agent=b"").to_payload()  # type: ignore[misc]
        payload = payload[:80] + b"\xfd\x00\x01" + long.user_agent + payload[81:]
        live = ScriptedPeer()
        replay = self.replay(live, self.write(record("version", payload)))
        self.failureResultOf(replay.over, PayloadTooLarge)
        self.assertEqual(live.raw, b"")


class PlayingTests(ReplayCase):
    def test_at_the_recorded_pace(self) -> None:
        """Or faster: what was said after so many seconds is said after so many; nothing is left out but the pong."""
        for speed, times in ((1.0, [0, 1, 5, 10]), (2.0, [0, 0.5, 2.5, 5]), (None, [0, 0, 0, 0])):
            live, heard = self.peer()
            began = self.clock.seconds() - START / 1e6
            replay = self.replay(live, speed=speed, linger=3)
            self.pass_time(replay, 14)
            played = [(time - began, message) for time, message in heard[2:]]
            messages = [SendHeaders(), Ping(1), GetBlocks(height=4), Ping(2)]
            self.assertEqual(played, list(zip(times, messages, strict=True)))
            outcome = self.successResultOf(replay.over)
            self.assertEqual((outcome.messages, outcome.whole, outcome.reason), (4, True, "all was played"))

    def test_the_other_side(self) -> None:
        live, heard = self.peer()
        replay = self.replay(live, self.write(said(RECORDED), said(Ping(8)), name=SENT), side="sent", speed=None)
        self.assertEqual(heard[-1][1], Ping(8))
        self.pass_time(replay, 6)

    def test_what_comes_is_told(self) -> None:
        """Each message once, read as it was negotiated; what is malformed, and what is no frame, as such."""
        live = ScriptedPeer()
        replay = self.replay(live, speed=None)
        live.say(remote_version(protocol_version=60000), VerAck())
        replay.link.pump()
        live.pver = 60000
        live.say(Ping(0), live_frame(Unknown("ping", b"12345678")), live_frame(Inv())[:-1] + b"x", b"not a frame" * 3)
        replay.link.pump()
        self.assertEqual(
            [(row.item.record and row.item.record.name, row.message is not None, row.error) for row in replay.rows],
            [
                ("version", True, None),
                ("verack", True, None),
                ("ping", True, None),
                ("ping", False, "has 8 bytes, at most 0 are taken"),
                ("inv", False, "wrong checksum"),
                (None, False, None),
            ],
        )
        self.assertEqual(replay.rows[-1].item.note["note"], "no frame")
        self.pass_time(replay, 6)
        self.assertEqual(self.successResultOf(replay.over).answers, 5)

    def test_pings_are_answered(self) -> None:
        """With the nonce that was asked for: the recorded pong answers pings of another time."""
        live = ScriptedPeer()
        replay = self.replay(live)
        live.say(remote_version(), VerAck(), Ping(1234))
        replay.link.pump()
        self.assertEqual([message for message in live.heard if isinstance(message, Pong)], [Pong(1234)])
        self.pass_time(replay, 16)
        self.assertEqual(len([message for message in live.heard if isinstance(message, Pong)]), 1)

    def test_raw(self) -> None:
        """All as it was recorded, from the first byte on, and nothing else, whatever the live peer says."""
        live = ScriptedPeer()
        replay = self.replay(live, raw=True, speed=None)
        live.say(remote_version(), VerAck(), Ping(5))
        replay.link.pump()
        expected = b"".join(live_frame(message) for message in (RECORDED, VerAck(), SendHeaders(), Ping(1), Pong(99)))
        self.assertTrue(live.raw.startswith(expected))
        self.assertEqual(len(live.commands), len(CONVERSATION))
        self.assertEqual(replay.rows[-1].message, Ping(5))
        self.pass_time(replay, 6)
        self.assertEqual(self.successResultOf(replay.over).messages, len(CONVERSATION))

    def test_one_who_takes_nothing(self) -> None:
        """It is played as fast as it is taken; when nothing is for too long, it ends."""
        live = ScriptedPeer()
        big = [said(Unknown("filler", bytes(50_000))) for _ in range(100)]
        replay = self.replay(live, self.write(said(RECORDED), *big), speed=None, timeout=20)
        live.say(remote_version(), VerAck())
        replay.link.client.takes = False
        replay.link.pump()
        self.pass_time(replay, 1)
        played = replay.player.outcome.messages
        self.assertLess(played, 5)
        replay.link.client.takes = True
        for _ in range(3):
            replay.link.step(200_000)
        replay.link.client.takes = False
        self.pass_time(replay, 5)
        self.assertGreater(replay.player.outcome.messages, played)
        self.pass_time(replay, 40)
        outcome = replay.player.outcome
        self.assertEqual((outcome.whole, outcome.reason), (False, "the live peer took nothing for 20 s"))
        self.assertLess(outcome.messages, 100)
        self.successResultOf(replay.over)

    def test_all_of_it_although_it_is_taken_slowly(self) -> None:
        live = ScriptedPeer()
        big = [said(Unknown("filler", bytes(50_000))) for _ in range(100)]
        replay = self.replay(live, self.write(said(RECORDED), *big), speed=None)
        live.say(remote_version(), VerAck())
        for _ in range(400):
            replay.link.pump(20_000)
            self.clock.advance(0.25)
        self.assertEqual(live.commands.count("filler"), 100)
        self.assertTrue(self.successResultOf(replay.over).whole)

    def test_the_live_peer_closes_in_the_middle(self) -> None:
        live, _ = self.peer(on_getblocks=lambda peer, message: peer.disconnect("enough") and None)
        replay = self.replay(live)
        self.pass_time(replay, 20)
        outcome = self.successResultOf(replay.over)
        self.assertEqual((outcome.messages, outcome.whole), (3, False))
        self.assertEqual(outcome.reason, "the live peer closed the connection")
        self.assertEqual(self.successResultOf(live.when_closed()).cause, CloseCause.DISCONNECT)


class EndingTests(ReplayCase):
    def test_answers_are_waited_for(self) -> None:
        """Until it has been silent for a while, or has gone on for too long."""
        for timeout, talks, ends in ((30, 0, 2.0), (30, 5, 6.0), (4, 50, 4.0)):
            live = ScriptedPeer()
            replay = self.replay(live, self.write(said(RECORDED)), linger=2, timeout=timeout)
            live.say(remote_version(), VerAck())
            replay.link.pump()
            passed = 0.0
            while not replay.player.outcome.reason:
                if passed < talks and passed == int(passed):
                    live.say(Inv())
                replay.link.pump()
                self.clock.advance(0.25)
                passed += 0.25
            replay.link.pump()
            self.assertEqual(passed, ends)
            self.assertTrue(self.successResultOf(replay.over).whole)

    def test_a_damaged_recording(self) -> None:
        """What can be read of it is played; the error names the file, and the connection is closed."""
        self.write(*CONVERSATION[:4])
        path = self.folder / RECEIVED
        path.write_bytes(path.read_bytes() + bytes(20) + b"\xff\xff\xff\xff")
        live, heard = self.peer()
        replay = self.replay(live, Conversation(self.folder), speed=None)
        self.assertIn(str(path), str(self.failureResultOf(replay.over, CaptureError).value))
        self.assertEqual(heard[-1][1], Ping(1))
        self.assertIs(live.state, State.CLOSED)

    def test_one_who_does_not_close(self) -> None:
        """Nor takes what was said last: two seconds, then the connection is cut."""
        live = ScriptedPeer()
        replay = self.replay(live, self.write(said(RECORDED)), linger=1)
        replay.link.client.takes = False
        live.say(remote_version(), VerAck())
        replay.link.pump()
        self.pass_time(replay, 1)
        self.assertTrue(replay.player.outcome.whole)
        self.assertFalse(replay.link.client.aborted)
        self.pass_time(replay, 2)
        self.assertTrue(replay.link.client.aborted)
        self.successResultOf(replay.over)


def live_frame(message: Message) -> bytes:
    from txsoter.wire import write_message

    return write_message(message, SIMNET.magic)
