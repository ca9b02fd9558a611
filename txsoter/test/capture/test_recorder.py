"""``Capture``: every byte that peers say and hear, and nothing of them changed by it."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.application.service import IService
from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport, ITCPTransport
from zope.interface import directlyProvides

from txsoter import SIMNET, CloseCause, PeerConfig, SoterPeerProtocol
from txsoter.capture.records import RECEIVED, SENT
from txsoter.capture.taped import TapedPeer, TapedTransport
from txsoter.core.state import State
from txsoter.errors import MalformedMessage
from txsoter.service import PeerService
from txsoter.test.capture.support import START, RecorderCase, chunks, live_bytes, notes_in, records_in, wire_bytes
from txsoter.testing import connected_pair, remote_version, scripted
from txsoter.wire import Inv, InventoryVector, Message, Ping, Services, Unknown, write_message


def framed(message: Message) -> bytes:
    return write_message(message, SIMNET.magic)


class RecordingTests(RecorderCase):
    def test_a_recorded_conversation_to_the_byte(self) -> None:
        """What a running soterd said, in any pieces: the records are the wire's bytes, both ways."""
        for number, largest in enumerate((1, 30, 1000, 70_000)):
            capture = self.capture(directory=str(number))
            pair = self.scripted(capture, handshake=False)
            pair.pump()
            said = b""
            for piece in chunks(live_bytes("received"), number, largest):
                if pair.peer.is_closing:
                    break
                said += piece
                pair.say(piece)
            pair.peer.disconnect()
            pair.pump()
            self.written(capture)
            (folder,) = (self.folder / str(number)).glob("2*")
            self.assertEqual(wire_bytes(folder, SENT), pair.remote.raw)
            self.assertTrue(said.startswith(wire_bytes(folder, RECEIVED)))
            self.assertGreater(len(records_in(folder, RECEIVED)), 60)
            self.assertLess(len(said) - len(wire_bytes(folder, RECEIVED)), 70_000)

    def test_both_sides_record_the_same(self) -> None:
        """What one has sent the other has received, whatever the pieces."""
        capture = self.capture()
        pair = connected_pair(protocol=capture)
        for number in range(50):
            pair.client.send(Ping(number))
            pair.server.send(Inv([InventoryVector(1, bytes(32), height) for height in range(number * 40)]))
        pair.pump(777)
        self.close(pair)
        self.written(capture)
        inbound, outbound = self.folders()
        for one, other in ((inbound, outbound), (outbound, inbound)):
            self.assertEqual(wire_bytes(one, SENT), wire_bytes(other, RECEIVED))
        self.assertEqual([each.name for each in records_in(inbound, RECEIVED)], ["version", "verack", *["ping"] * 50])
        self.assertEqual(
            (inbound.name[24:], outbound.name[24:]), ("inbound_192.0.2.1_49152", "outbound_192.0.2.2_18555")
        )

    def test_it_changes_nothing_of_a_peer(self) -> None:
        """The same script, recorded or not, hears the same bytes, and ends the same way."""
        capture = self.capture()

        def run(**options: Any) -> tuple[Any, ...]:
            pair = scripted(handshake=False, **options)
            pair.pump()
            for piece in chunks(live_bytes("received"), 3, 5000):
                pair.say(piece)
            pair.advance(400)
            self.assertEqual(pair.clock.getDelayedCalls(), [])
            stats = pair.peer.stats()
            return pair.remote.raw, self.successResultOf(pair.peer.when_closed()), stats.sent, stats.received

        self.assertEqual(run(protocol=capture), run())

    def test_the_first_note_says_whose_and_the_last_why_it_ended(self) -> None:
        capture = self.capture()
        pair = self.scripted(capture)
        pair.say(Ping(1))
        pair.peer.disconnect("enough")
        pair.pump()
        self.written(capture)
        first, last = notes_in(self.only_folder())
        self.assertEqual(
            first,
            {
                "time": START,
                "note": "opened",
                "network": "simnet",
                "magic": "161c1412",
                "address": "192.0.2.2:18555",
                "direction": "outbound",
                "part": 1,
            },
        )
        counts = {"messages": 3, "bytes": 3 * 24 + len(framed(remote_version())) - 24 + 8}
        self.assertEqual(last["note"], "closed")
        self.assertEqual(last["reason"], "closed by us: disconnect() was called: enough")
        self.assertEqual(last["recv"], counts)
        self.assertEqual(last["sent"]["messages"], 3)

    def test_malformed_messages_are_recorded_as_they_came(self) -> None:
        """Wrong checksum, unknown command, a payload that decodes to nothing: records all, and notes why."""
        for number, (raw, reason) in enumerate(
            (
                (framed(Ping(5))[:-1] + b"x", "checksum is "),
                (framed(Unknown("inv", b"\xff")), "ends too early"),
            )
        ):
            capture = self.capture(directory=str(number))
            pair = self.scripted(capture)
            pair.say(framed(Ping(1)) + raw)
            self.assertEqual(self.successResultOf(pair.peer.when_closed()).cause, CloseCause.MALFORMED)
            self.written(capture)
            (folder,) = (self.folder / str(number)).glob("2*")
            last = records_in(folder, RECEIVED)[-1]
            self.assertEqual((last.command, last.payload), (raw[4:16], raw[24:]))
            self.assertEqual(records_in(folder, SENT)[-1].name, "reject")
            (note,) = [each for each in notes_in(folder) if each["note"] == "malformed"]
            self.assertIn(reason, note["reason"])
            self.assertEqual(note["command"], last.name)

    def test_what_is_no_frame_is_counted_and_noted(self) -> None:
        capture = self.capture()
        pair = self.scripted(capture)
        garbage = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"
        pair.say(garbage)
        self.written(capture)
        self.assertEqual([each.name for each in records_in(self.only_folder(), RECEIVED)], ["version", "verack"])
        _, skipped, malformed, closed = notes_in(self.only_folder())
        self.assertEqual((skipped["note"], skipped["direction"]), ("no frame", "recv"))
        self.assertEqual(bytes.fromhex(skipped["begins"]), garbage[:32])
        self.assertIn("announces 1953722184 bytes", malformed["reason"])
        self.assertEqual(closed["recv"]["skipped"], len(garbage))

    def test_a_frame_that_never_became_whole_is_noted(self) -> None:
        """It is no record: what it was to become, and how much of it came."""
        capture = self.capture()
        pair = self.scripted(capture)
        pair.say(framed(Unknown("inv", bytes(1000)))[:100])
        pair.peer.disconnect()
        pair.pump()
        self.written(capture)
        _, cut, _ = notes_in(self.only_folder())
        del cut["time"]
        self.assertEqual(cut, {"note": "cut", "direction": "recv", "bytes": 100, "command": "inv", "of": 1000})

    def test_notes_are_bounded(self) -> None:
        """A remote whose every message is malformed and forgiven fills no disk with notes about it."""
        capture = self.capture()
        pair = self.scripted(capture)
        tape = pair.peer._tape  # type: ignore[attr-defined]
        for _ in range(1000):
            tape.malformed(MalformedMessage("nonsense" * 1000, "ping"))
        pair.peer.disconnect()
        pair.pump()
        self.written(capture)
        notes = notes_in(self.only_folder())
        self.assertEqual((len(notes), notes[-1]["left_out"]), (102, 900))
        self.assertLess(len(notes[1]["reason"]), 260)

    def test_what_comes_while_it_closes_is_not_recorded(self) -> None:
        """The peer does not read it either: whoever goes on sending then fills no memory."""
        capture = self.capture()
        pair = self.scripted(capture)
        pair.transport.takes = False
        pair.say(framed(Unknown("ping", bytes(9))))
        self.assertIs(pair.peer.state, State.CLOSING)
        waiting = capture.waiting
        pair.peer.dataReceived(framed(Unknown("block", bytes(1_000_000))))
        self.assertEqual(capture.waiting, waiting)

    def test_a_connection_on_which_nothing_was_said_leaves_nothing(self) -> None:
        capture = self.capture()
        pair = self.scripted(capture, inbound=True, handshake=False)
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.folders(), [])

    def test_time_orders_both_directions(self) -> None:
        """Although the clock stands still or goes back: an answer's time is after its question's."""
        times = iter([*range(START, START + 8), *([START - 5_000_000] * 100)])
        capture = self.capture(micros=lambda: next(times))
        pair = self.scripted(capture)
        for number in range(5):
            pair.say(Ping(number))
        self.written(capture)
        came, went = (records_in(self.only_folder(), name) for name in (RECEIVED, SENT))
        merged = sorted([*came, *went], key=lambda each: each.time)
        self.assertEqual([each.name for each in merged][-10:], ["ping", "pong"] * 5)
        self.assertEqual(len({each.time for each in merged[-10:]}), 10)

    def test_setting_the_wall_clock_puts_no_gap_into_a_recording(self) -> None:
        """Its times are the wall clock's at its beginning, and what has passed since."""
        with patch("txsoter.capture.recorder.time") as clock:
            clock.time_ns.return_value, clock.monotonic_ns.return_value = START * 1000, 77_000_000_000
            pair = self.scripted(capture := self.capture(micros=None))
            for number, step in enumerate((400, 86400, -3600, -86400)):
                clock.time_ns.return_value += step * 1_000_000_000
                clock.monotonic_ns.return_value += 2_000_000_000
                pair.say(Ping(number))
            self.written(capture)
        pings = [each.time for each in records_in(self.only_folder(), RECEIVED) if each.name == "ping"]
        self.assertEqual([round((time - START) / 1e6, 3) for time in pings], [2, 4, 6, 8])

    def test_a_new_part_says_what_was_negotiated(self) -> None:
        """The version messages stand in a folder before it, which may be gone."""
        capture = self.capture(max_connection=4000)
        pair = self.scripted(capture, handshake=False, config=PeerConfig(network=SIMNET, services=Services.NETWORK))
        pair.handshake(remote_version(protocol_version=70002, services=Services.WITNESS))
        for number in range(200):
            pair.say(Ping(number))
        self.written(capture)
        self.assertEqual(len(self.folders()), 2)
        opening = notes_in(self.folders()[-1])[0]
        self.assertGreater(opening["part"], 2)
        self.assertEqual((opening["pver"], opening["witness"]), (70002, {"recv": True, "sent": False}))


class ProtocolTests(RecorderCase):
    def test_peers_may_have_a_class_of_their_own(self) -> None:
        """With slots, hooks and all."""

        class Mine(SoterPeerProtocol):
            __slots__ = ("heard",)

            def __init__(self, config: PeerConfig, inbound: bool = False) -> None:
                super().__init__(config, inbound)
                self.heard: list[str] = []

            def message_received(self, message: Message) -> None:
                self.heard.append(message.command)

        capture = self.capture(protocol=Mine)
        pair = self.scripted(capture)
        pair.say(Ping(1))
        assert isinstance(pair.peer, Mine)
        self.assertIsInstance(pair.peer, TapedPeer)
        self.assertIn("TapedMine", repr(pair.peer))
        self.assertEqual(pair.peer.heard[-1], "ping")
        self.written(capture)
        self.assertEqual(records_in(self.only_folder(), RECEIVED)[-1].name, "ping")

    def test_the_transport_keeps_what_it_provides(self) -> None:
        """Interfaces, attributes and methods: of TCP, of TLS, of whatever an endpoint makes."""

        class Secret:
            disconnecting = False

            def __init__(self) -> None:
                self.written: list[bytes] = []

            def write(self, data: bytes) -> None:
                self.written.append(data)

            def getPeerCertificate(self) -> str:
                return "a certificate"

        class Heard:
            def __init__(self) -> None:
                self.sent_bytes: list[bytes] = []

            def sent(self, data: bytes) -> None:
                self.sent_bytes.append(data)

        inner, tape = Secret(), Heard()
        directlyProvides(inner, ITCPTransport, ISSLTransport, IConsumer)
        outer: Any = TapedTransport(inner, tape)  # type: ignore[arg-type]
        for interface in (ITCPTransport, ISSLTransport, IConsumer):
            self.assertTrue(interface.providedBy(outer))
        self.assertFalse(IPushProducer.providedBy(outer))
        self.assertEqual(outer.getPeerCertificate(), "a certificate")
        inner.disconnecting = True
        self.assertIs(outer.disconnecting, True)
        self.assertRaises(AttributeError, lambda: outer.startTLS)
        outer.write(b"one")
        outer.writeSequence([b"tw", b"o"])
        self.assertEqual(inner.written, [b"one", b"two"])
        self.assertEqual(tape.sent_bytes, [b"one", b"two"])

    def test_it_is_what_a_peer_service_takes(self) -> None:
        capture = self.capture()
        service = PeerService(PeerConfig(network=SIMNET), protocol=capture)
        peer = service._outbound.buildProtocol(None)
        self.assertIsInstance(peer, TapedPeer)
        peer.disconnect()
        self.assertTrue(IService.providedBy(capture))

    def test_peers_are_ordinary_while_it_does_not_run(self) -> None:
        """Before it begins and after it has ended, they talk and nothing is recorded."""
        capture = self.capture(start=False, directory="later")
        for _ in range(2):
            pair = self.scripted(capture)
            pair.say(Ping(1))
            self.assertEqual([each.command for each in pair.hear()], ["pong"])
            self.end(pair)
            self.assertEqual([*(self.folder / "later").glob("2*")], [])
            capture.startService()
            self.successResultOf(capture.stopService())
