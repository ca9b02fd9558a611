"""Attacks at the end of a connection: in every state, in the middle of a write, from other threads, all at once."""

from __future__ import annotations

import gc
from collections.abc import Callable
from threading import Thread, get_ident
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from txsoter import CloseCause, ClosedBy, CloseReason, ConnectionClosed, HandshakeFailed, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import RequestClosed
from txsoter.test.attacks.pressure import Loopback, RawAttacker, drain, not_to_the_bystander, stop_reading
from txsoter.test.attacks.support import BOTH, BYSTANDER, KIB, MIB, Attack, AttackTestCase
from txsoter.test.peer.cases import as_block, as_tx, hash_of, over_sockets, real_reactor, wrong
from txsoter.testing import CLIENT, MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import (
    Block,
    BlockHeader,
    GetAddr,
    GetBlocks,
    GetData,
    Inv,
    Message,
    Ping,
    Pong,
    Tx,
    TxIn,
    Unknown,
    VerAck,
    Version,
)

R = TypeVar("R")

LIVE = (State.NEGOTIATING, State.VERSION_KNOWN, State.NEGOTIATED, State.READY)
"""The states in which a connection can be ended."""


def waits_unless_bystander(peer: SoterPeerProtocol, version: Version) -> Deferred[None] | None:
    """An on_version listener that does not come to an end."""
    return None if peer.host == BYSTANDER.host else Deferred()


class EndingTestCase(AttackTestCase):
    """What the tests of the end have in common."""

    def attack_in(self, state: State, *, inbound: bool, **fields: Any) -> Attack:
        """An attacker that has gone as far as ``state``, and takes nothing any more."""
        if state is State.VERSION_KNOWN:
            fields["on_version"] = waits_unless_bystander
        attack = self.attack(inbound=inbound, handshake=state is State.READY, **fields)
        if state in (State.VERSION_KNOWN, State.NEGOTIATED):
            attack.say(remote_version())
        self.assertIs(attack.peer.state, state)
        attack.attacker.heard.clear()
        return attack

    def occupy(self, attack: Attack) -> list[Deferred[Any]]:
        """Let everything wait that can: Deferreds of all verbs that give one and cannot be done yet."""
        peer = attack.peer
        stop_reading(attack)
        waiting: list[Deferred[Any]] = [
            peer.request(GetBlocks(height=1), Inv),
            peer.request(Ping(5), Pong, timeout=None),
            # too much for the transport: these wait for room, and those before the handshake's end for that
            peer.send(Unknown("large", bytes(200 * KIB))),
            peer.send(Ping(1)),
            peer.push_get_headers(7),
            peer.push_reject("inv", 0x10, "no"),
        ]
        if peer.state is not State.READY:
            waiting.append(peer.when_ready())
        peer.queue_inventory(as_tx(1))
        peer.queue_inventory(as_block(1))
        return waiting

    def assert_all_told(self, attack: Attack, waiting: list[Deferred[Any]], ready: bool, cause: CloseCause) -> None:
        """Each has failed, for the one reason, as what it is."""
        for number, each in enumerate(waiting):
            kind = RequestClosed if number < 2 else ConnectionClosed if ready else HandshakeFailed
            error: Any = self.failureResultOf(each, kind).value
            self.assertIs(type(error), kind)
            self.assertIs(error.reason.cause, cause)
        attack.hand_out(*waiting)
        waiting.clear()


class EveryStateTests(EndingTestCase):
    """disconnect() in every state, twice."""

    def test_before_there_is_a_connection(self) -> None:
        """The one that comes later is aborted at once, and says nothing."""
        for inbound in BOTH:
            attack = self.attack()
            factory = attack.server if inbound else attack.client
            unborn = factory.buildProtocol(CLIENT)
            sent, ready = unborn.send(Ping(1)), unborn.when_ready()
            ends = [unborn.disconnect("first"), unborn.disconnect("second"), unborn.when_closed()]
            self.assertNotIn(unborn, factory.peers)
            for each in ends:
                self.assertEqual(
                    self.successResultOf(each), CloseReason(ClosedBy.LOCAL, CloseCause.DISCONNECT, "first")
                )
            self.failureResultOf(sent, HandshakeFailed)
            self.failureResultOf(ready, HandshakeFailed)
            remote = ScriptedPeer()
            link = MemoryLink(remote, unborn) if inbound else MemoryLink(unborn, remote)
            link.pump()
            self.assertIs(unborn.state, State.CLOSED)
            self.assertEqual(remote.raw, b"")
            self.assertIsNotNone(remote.closed)
            self.assert_went_on(attack)

    def test_with_everything_waiting(self) -> None:
        """Nothing of it is sent, and everybody is told. A remote that takes nothing has 10 s, then it is aborted."""
        for state in LIVE:
            for inbound in BOTH:
                for takes in BOTH:
                    attack = self.attack_in(state, inbound=inbound)
                    waiting = self.occupy(attack)
                    ends = [attack.peer.disconnect("first"), attack.peer.disconnect("second")]
                    self.assertIs(attack.peer.state, State.CLOSING)
                    attack.transport.takes = takes
                    attack.pump()
                    # before the handshake lets it go, nothing of that is with the transport
                    pinned = state.may_send and not takes
                    self.assertIs(attack.peer.state, State.CLOSING if pinned else State.CLOSED)
                    ends.append(attack.peer.disconnect("third"))
                    if pinned:
                        attack.advance(9)
                        self.assertIs(attack.peer.state, State.CLOSING)
                        attack.advance(1)
                    self.assert_all_told(attack, waiting, state is State.READY, CloseCause.DISCONNECT)
                    self.assertEqual([self.successResultOf(each).detail for each in ends], ["first"] * len(ends))
                    attack.hand_out(*ends)
                    # a part of what was too much
                    attack.attacker.heard.clear()
                    attack.attacker.forget_unread()
                    self.assert_refused(attack, CloseCause.DISCONNECT)

    def test_while_it_is_closing_for_another_reason(self) -> None:
        """The first reason stays, and what was to be said for it is still said."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            stop_reading(attack)
            attack.hand_out(attack.peer.send(Unknown("large", bytes(200 * KIB))))
            attack.say(b"none of our network's")
            self.assertIs(attack.peer.state, State.CLOSING)
            ends = [attack.peer.disconnect("late"), attack.peer.disconnect("later")]
            attack.transport.takes = True
            attack.pump()
            self.assertEqual([self.successResultOf(each).cause for each in ends], [CloseCause.MALFORMED] * 2)
            self.assert_refused(attack, CloseCause.MALFORMED, sent_back=["large", "reject"])

    def test_when_it_is_closed(self) -> None:
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            attack.hang_up()
            ends = [attack.peer.disconnect("late"), attack.peer.disconnect("later")]
            self.assertEqual([self.successResultOf(each).cause for each in ends], [CloseCause.REMOTE_CLOSED] * 2)
            self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE)


class MiddleOfAWriteTests(EndingTestCase):
    """disconnect() from on_write, and a transport that is reset while much is being written."""

    def test_disconnect_from_on_write(self) -> None:
        """Nothing goes out behind the message for which it was called, whichever way that one went out."""
        # behind what is too much for the transport, they wait for room
        for size in (100, 200 * KIB):
            for from_a_handler in BOTH:
                sent: list[Deferred[Any]] = []
                messages = [Unknown("first", bytes(size)), *(Ping(number) for number in range(6))]

                def on_write(
                    peer: SoterPeerProtocol, _: int, message: Message, __: object, sent: list[Deferred[Any]] = sent
                ) -> None:
                    if message == Ping(3):
                        sent[:0] = [peer.disconnect("first"), peer.disconnect("second")]

                async def answer(
                    peer: SoterPeerProtocol,
                    _: object,
                    sent: list[Deferred[Any]] = sent,
                    messages: list[Message] = messages,
                ) -> None:
                    sent += [peer.send(each) for each in messages]

                attack = self.attack(on_write=not_to_the_bystander(on_write), on_getaddr=answer)
                if from_a_handler:
                    attack.say(GetAddr())
                else:
                    sent += [attack.peer.send(each) for each in messages]
                attack.pump()
                heard = [each.nonce for each in attack.attacker.heard if isinstance(each, Ping)]
                # those in one piece with it had gone out when on_write was called
                alone = size == 100 and not from_a_handler
                self.assertEqual(heard, list(range(4 if alone else 6)))
                self.assertEqual([self.successResultOf(each).detail for each in sent[:2]], ["first", "first"])
                self.assertEqual(len(sent), 2 + len(messages))
                attack.hand_out(*sent)
                attack.attacker.heard.clear()
                self.assert_refused(attack, CloseCause.DISCONNECT)

    def test_reset_in_the_middle_of_a_large_write(self) -> None:
        """What was not with the transport fails for that reason, and is held no longer."""
        size = 3_900_000
        block = Block(BlockHeader(), transactions=[Tx(1, [TxIn(hash_of(1), 0, bytes(size))])])
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            stop_reading(attack)
            # three that wait, one just encoded, one that the attacker has taken
            with self.assert_bounded(5 * size + MIB):
                sent = [attack.peer.send(block) for _ in range(3)]
                for _ in range(size // (256 * KIB)):
                    drain(attack, attack.transport.waiting)
                    attack.attacker.raw = b""
                self.assertGreater(attack.held(), size)
                attack.link.reset()
            # what the network has lost
            attack.transport.take()
            self.assertEqual(attack.held(), 0)
            for each in sent:
                error: Any = self.failureResultOf(each, ConnectionClosed).value
                self.assertIs(error.reason.cause, CloseCause.CONNECTION_LOST)
            self.failureResultOf(attack.peer.send(Ping(1)), ConnectionClosed)
            attack.attacker.forget_unread()
            self.assert_refused(attack, CloseCause.CONNECTION_LOST, by=ClosedBy.NETWORK)


# -- over TCP ------------------------------------------------------------------------------------


class LoggedFaults:
    """What is logged as critical within the block, Deferreds included whose failure nobody has asked for."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __enter__(self) -> list[LogEvent]:
        globalLogPublisher.addObserver(wrong(self._note))
        return self.events

    def __exit__(self, *failure: object) -> None:
        gc.collect()
        globalLogPublisher.removeObserver(wrong(self._note))

    def _note(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.critical:
            self.events.append(event)


def numbered(thread: int, number: int, large: int = 10_000) -> Message:
    """A message like no other; every tenth is large."""
    return Unknown("large", bytes([thread, number]) * (large // 2)) if number % 10 == 0 else Ping(thread << 8 | number)


def ready_attacker() -> RawAttacker:
    """One that says what makes it ready, and nothing more."""
    return RawAttacker(remote_version(), VerAck())


@over_sockets(25)
async def test_1000_sends_from_8_threads() -> None:
    """All arrive, each whole and once, those of one thread in order; all Deferreds fire, in the reactor's thread."""
    here, fired = get_ident(), []
    async with Loopback(ready_attacker, soft_queue_limit=64 * KIB) as attack:
        await attack.peer.when_ready()

        def work(thread: int) -> list[Deferred[Any]]:
            assert get_ident() != here
            sent = [attack.peer.send(numbered(thread, each)) for each in range(125)]
            return [each.addCallback(lambda _: fired.append(get_ident())) for each in sent]

        before = attack.rounds
        threads = await gatherResults([deferToThread(work, thread) for thread in range(8)])
        await gatherResults([each for sent in threads for each in sent])
        await attack.attacker.has_heard(2 + 1000)
        assert attack.rounds > before
        said = attack.attacker.heard[2:]
        for thread in range(8):
            expected = [numbered(thread, each) for each in range(125)]
            assert [each for each in said if each in expected] == expected
        assert len(said) == 1000
        assert attack.peer.stats().queue_bytes == 0
        threads.clear()
        del work
    assert fired == [here] * 1000


@over_sockets(25)
async def test_1000_sends_from_8_threads_while_the_remote_resets() -> None:
    """All Deferreds fire, those that come too late for the one reason; that nobody looks at them is no fault to log."""
    with LoggedFaults() as faults:
        async with Loopback(ready_attacker, soft_queue_limit=64 * KIB) as attack:
            await attack.peer.when_ready()
            attack.attacker.has_heard(200).addCallback(lambda _: attack.attacker.transport.abortConnection())

            def work(thread: int) -> list[Deferred[Any]]:
                return [attack.peer.send(numbered(thread, each, 200_000)) for each in range(125)]

            threads = await gatherResults([deferToThread(work, thread) for thread in range(8)])
            reason = await attack.peer.when_closed()
            assert (reason.by, reason.cause) == (ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
            # behind all that has crossed
            await deferToThread(attack.peer.when_closed)
            sent = [each for sent in threads for each in sent]
            assert len(sent) == 1000
            assert all(each.called for each in sent)
            failed = [wrong(each.result).value for each in sent if each.result is not None]
            # 20 MB, more than sockets hold
            assert 0 < len(failed) < 1000
            assert {error.reason for error in failed} == {reason}
            del sent[:], failed[:], threads[:], work
    assert faults == []


@over_sockets()
async def test_disconnect_from_other_threads_all_at_once() -> None:
    """From four threads, while four others send: the first counts, all are told, in the reactor's thread."""
    here, fired = get_ident(), []
    async with Loopback(ready_attacker) as attack:
        await attack.peer.when_ready()

        def send(thread: int) -> list[Deferred[Any]]:
            return [attack.peer.send(numbered(thread, each)).addErrback(lambda _: None) for each in range(100)]

        def end(thread: int) -> list[Deferred[Any]]:
            ends = [attack.peer.disconnect(f"{thread}, {each}") for each in range(2)]
            return [each.addCallback(lambda reason: fired.append((get_ident(), reason))) for each in ends]

        threads = await gatherResults([deferToThread((send, end)[each % 2], each) for each in range(8)])
        await gatherResults([each for deferreds in threads for each in deferreds])
        reason = await attack.peer.when_closed()
        assert (reason.by, reason.cause) == (ClosedBy.LOCAL, CloseCause.DISCONNECT)
        threads.clear()
        del send, end
    assert fired == [(here, reason)] * 8


def at_once_in_a_thread(function: Callable[[], R]) -> R:
    """What ``function`` returns in another thread; this one, the reactor's, stands still meanwhile."""
    outcome: list[R] = []
    thread = Thread(target=lambda: outcome.append(function()))
    thread.start()
    thread.join()
    return outcome[0]


@pytest.mark.parametrize("state", State)
@over_sockets()
async def test_disconnect_from_another_thread_in_every_state(state: State) -> None:
    """Twice; it fires when all is cleaned up, with the first reason."""
    said: list[Message] = [] if state is State.NEGOTIATING else [remote_version()]
    if state not in (State.NEGOTIATING, State.VERSION_KNOWN, State.NEGOTIATED):
        said.append(VerAck())
    version_came: Deferred[None] = Deferred()
    attackers: list[SoterPeerProtocol] = []

    def on_version(peer: SoterPeerProtocol, version: Version) -> Deferred[None] | None:
        # the first is the bystander
        attackers.append(peer)
        if state is not State.VERSION_KNOWN or len(attackers) == 1:
            return None
        version_came.callback(None)
        return Deferred()

    # before there is a transport, only the config's clock can be crossed over by
    async with Loopback(lambda: RawAttacker(*said), clock=real_reactor(), on_version=on_version) as attack:
        if state is State.VERSION_KNOWN:
            await version_came
        elif said:
            await attack.attacker.has_heard(2)
        if state is State.CONNECTING:
            # it goes on beside another that never gets there
            await attack.peer.disconnect()
            attack.peer = attack.factory.buildProtocol(None)
        elif state is State.CLOSING:
            attack.peer.disconnect("before")
        elif state is State.CLOSED:
            attack.attacker.transport.loseConnection()
            await attack.peer.when_closed()
        assert attack.peer.state is state
        ends = at_once_in_a_thread(lambda: [attack.peer.disconnect(each) for each in ("first", "second")])
        assert attack.peer.state is state
        reasons = [await each for each in ends]
        cause = CloseCause.REMOTE_CLOSED if state is State.CLOSED else CloseCause.DISCONNECT
        assert [each.cause for each in reasons] == [cause, cause]
        assert {each.detail for each in reasons} == {{State.CLOSING: "before", State.CLOSED: ""}.get(state, "first")}
        assert (attack.peer.state, attack.peer in attack.factory.peers) == (State.CLOSED, False)
        attackers.clear()


@over_sockets(25)
async def test_reset_in_the_middle_of_a_large_write_over_tcp() -> None:
    """The attacker asks for blocks, reads some of the first and resets."""
    block = Block(BlockHeader(), transactions=[Tx(1, [TxIn(hash_of(1), 0, bytes(3_900_000))])])
    outcomes: list[CloseReason] = []

    async def serve(peer: SoterPeerProtocol, message: GetData) -> None:
        try:
            for _ in message.vectors:
                await peer.send(block)
        except ConnectionClosed as error:
            outcomes.append(error.reason)
            raise

    class Resetting(RawAttacker):
        def dataReceived(self, data: bytes) -> None:
            self.raw += data
            if len(self.raw) > MIB:
                self.transport.abortConnection()

    asked = GetData([as_block(number) for number in range(20)])
    with LoggedFaults() as faults:
        async with Loopback(lambda: Resetting(remote_version(), VerAck(), asked), on_getdata=serve) as attack:
            reason = await attack.peer.when_closed()
            assert (reason.by, reason.cause) == (ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
            assert outcomes == [reason]
            assert attack.peer.stats().handler_errors == 0
    assert faults == []
