"""A subclass of SoterPeerProtocol may give its methods any names but those that are documented."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter import Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.test.peer.cases import WholePeerTestCase, as_block, as_tx, config
from txsoter.wire import GetBlocks, GetData, Inv, Ping, Pong, Tx, Unknown

NAMES = [
    "abort",
    "account",
    "announce",
    "batch",
    "begin",
    "call_unwaited",
    "close",
    "closed",
    "connection",
    "connection_lost",
    "connection_made",
    "cross",
    "data",
    "data_received",
    "deadline",
    "driver",
    "encode",
    "end",
    "ended",
    "events",
    "feed",
    "fire",
    "flush",
    "handle",
    "handle_event",
    "handled",
    "handler_failed",
    "held",
    "find_route",
    "hang_up",
    "inbox",
    "look",
    "malformed",
    "may_read",
    "move",
    "next_event",
    "outbox",
    "pause",
    "pauseProducing",
    "pause_writing",
    "pings",
    "poll",
    "queue",
    "read",
    "ready",
    "reading_changed",
    "received",
    "receive_data",
    "rearm",
    "request_ended",
    "resume",
    "resumeProducing",
    "resume_writing",
    "run",
    "send_failed",
    "sending",
    "sent",
    "session",
    "set_reading",
    "set_timers",
    "settle",
    "stall",
    "start",
    "state_changed",
    "stop",
    "stopProducing",
    "table",
    "timeout",
    "timers",
    "tick",
    "trickle",
    "update",
    "wait_for",
    "wake",
    "wakeup",
    "write",
    "written",
    "_account",
    "_address",
    "_announce",
    "_cross",
    "_end",
    "_flush",
    "_handle",
    "_known",
    "_lock",
    "_now",
    "_peer",
    "_queue",
    "_reason",
    "_send",
    "_session",
    "_shut",
    "_state",
    "_stop",
    "_table",
    "_thread",
    "_timer",
    "_transport",
    "_trickle",
    "_write",
]

DOCUMENTED = {name for name in dir(SoterPeerProtocol) if not name.startswith("_") and name not in ("write", "close")}


def breaks(*args: object, **kwargs: object) -> Any:
    raise AssertionError("a method of the application was called that is not documented as a hook")


class SubclassNamesTests(WholePeerTestCase):
    def test_none_of_them_is_documented(self) -> None:
        self.assertEqual(set(NAMES) & DOCUMENTED, set())

    def test_a_peer_with_methods_of_any_name_goes_on(self) -> None:
        named: Any = type("Named", (SoterPeerProtocol,), dict.fromkeys(NAMES, breaks))
        waits: list[Deferred[None]] = []

        def wait(peer: object, message: object) -> Deferred[None]:
            waits.append(Deferred())
            return waits[-1]

        listeners = Listeners(on_unknown=wait)
        pair = self.scripted(config(listeners=listeners, ping_interval=10, close_timeout=5), protocol=named)
        pair.say(Ping(1), Unknown("x"), Ping(2))
        pair.peer.queue_inventory(as_block(1))
        pair.peer.queue_inventory(as_tx(2))
        answer = pair.peer.request(GetData([as_tx(3)]), Tx, timeout=3)
        pair.transport.takes = False
        for _ in range(40):
            pair.peer.send(Unknown("filler", bytes(64 * 1024)))
        pair.advance(5)
        pair.transport.takes = True
        pair.pump()
        self.failureResultOf(answer)
        waits.pop().callback(None)
        pair.pump()
        heard = pair.hear()
        for expected in (Pong(1), Pong(2), Inv([as_block(1)])):
            self.assertIn(expected, heard)
        pair.advance(10)
        commands = [each.command for each in pair.hear()]
        self.assertIn("ping", commands)
        self.assertIn("inv", commands)
        pair.peer.send(GetBlocks(height=0))
        self.assertIs(pair.peer.state, State.READY)
        pair.peer.disconnect()
        pair.pump()
        self.assertIs(pair.peer.state, State.CLOSED)

    def test_a_refused_one_too(self) -> None:
        from txsoter import SoterServerFactory
        from txsoter.testing import CLIENT, SERVER, MemoryLink, ScriptedPeer

        named: Any = type("Named", (SoterPeerProtocol,), {"refuse": breaks, "forget": breaks})
        factory = SoterServerFactory(config(max_connections_per_address=0), named)
        link = MemoryLink(ScriptedPeer(), factory.buildProtocol(CLIENT), CLIENT, SERVER)
        self.assertTrue(link.server.aborted)
        link.pump()
