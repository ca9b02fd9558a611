"""The handshake of a connection, dialled by either side."""

from __future__ import annotations

from typing import Any

from txsoter.core.events import READY, Notice, Observed, RequestEnded
from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, HandshakeFailed, SendQueueFull, UnsupportedMessage
from txsoter.networks import MAINNET
from txsoter.test.core.ends import (
    REMOTE_NONCE,
    WALL,
    ConnectionTestCase,
    End,
    filler,
    frame,
    join,
    malformed_header,
    remote_version,
    simnet,
)
from txsoter.wire import (
    Encoding,
    GetAddr,
    GetBlocks,
    Inv,
    Message,
    NetAddress,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    Services,
    Tx,
    Unknown,
    VerAck,
    Version,
    read_message,
)


def commands(messages: list[Message]) -> list[str]:
    return [each.command for each in messages]


class OutboundTests(ConnectionTestCase):
    def test_our_version_at_once_our_verack_for_theirs_and_ready_with_their_verack(self) -> None:
        end = self.end().made()
        [version] = end.said()
        assert isinstance(version, Version)
        self.assertEqual((end.state, version.nonce), (State.NEGOTIATING, end.channel.handshake.nonce))
        self.assertIn(version.nonce, LIVE_NONCES)
        end.feed(remote_version())
        self.assertEqual((end.state, end.said()), (State.NEGOTIATED, [VerAck()]))
        self.assertFalse(end.channel.handshake.complete)
        end.feed(VerAck())
        self.assertEqual((end.state, end.said(), end.events), (State.READY, [], [READY]))
        self.assertTrue(end.channel.handshake.complete)

    def test_our_version_says_who_and_where_the_remote_is(self) -> None:
        end = self.end(simnet(newest_block=lambda: 77, services=1)).made("192.0.2.9", 4321)
        [version] = end.said()
        assert isinstance(version, Version)
        self.assertEqual((version.last_block, version.services, version.timestamp), (77, 1, int(WALL)))
        self.assertEqual(version.addr_you, NetAddress(Services.NETWORK, "192.0.2.9", 4321))

    def test_a_proxys_address_and_names_are_not_named(self) -> None:
        nowhere = NetAddress(Services.NETWORK, "0.0.0.0", 0)
        for host, proxy in (("192.0.2.9", "192.0.2.9:9050"), ("abc.onion", None), (None, None)):
            end = self.end(simnet(proxy=proxy)).made(host, 4321)
            [version] = end.said()
            assert isinstance(version, Version)
            self.assertEqual(version.addr_you, nowhere)

    def test_the_messages_have_their_turns_and_ready_comes_before_the_veracks(self) -> None:
        end = self.end().made()
        seen: list[tuple[object, int]] = []
        end.on_event = lambda event: seen.append((event, len(end.turns)))
        end.feed(remote_version(), VerAck())
        self.assertEqual(commands(end.turns), ["version", "verack"])
        self.assertEqual(seen, [(READY, 1)])

    def test_without_handlers_it_needs_none(self) -> None:
        end = self.end(handles=()).made()
        end.feed(remote_version(), VerAck())
        self.assertEqual((end.state, end.turns, end.events), (State.READY, [], [READY]))

    def test_each_connection_has_a_nonce_of_its_own(self) -> None:
        nonces = {self.end().made().channel.handshake.nonce for _ in range(5)}
        self.assertEqual(len(nonces), 5)
        self.assertTrue(all(nonce in LIVE_NONCES for nonce in nonces))


class InboundTests(ConnectionTestCase):
    def test_silent_until_the_remotes_version_has_come(self) -> None:
        end = self.end(inbound=True).made()
        end.advance(20)
        self.assertEqual(end.writes, [])
        end.feed(remote_version())
        self.assertEqual((end.state, commands(end.said())), (State.NEGOTIATED, ["version", "verack"]))
        end.feed(VerAck())
        self.assertEqual((end.state, end.said()), (State.READY, []))

    def test_our_version_is_encoded_at_the_negotiated_version_and_names_our_own(self) -> None:
        """Without the relay byte, which is younger than 70001."""
        sizes = []
        for theirs in (70001, 70000):
            end = self.end(inbound=True).made()
            end.feed(remote_version(protocol_version=theirs))
            version, size = read_message(end.raw, end.config.network.magic, theirs, Encoding.BASE)
            assert isinstance(version, Version)
            self.assertEqual((version.protocol_version, end.channel.handshake.pver), (70013, theirs))
            sizes.append(size)
        self.assertEqual(sizes[0] - sizes[1], 1)


class BothEndsTests(ConnectionTestCase):
    def test_two_connections_joined_by_their_bytes(self) -> None:
        for chunk_by_chunk in (False, True):
            config = simnet(allow_self_connections=True)
            ends = self.end(config), self.end(config, inbound=True)
            for each in ends:
                each.room = 0 if chunk_by_chunk else None
                each.made()
            join(*ends)
            self.assertEqual([each.state for each in ends], [State.READY] * 2)
            asked = ends[0].request(Ping(7), Pong)
            ends[1].send(filler(300_000))
            join(*ends)
            self.assertEqual(ends[0].outcomes[asked], [Pong(7)])
            self.assertEqual(ends[0].turns[-2:], [filler(300_000), Pong(7)])

    def test_they_keep_each_other_alive(self) -> None:
        config = simnet(allow_self_connections=True)
        ends = self.end(config).made(), self.end(config, inbound=True).made()
        join(*ends, seconds=1000)
        for each in ends:
            self.assertIs(each.state, State.READY)
            assert each.channel.pings.last_micros is not None
            self.assertGreaterEqual(each.channel.counters.sent["ping"].messages, 8)


class CheckTests(ConnectionTestCase):
    """The checks on the remote's version, each before the application's handlers."""

    def refused(self, cause: CloseCause, code: RejectCode | None, end: End, version: Version) -> None:
        end.made()
        end.said()
        end.feed(version)
        self.assertEqual(end.turns, [])
        said = end.said()
        self.assertEqual(commands(said), [] if code is None else ["reject"])
        for reject in said:
            assert isinstance(reject, Reject)
            self.assertEqual((reject.rejected, reject.code), (b"version", code))
        self.assert_closing(end, cause)

    def test_self_connection_without_reject(self) -> None:
        other = self.end().made()
        nonce = other.channel.handshake.nonce
        self.refused(CloseCause.SELF_CONNECTION, None, self.end(), remote_version(nonce=nonce))

    def test_self_connection_is_allowed_if_config_says_so(self) -> None:
        other = self.end().made()
        end = self.end(simnet(allow_self_connections=True)).made()
        end.feed(remote_version(nonce=other.channel.handshake.nonce))
        self.assertIs(end.state, State.NEGOTIATED)

    def test_a_nonce_is_forgotten_with_its_connection(self) -> None:
        other = self.end().made()
        nonce = other.channel.handshake.nonce
        other.lose()
        end = self.end().made()
        end.feed(remote_version(nonce=nonce))
        self.assertIs(end.state, State.NEGOTIATED)

    def test_another_genesis_and_another_major_of_our_agent(self) -> None:
        for inbound in (False, True):
            genesis = remote_version(genesis_hash=MAINNET.genesis_hash)
            self.refused(CloseCause.WRONG_GENESIS, RejectCode.INVALID, self.end(inbound=inbound), genesis)
            agent = remote_version(user_agent=b"/soterwire:0.6.0/txsoter:9.0.0/")
            self.refused(CloseCause.INCOMPATIBLE_AGENT, RejectCode.INVALID, self.end(inbound=inbound), agent)

    def test_an_obsolete_version_without_reject_and_after_the_listener(self) -> None:
        for advertised in (208, -1):
            end = self.end().made()
            end.said()
            end.feed(remote_version(protocol_version=advertised))
            self.assertEqual(commands(end.turns), ["version"])
            self.assert_closing(end, CloseCause.OBSOLETE_VERSION)

    def test_a_listener_may_refuse_with_a_reject(self) -> None:
        end = self.end(holds={Version}).made()
        end.feed(remote_version())
        end.said()
        refusal = Reject(b"version", RejectCode.INVALID, b"not you\n")
        end.finish("nothing", refusal, Reject(b"version", RejectCode.OBSOLETE, b"second"))
        reason = self.assert_closing(end, CloseCause.REFUSED_BY_LISTENER, said=(refusal,))
        self.assertEqual(reason.detail, "not you")

    def test_a_listeners_reject_that_cannot_be_encoded_is_a_notice(self) -> None:
        end = self.end(holds={Version}).made()
        end.feed(remote_version())
        end.said()
        end.finish(Reject(b"version", 300, b""))
        self.assert_closing(end, CloseCause.REFUSED_BY_LISTENER)
        [notice] = end.of(Notice)
        self.assertIn("not sent", notice.text)

    def test_a_newest_block_that_fails_closes_and_nothing_is_sent(self) -> None:
        error = ZeroDivisionError()

        def fails() -> int:
            raise error

        for inbound in (False, True):
            end = self.end(simnet(newest_block=fails), inbound=inbound).made()
            if inbound:
                end.feed(remote_version())
            self.assert_closing(end, CloseCause.LOCAL_FAILURE)
            [notice] = end.of(Notice)
            self.assertIs(notice.error, error)

    def test_a_newest_block_that_cannot_be_encoded(self) -> None:
        wrong: Any = "height"
        end = self.end(simnet(newest_block=lambda: wrong)).made()
        self.assert_closing(end, CloseCause.LOCAL_FAILURE)


class FirstMessageTests(ConnectionTestCase):
    """The first message must be a ``version``."""

    def test_another_is_rejected(self) -> None:
        for inbound in (False, True):
            end = self.end(inbound=inbound).made()
            end.said()
            end.feed(GetAddr(), remote_version())
            reason = b"a version message must precede all others"
            reject = Reject(b"getaddr", RejectCode.MALFORMED, reason)
            self.assert_closing(end, CloseCause.VERSION_EXPECTED, command="getaddr", said=(reject,))
            self.assertEqual(end.turns, [])

    def test_a_verack_too(self) -> None:
        end = self.end().made()
        end.feed(VerAck())
        self.assertIs(end.connection.reason and end.connection.reason.cause, CloseCause.VERSION_EXPECTED)

    def test_unknown_and_malformed_ones_are_not_answered(self) -> None:
        for data, cause, command in (
            (frame(Unknown("novel")), CloseCause.VERSION_EXPECTED, "novel"),
            (malformed_header(), CloseCause.MALFORMED, "ping"),
            (bytes(24), CloseCause.MALFORMED, None),
        ):
            end = self.end().made()
            end.said()
            end.feed(data)
            self.assert_closing(end, cause, command=command)

    def test_a_reject_is_the_remotes_refusal_and_not_answered(self) -> None:
        end = self.end().made()
        end.said()
        end.feed(Reject(b"version", RejectCode.OBSOLETE, b"too\nold"))
        reason = self.assert_closing(end, CloseCause.REJECTED, command="version", by=ClosedBy.REMOTE)
        self.assertEqual((reason.code, reason.reject_reason), (RejectCode.OBSOLETE, "tooold"))

    def test_who_observes_is_shown_what_was_refused(self) -> None:
        end = self.end(observes=True).made()
        end.feed(GetAddr())
        [observed] = end.of(Observed)
        self.assertEqual((observed.size, observed.message, observed.error), (24, GetAddr(), None))


class LaterMessageTests(ConnectionTestCase):
    def test_between_version_and_verack_messages_are_handled_and_answered(self) -> None:
        """A soterd often asks before its verack."""
        end = self.end().made()
        end.feed(remote_version(), GetBlocks(), Ping(5), VerAck())
        self.assertEqual(commands(end.turns), ["version", "getblocks", "ping", "verack"])
        self.assertEqual(commands(end.said()), ["version", "verack", "pong"])

    def test_a_second_version_is_rejected(self) -> None:
        for before in ((), (VerAck(),)):
            end = self.end().made()
            end.feed(remote_version(), *before)
            end.said()
            end.feed(remote_version())
            reject = Reject(b"version", RejectCode.DUPLICATE, b"duplicate version message")
            self.assert_closing(end, CloseCause.DUPLICATE_VERSION, said=(reject,))

    def test_a_second_verack_closes(self) -> None:
        end = self.ready()
        end.feed(VerAck())
        self.assert_closing(end, CloseCause.DUPLICATE_VERACK)

    def test_what_comes_behind_a_version_that_is_still_in_hand_waits(self) -> None:
        end = self.end(holds={Version}).made()
        end.feed(remote_version(), Ping(1), VerAck())
        end.said()
        self.assertEqual((end.state, commands(end.turns)), (State.VERSION_KNOWN, ["version"]))
        end.finish()
        self.assertEqual((end.state, end.said()), (State.READY, [VerAck(), Pong(1)]))

    def test_advertised_and_negotiated_are_kept_apart(self) -> None:
        for ours, theirs, negotiated in ((70013, 70012, 70012), (70001, 70013, 70001), (70013, 80000, 70013)):
            end = self.end(simnet(protocol_version=ours)).made()
            end.feed(remote_version(protocol_version=theirs), VerAck())
            remote = end.channel.handshake.remote
            assert remote is not None
            self.assertEqual((remote.protocol_version, end.channel.handshake.pver), (theirs, negotiated))
            self.assertEqual(end.channel.reader.pver, negotiated)


class EarlyMessageTests(ConnectionTestCase):
    """Messages that the application sends before our ``verack`` follow it."""

    def test_in_order_behind_the_verack(self) -> None:
        for inbound in (False, True):
            end = self.end(inbound=inbound)
            tokens = [end.send(Ping(1))]
            end.made()
            tokens += [end.send(Ping(2)), end.send(Ping(3))]
            self.assertEqual(end.channel.memory() > 96, True)
            end.feed(remote_version())
            self.assertEqual(commands(end.said())[-4:], ["verack", "ping", "ping", "ping"])
            self.assertEqual([end.outcomes[token] for token in tokens], [[None]] * 3)
            self.assertEqual(end.channel.memory(), 0)

    def test_more_than_fifty(self) -> None:
        """In the reference the 51st hangs the handshake."""
        end = self.end().made()
        for number in range(200):
            end.send(Ping(number))
        end.feed(remote_version(), VerAck())
        self.assertEqual(end.said()[2:], [Ping(number) for number in range(200)])
        self.assertIs(end.state, State.READY)

    def test_encoded_for_what_was_negotiated(self) -> None:
        """The ping loses its nonce at 60000; a transaction keeps the encoding that it was sent with."""
        end = self.end().made()
        end.send(Ping(7))
        end.send(Tx(), Encoding.BASE)
        end.feed(remote_version(protocol_version=60000))
        self.assertIn(frame(Ping(), 60000), end.raw)
        self.assertNotIn(frame(Ping(7)), end.raw)

    def test_what_the_remotes_version_lacks_fails_alone(self) -> None:
        end = self.end().made()
        failed, sent = end.send(SendHeaders()), end.send(Ping(1))
        end.connection.send(SendHeaders())
        asked = end.request(SendHeaders(), Inv)
        end.feed(remote_version(protocol_version=60001), VerAck())
        self.assertEqual(end.state, State.READY)
        self.assertIsInstance(end.outcomes[failed][0], UnsupportedMessage)
        self.assertIsInstance(end.outcomes[asked][0], UnsupportedMessage)
        self.assertEqual((end.outcomes[sent], len(end.of(RequestEnded))), ([None], 1))
        # nobody waits for the one without a token
        self.assertEqual(len(end.of(Notice)), 1)

    def test_they_are_held_to_the_hard_limit(self) -> None:
        end = self.end(simnet(hard_queue_limit=1000, soft_queue_limit=1000)).made()
        fits, exceeds, fits_too = end.send(filler(900)), end.send(filler(101)), end.send(filler(100))
        error = end.outcomes[exceeds][0]
        assert isinstance(error, SendQueueFull)
        self.assertEqual((error.queued, error.size, error.limit), (900, 101, 1000))
        self.assertEqual((end.outcomes[fits], end.outcomes[fits_too]), ([], []))

    def test_they_fail_when_the_handshake_does(self) -> None:
        for how in ("close", "lose", "refuse"):
            end = self.end().made()
            token = end.send(Ping(1))
            if how == "close":
                end.close()
            elif how == "refuse":
                end.feed(remote_version(genesis_hash=MAINNET.genesis_hash))
            end.lose()
            self.assertIsInstance(end.outcomes[token][0], HandshakeFailed, how)

    def test_they_fail_when_the_connection_never_was(self) -> None:
        end = self.end()
        token = end.send(Ping(1))
        end.close()
        self.assertIsInstance(end.outcomes[token][0], HandshakeFailed)
        self.assertIs(end.state, State.CLOSED)

    def test_a_send_of_the_version_handlers_waits_too(self) -> None:
        end = self.end(holds={Version}).made()
        end.feed(remote_version())
        token = end.send(Ping(1))
        self.assertEqual((commands(end.said()), end.outcomes[token]), (["version"], []))
        end.finish()
        self.assertEqual((commands(end.said()), end.outcomes[token]), (["verack", "ping"], [None]))


class TimeTests(ConnectionTestCase):
    def test_all_of_it_within_30_s_the_remotes_verack_included(self) -> None:
        for messages in ((), (remote_version(),)):
            end = self.end().made()
            end.feed(*messages)
            end.advance(29.9)
            self.assertFalse(end.state.is_closing)
            end.advance(0.1)
            end.said()
            self.assert_closing(end, CloseCause.NEGOTIATION_TIMEOUT)

    def test_the_time_of_the_version_handler_does_not_count(self) -> None:
        end = self.end(holds={Version}).made()
        end.advance(10)
        end.feed(remote_version())
        end.advance(100)
        self.assertIs(end.state, State.VERSION_KNOWN)
        end.finish()
        end.advance(19.9)
        self.assertFalse(end.state.is_closing)
        end.advance(0.1)
        self.assertIs(end.connection.reason and end.connection.reason.cause, CloseCause.NEGOTIATION_TIMEOUT)

    def test_none_switches_it_off(self) -> None:
        end = self.end(simnet(negotiate_timeout=None, idle_timeout=None)).made()
        self.assertIsNone(end.connection.next_timeout())

    def test_the_remotes_nonce_is_not_ours(self) -> None:
        self.assertNotIn(REMOTE_NONCE, LIVE_NONCES)
