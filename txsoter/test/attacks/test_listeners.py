"""Attacks through our own listeners: the remote picks the moment at which they raise, wait for ever, or hang up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import LogEvent, globalLogPublisher

from txsoter import CloseCause, ClosedBy, SoterPeerProtocol
from txsoter.errors import RequestTimedOut, SendQueueFull
from txsoter.test.attacks.pressure import Torrent, big_block, drain, frames, not_to_the_bystander, stop_reading
from txsoter.test.attacks.support import BOTH, KIB, MIB, READ, Attack, AttackTestCase
from txsoter.test.peer.cases import as_block, as_tx, wrong
from txsoter.testing import remote_version
from txsoter.wire import GetAddr, GetBlocks, Inv, Message, Ping, Pong, Unknown, VerAck

WAITED_FOR = ("on_version", "on_verack", "on_getaddr", "on_unknown", "on_ping", "on_read")
"""A listener of each kind for which the next message waits."""

NOT_WAITED_FOR = ("on_ready", "on_write")
"""Those for which nothing waits, on_closed aside."""

CALLED = WAITED_FOR + NOT_WAITED_FOR
"""Those that are called while the connection lasts."""

TALK = (GetAddr(), Unknown("anything", b"at all"), Ping(7))
"""What the attacker says once it is ready, so that each of them is called."""

ANSWERS = ("version", "verack", Pong(7))
"""What it hears."""


class Oops(Exception):
    """What a listener raises."""


def raising(*arguments: Any) -> Any:
    """A listener that raises."""
    raise Oops


def failing(*arguments: Any) -> Any:
    """A listener whose Deferred fails."""
    return fail(Oops())


async def breaking(*arguments: Any) -> Any:
    """A coroutine that raises."""
    raise Oops


async def chaining(*arguments: Any) -> Any:
    """A coroutine that raises because of something else."""
    try:
        raise KeyError
    except KeyError as error:
        raise Oops from error


FAILURES = (raising, failing, breaking, chaining)


class ListenerTestCase(AttackTestCase):
    """What the attacks have in common: whatever is logged is kept, as Twisted does by itself until logging begins.

    :ivar kept: the events.
    """

    def setUp(self) -> None:
        super().setUp()
        self.kept: list[LogEvent] = []
        globalLogPublisher.addObserver(wrong(self.keep))
        self.addCleanup(globalLogPublisher.removeObserver, wrong(self.keep))

    def keep(self, event: LogEvent) -> None:
        """Something was logged."""
        self.kept.append(event)
        if "log_failure" in event:
            # what pytest adds for its own reports
            event["log_failure"].__dict__.pop("_twisted_raw_excinfo", None)

    def attack_through(self, name: str, listener: Callable[..., Any], **fields: Any) -> Attack:
        """A process whose listener of that name is the attacker's to call; nothing has been said yet."""
        hooks: dict[str, Any] = {name: not_to_the_bystander(listener), **fields}
        return self.attack(handshake=False, **hooks)

    def talk(self, attack: Attack) -> None:
        """Go through the handshake, and say something that each kind of listener is called for."""
        attack.say(remote_version(), VerAck(), *TALK)


class RaisingTests(ListenerTestCase):
    """A listener that raises."""

    def test_each_kind_in_each_way(self) -> None:
        """Logged and counted; the connection goes on as if it had not been there."""
        for name in CALLED:
            for failure in FAILURES:
                for inbound in BOTH:
                    attack = self.attack_through(name, failure, inbound=inbound)
                    self.talk(attack)
                    errors = attack.peer.stats().handler_errors
                    self.assertGreater(errors, 0)
                    self.assertEqual(len(self.flushLoggedErrors(Oops)), errors)
                    self.assert_went_on(attack, sent_back=ANSWERS)
                    # as it is closed it is pinged once more
                    self.flushLoggedErrors(Oops)

    def test_on_closed(self) -> None:
        """All others have been told already, and the factory has forgotten the peer."""
        for failure in FAILURES:
            attack = self.attack(on_closed=not_to_the_bystander(failure))
            attack.hang_up()
            self.assertEqual(len(self.flushLoggedErrors(Oops)), 1)
            self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE)

    def test_if_config_asks_for_close(self) -> None:
        """The connection is closed; what came behind is not handled."""
        for name in CALLED:
            for failure in FAILURES:
                attack = self.attack_through(name, failure, close_on_handler_error=True)
                self.talk(attack)
                self.assertGreater(len(self.flushLoggedErrors(Oops)), 0)
                reason = self.successResultOf(attack.peer.when_closed())
                heard = attack.attacker.commands
                self.assertEqual(heard, ["version", "verack", "pong"][: len(heard)])
                self.assert_refused(attack, CloseCause.HANDLER_FAILED, command=reason.command, sent_back=heard)

    def test_newest_block(self) -> None:
        """It is no listener, but is called when the remote wants: without our height there is no connection."""
        calls: list[object] = []

        def newest_block() -> int:
            calls.append(None)
            if len(calls) > 1:
                # the bystander came first
                raise Oops
            return 0

        for inbound in BOTH:
            calls.clear()
            attack = self.attack(inbound=inbound, handshake=False, newest_block=newest_block)
            attack.say(remote_version())
            self.assertEqual(len(self.flushLoggedErrors(Oops)), 1)
            self.assert_refused(attack, CloseCause.LOCAL_FAILURE)

    def test_a_thousand_times(self) -> None:
        """Each is counted, and all that the remote says is still handled."""
        attack = self.attack(on_ping=not_to_the_bystander(raising))
        attack.say(frames(Ping(nonce) for nonce in range(1000)))
        self.assertEqual(len(self.flushLoggedErrors(Oops)), 1000)
        self.assertEqual(attack.peer.stats().handler_errors, 1000)
        self.assert_sent_back(attack, [Pong(nonce) for nonce in range(1000)])
        attack.attacker.heard.clear()
        self.assert_went_on(attack)
        self.flushLoggedErrors(Oops)

    def test_over_large_messages(self) -> None:
        """What was logged of it does not keep the messages: 40 MB of blocks, of which none is left."""
        attack = self.attack(on_block=not_to_the_bystander(raising))
        data = frames([big_block()]) * 40
        with self.assert_bounded(8 * MIB):
            Torrent(attack, data).push()
        self.assertEqual(attack.peer.stats().handler_errors, 40)
        self.assertEqual(len([each for each in self.kept if "log_failure" in each]), 40)
        self.assertIn("Oops", self.kept[-1]["log_failure"].getTraceback())
        self.assertEqual(len(self.flushLoggedErrors(Oops)), 40)
        self.assert_went_on(attack)


class NeverFinishingTests(ListenerTestCase):
    """A listener that never finishes."""

    def test_those_waited_for(self) -> None:
        """What comes behind is not read, however long that takes, and nobody is blamed; its end comes too late."""
        flood = frames([Inv([as_tx(1)])] * 20_000)
        for name in WAITED_FOR:
            for lost in (True, False):
                gates: list[Deferred[None]] = []

                def wait(*arguments: Any, gates: list[Deferred[None]] = gates) -> Deferred[None]:
                    gates.append(Deferred())
                    return gates[-1]

                attack = self.attack_through(name, wait)
                self.talk(attack)
                torrent = Torrent(attack, flood)
                attack.transport.takes = False
                with self.assert_bounded(MIB):
                    torrent.push()
                    attack.advance(3600, step=60)
                self.assertEqual((len(gates), attack.transport.reading), (1, False))
                self.assertLessEqual(torrent.most, READ)
                self.assertIs(attack.peer.is_closing, False)
                received = attack.peer.stats().messages_received
                if lost:
                    attack.link.reset()
                    cause, by = CloseCause.CONNECTION_LOST, ClosedBy.NETWORK
                else:
                    attack.hand_out(attack.peer.disconnect())
                    attack.transport.takes = True
                    cause, by = CloseCause.DISCONNECT, ClosedBy.LOCAL
                attack.pump()
                gates.pop().callback(None)
                self.assertEqual((attack.peer.stats().messages_received, len(gates)), (received, 0))
                attack.attacker.heard.clear()
                self.assert_refused(attack, cause, by=by)

    def test_those_not_waited_for(self) -> None:
        """Nothing is held up."""
        for name in NOT_WAITED_FOR:
            # kept by nobody: what an application waits for keeps the peer for as long as it does
            attack = self.attack_through(name, lambda *arguments: Deferred())
            self.talk(attack)
            self.assert_went_on(attack, sent_back=ANSWERS)

    def test_on_closed(self) -> None:
        """It is not waited for either."""
        attack = self.attack(on_closed=not_to_the_bystander(lambda *arguments: Deferred()))
        attack.hang_up()
        self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE)


class InsideTests(ListenerTestCase):
    """A listener that calls send, disconnect or request from inside itself."""

    def test_send(self) -> None:
        """It is sent in its turn, never before our verack, and its Deferred fires."""
        for name in CALLED:
            for inbound in BOTH:
                sent: list[Deferred[None]] = []
                # from on_write it would be for its own messages without end
                times = 3 if name in ("on_read", "on_write") else 1

                def send(
                    peer: SoterPeerProtocol, *_: Any, sent: list[Deferred[None]] = sent, times: int = times
                ) -> None:
                    if len(sent) < times:
                        # noted before it is sent: on_write is called in the middle of that
                        done: Deferred[None] = Deferred()
                        sent.append(done)
                        peer.send(GetBlocks(height=len(sent))).chainDeferred(done)

                attack = self.attack_through(name, send, inbound=inbound)
                self.talk(attack)
                for each in sent:
                    self.assertIsNone(self.successResultOf(each))
                asked = [each.height for each in attack.attacker.heard if isinstance(each, GetBlocks)]
                self.assertEqual(asked, list(range(1, len(sent) + 1)))
                self.assertEqual(len(sent), times)
                self.assertEqual(attack.attacker.commands[:2], ["version", "verack"])
                heard = [each for each in attack.attacker.heard if not isinstance(each, GetBlocks)]
                self.assertEqual([each.command for each in heard], ["version", "verack", "pong"])
                attack.attacker.heard.clear()
                self.assert_went_on(attack)

    def test_send_for_each_write_without_end(self) -> None:
        """No loop: what the transport takes is the bound, then one message waits."""
        written = 0

        def on_write(peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
            nonlocal written
            written += 1
            if isinstance(message, Ping):
                peer.send(Ping(written))

        attack = self.attack(on_write=not_to_the_bystander(on_write))
        stop_reading(attack)
        attack.hand_out(attack.peer.send(Ping(0)))
        for _ in range(5):
            self.assertLessEqual(attack.held(), 64 * KIB + 64)
            self.assertEqual(attack.peer.stats().queue_length, 1)
            drain(attack, attack.transport.waiting)
        # each time as many as make it full
        self.assertLessEqual(written, 6 * (64 * KIB // 32 + 1) + 4)
        heard = [each.nonce for each in attack.attacker.heard if isinstance(each, Ping)]
        self.assertEqual(len(heard), len(set(heard)))
        attack.hand_out(attack.peer.disconnect())
        attack.transport.takes = True
        attack.pump()
        attack.attacker.heard.clear()
        self.assert_refused(attack, CloseCause.DISCONNECT)

    def test_send_again_for_each_write_that_failed(self) -> None:
        """A remote that takes nothing makes all of them fail: each is told so, and none waits."""
        tries: Counter[int] = Counter()

        def on_write(peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
            if error is not None and message is not None and tries[id(message)] < 50:
                tries[id(message)] += 1
                again.append(peer.send(message))

        again: list[Deferred[None]] = []
        limit = 64 * KIB
        attack = self.attack(
            on_write=not_to_the_bystander(on_write), soft_queue_limit=limit, hard_queue_limit=limit, read_on_after=None
        )
        stop_reading(attack)
        # kept, so that each has an identity of its own
        messages = [Unknown("large", bytes(1000)) for _ in range(150)]
        sent = [attack.peer.send(message) for message in messages]
        self.assertEqual({*tries.values()}, {50})
        self.assertLessEqual(attack.held(), limit + 128 * KIB)
        refused = [each for each in sent if each.called and each.result is not None]
        self.assertEqual(len(again), 50 * len(refused))
        for each in again + refused:
            self.failureResultOf(each, SendQueueFull)
        attack.hand_out(*sent)
        attack.transport.takes = True
        attack.pump()
        self.assertEqual(len(attack.attacker.heard), len(sent) - len(refused))
        attack.attacker.heard.clear()
        self.assert_went_on(attack)

    def test_disconnect(self) -> None:
        """At once, whatever it is in the middle of: nobody is called for what comes behind."""
        for name in CALLED:
            for inbound in BOTH:
                called: list[str] = []

                def note(peer: SoterPeerProtocol, *arguments: Any, called: list[str] = called) -> None:
                    called.append("later" if peer.is_closing else "before")

                ends: list[Deferred[Any]] = []

                def hang_up(peer: SoterPeerProtocol, *arguments: Any, ends: list[Deferred[Any]] = ends) -> None:
                    if not peer.is_closing:
                        ends += [peer.disconnect("first"), peer.disconnect("second")]

                others = {each: not_to_the_bystander(note) for each in WAITED_FOR if each not in (name, "on_read")}
                attack = self.attack_through(name, hang_up, inbound=inbound, **others)
                if not attack.peer.is_closing:
                    self.talk(attack)
                attack.hand_out(*ends)
                self.assertEqual([self.successResultOf(each).detail for each in ends], ["first", "first"])
                self.assertNotIn("later", called)
                heard = attack.attacker.commands
                self.assertEqual(heard, ["version", "verack", "pong"][: len(heard)])
                self.assert_refused(attack, CloseCause.DISCONNECT, sent_back=heard)

    def test_request(self) -> None:
        """Its answer may be awaited inside: it is found behind what waits for the listener to be done."""
        for name in CALLED:
            for inbound in BOTH:
                answers: list[object] = []

                async def ask(peer: SoterPeerProtocol, *arguments: Any, answers: list[object] = answers) -> None:
                    if not answers:
                        answers.append(None)
                        try:
                            answers[0] = await peer.request(GetBlocks(height=1), Inv)
                        except RequestTimedOut as error:
                            answers[0] = type(error)

                attack = self.attack_through(name, ask, inbound=inbound)
                self.talk(attack)
                attack.say(Inv([as_block(1)]))
                attack.advance(30, step=5)
                # before the handshake is over it waits for itself, until it is given up: then that goes on
                early = name in ("on_version", "on_read")
                self.assertEqual(answers, [RequestTimedOut if early else Inv([as_block(1)])])
                self.assertEqual(sorted(attack.attacker.commands), ["getblocks", "pong", "verack", "version"])
                self.assertEqual(attack.peer.stats().received["inv"].messages, 1)
                attack.attacker.heard.clear()
                self.assert_went_on(attack)
