"""pcap files to captures: the conversation to the byte, whatever became of its packets on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from txsoter import MAINNET, REGTEST, SIMNET
from txsoter.capture import CaptureError, pcap
from txsoter.capture.conversations import Conversation, Reader
from txsoter.capture.pcap import PcapConversion, Summary, new_store
from txsoter.capture.records import RECEIVED, SENT
from txsoter.capture.segments import PacketFile
from txsoter.test.capture.packets import ACK, CLIENT6, FIN, PSH, RST, SERVER6, Packet, Session
from txsoter.test.capture.packets import pcap as pcap_file
from txsoter.test.capture.packets import pcapng as pcapng_file
from txsoter.test.capture.support import START, CaptureCase, live_bytes, notes_in, records_in, wire_bytes
from txsoter.test.vectors import live
from txsoter.wire import Ping, Unknown, write_message

CLIENT_SAYS, SERVER_SAYS = live_bytes("sent"), live_bytes("received")


def session(**ends: Any) -> Session:
    """The conversation recorded with a running soterd, as packets."""
    talk = Session(**ends).begin()
    for number, row in enumerate(live()):
        talk.say(row["dir"] == "sent", row["raw"], seed=number)
    return talk.end()


def framed(message: Any, magic: int = SIMNET.magic) -> bytes:
    return write_message(message, magic)


class PcapCase(CaptureCase):
    def convert(self, packets: list[Packet], file: Callable[..., bytes] = pcap_file, **options: Any) -> Summary:
        """Turn packets into captures, in a new folder: ``self.out``."""
        self.out = self.folder / f"out{len(list(self.folder.iterdir()))}"
        path = self.folder / "file.pcap"
        path.write_bytes(file(packets))
        store = new_store(self.out)
        try:
            with PacketFile(path) as opened:
                return PcapConversion(store, **options).convert(opened)
        finally:
            store.release()

    def captures(self) -> list[Path]:
        """The folders made."""
        return sorted(each for each in self.out.iterdir() if each.is_dir())

    def assert_whole(self, folder: Path | None = None) -> None:
        """The recorded conversation is there, to the byte; the server's view."""
        folder = folder or self.captures()[0]
        self.assertEqual(wire_bytes(folder, RECEIVED), CLIENT_SAYS)
        self.assertEqual(wire_bytes(folder, SENT), SERVER_SAYS)


class ConversationTests(PcapCase):
    def test_the_recorded_conversation_over_ipv4_and_ipv6(self) -> None:
        """One folder for the connection, one file for each direction, as a capture of our own has them."""
        for ends, name in (
            ({}, "inbound_192.0.2.1_40000"),
            ({"client": CLIENT6, "server": SERVER6}, "inbound_2001-db8-1_40000"),
        ):
            for file in (pcap_file, pcapng_file):
                summary = self.convert(session(**ends).packets, file)
                (folder,) = self.captures()
                self.assert_whole(folder)
                self.assertEqual(folder.name[24:], name)
                self.assertEqual(summary, Summary(connections=1, messages=len(live()), others=0, lost=0))
                opened, closed = notes_in(folder)
                self.assertEqual((opened["network"], opened["direction"]), ("simnet", "inbound"))
                self.assertEqual(opened["begins"], "with the connection")
                self.assertEqual(closed["reason"], f"closed, last by {'[2001:db8::2]' if ends else '192.0.2.2'}:18555")

    def test_it_reads_as_the_conversation_that_it_was(self) -> None:
        """In order, both directions merged by time, and every message decodes as it did on the wire."""
        self.convert(session().packets)
        conversation = Conversation(self.captures()[0])
        reader, found = Reader(conversation.opening()), []
        for item in conversation.items():
            if item.record is not None and item.direction is not None:
                reader.read(item.direction, item.record)
                found.append(({"recv": "sent", "sent": "received"}[item.direction], item.record.name))
        self.assertEqual(found, [(row["dir"], row["cmd"]) for row in live()])
        self.assertIs(reader.network, SIMNET)

    def test_everything_within_one_microsecond_keeps_its_order(self) -> None:
        """Both directions and the notes, merged by time: the note that it was closed comes last."""
        talk = Session().begin().say(True, framed(Ping(1))).say(False, framed(Ping(2))).say(True, b"rubbish" * 9)
        talk.say(True, framed(Ping(3))).say(True, framed(Ping(4))).end()
        self.convert([(START, packet) for _, packet in talk.packets])
        items = list(Conversation(self.captures()[0]).items())
        names = [item.note["note"] if item.record is None else item.record.name for item in items]
        self.assertEqual(names, ["opened", "ping", "ping", "no frame", "ping", "ping", "closed"])
        times = [item.time - START for item in items]
        self.assertEqual(times, sorted(times))
        self.assertEqual(times[-1], 5)

    def test_times_are_the_packets(self) -> None:
        """A message's time is that of the packet that made it whole."""
        talk = Session().begin()
        talk.say(True, framed(Unknown("filler", bytes(3000))), largest=500)
        self.convert(talk.packets)
        (message,) = records_in(self.captures()[0], RECEIVED)
        # the first message of the other side comes a microsecond after what was said before it
        self.assertEqual(message.time, talk.packets[-1][0])

    def test_view_and_local_address(self) -> None:
        """Received is what came to our address; without one, what came to the one who was dialled, or who dialled."""
        packets = session().packets
        cases: tuple[tuple[dict[str, Any], str, bytes], ...] = (
            ({}, "inbound", CLIENT_SAYS),
            ({"view": "client"}, "outbound", SERVER_SAYS),
            ({"local": "192.0.2.1"}, "outbound", SERVER_SAYS),
            ({"local": "192.0.2.2", "view": "client"}, "inbound", CLIENT_SAYS),
            ({"local": "198.51.100.1", "view": "client"}, "outbound", SERVER_SAYS),
        )
        for options, direction, recv in cases:
            self.convert(packets, **options)
            (folder,) = self.captures()
            self.assertIn(f"_{direction}_", folder.name)
            self.assertEqual(wire_bytes(folder, RECEIVED), recv)

    def test_the_magic_tells_the_network(self) -> None:
        """On any port; and --network leaves out the others."""
        packets: list[Packet] = []
        for number, network in enumerate((MAINNET, REGTEST, SIMNET)):
            ends = ("192.0.2.1", 40_000 + number), ("192.0.2.2", 7777)
            packets += Session(*ends).begin().say(True, framed(Ping(number), network.magic)).end().packets
        packets.sort()
        self.assertEqual(self.convert(packets).connections, 3)
        self.assertEqual({notes_in(each)[0]["network"] for each in self.captures()}, {"mainnet", "regtest", "simnet"})
        summary = self.convert(packets, networks=(REGTEST,))
        self.assertEqual((summary.connections, summary.others), (1, 2))
        self.assertEqual(notes_in(self.captures()[0])[0]["network"], "regtest")

    def test_connections_between_the_same_ports_are_told_apart(self) -> None:
        """By their beginnings: whether the one before has ended, or was only cut off."""
        for ended in (True, False):
            first = Session().begin().say(True, framed(Ping(1)))
            if ended:
                first.end()
            second = Session(client_isn=900_000, server_isn=800_000, time=first.time).begin()
            second.say(True, framed(Ping(2))).say(False, framed(Ping(3))).end()
            self.assertEqual(self.convert([*first.packets, *second.packets]).connections, 2)
            said = [[each.payload[0] for each in records_in(folder, RECEIVED)] for folder in self.captures()]
            self.assertEqual(said, [[1], [2]])

    def test_what_comes_after_the_end_is_no_new_connection(self) -> None:
        """Repeated segments and acknowledgements, after a FIN or a reset."""
        for flags in (FIN | ACK, RST):
            talk = Session().begin().say(True, framed(Ping(1))).say(False, framed(Ping(2)))
            late = [talk.packets[-1], talk.packets[-2]]
            if flags == RST:
                talk.add(True, RST)
            else:
                talk.end()
            summary = self.convert([*talk.packets, *late])
            self.assertEqual((summary.connections, summary.others), (1, 0))
        self.assertEqual(notes_in(self.captures()[0])[-1]["reason"], "reset by 192.0.2.1:40000")


class DisorderTests(PcapCase):
    """What networks, and those who capture, do to packets."""

    def test_out_of_order_and_repeated(self) -> None:
        """Packets overtake each other and come twice: not a byte is different."""
        for seed in range(20):
            random, packets = Random(seed), session().packets
            for _ in range(100):
                at = random.randrange(3, len(packets) - 4)
                packets.insert(random.randint(at, min(at + 30, len(packets) - 1)), packets[at])
                at = random.randrange(3, len(packets) - 10)
                packets.insert(at + random.randint(1, 6), packets.pop(at))
            self.assertEqual(self.convert(packets).lost, 0)
            self.assertEqual(len(self.captures()), 1)
            self.assert_whole()

    def test_overlapping(self) -> None:
        """Sent again in other pieces, which begin in the middle of what came and end in the middle of what will."""
        for seed in range(10):
            random, talk = Random(seed), Session().begin()
            talk.say(True, CLIENT_SAYS, 200, seed)
            said = talk.said[True]
            for _ in range(60):
                start = random.randrange(said)
                extra = talk.packet(True, PSH | ACK, CLIENT_SAYS[start : start + random.randint(1, 900)], start)
                talk.packets.insert(random.randint(3, len(talk.packets)), extra)
            self.convert(talk.end().packets)
            self.assertEqual(wire_bytes(self.captures()[0], RECEIVED), CLIENT_SAYS)

    def test_sequence_numbers_that_begin_again(self) -> None:
        self.convert(session(client_isn=2**32 - 100, server_isn=2**32 - 5000).packets)
        self.assert_whole()

    def test_a_fin_that_overtakes(self) -> None:
        """The connection is over when all before it is there."""
        talk = session()
        last = max(index for index, (_, packet) in enumerate(talk.packets) if len(packet) > 100)
        talk.packets.append(talk.packets.pop(last))
        self.assertEqual(self.convert(talk.packets).lost, 0)
        self.assert_whole()

    def test_a_beginning_that_is_missing(self) -> None:
        """The file begins in the middle, of a message at that: the next whole one is the first, and a note says so."""
        packets = session().packets
        for start in (1, 2, 3, 4, 5, 9, 17):
            self.convert(packets[start:])
            (folder,) = self.captures()
            for name, whole in ((RECEIVED, CLIENT_SAYS), (SENT, SERVER_SAYS)):
                found = wire_bytes(folder, name)
                self.assertTrue(found and whole.endswith(found))
            self.assertEqual(notes_in(folder)[0]["begins"], "with the connection" if start < 2 else "later")
            self.assertIn("_inbound_192.0.2.1_40000", folder.name)

    def test_what_a_missing_beginning_leaves_may_only_look_like_a_message(self) -> None:
        """The first is one with a right checksum; where the beginning is known, it may have any."""
        decoy = framed(Ping(7))[:-1] + b"!"
        for talk, count in ((Session(), 1), (Session().begin(), 2)):
            self.convert(talk.say(True, decoy + framed(Ping(8))).packets)
            self.assertEqual(len(records_in(self.captures()[0], RECEIVED)), count)

    def test_missing_packets_lose_their_messages_only(self) -> None:
        """What was not captured is counted; the messages before and behind are whole, and a note is between them."""
        talk, expected = Session().begin(), []
        for number in range(30):
            message = framed(Unknown("filler", number.to_bytes(2, "little") * 1000))
            start = len(talk.packets)
            talk.say(True, message, 700, number)
            if number % 10 == 5:
                del talk.packets[start + 1]
            else:
                expected.append(number)
        summary = self.convert(talk.end().packets)
        (folder,) = self.captures()
        self.assertEqual([each.payload[0] for each in records_in(folder, RECEIVED)], expected)
        self.assertGreater(summary.lost, 0)
        notes = [each for each in notes_in(folder) if each["note"] == "lost"]
        self.assertEqual((len(notes), sum(each["bytes"] for each in notes)), (3, summary.lost))

    def test_packets_cut_by_a_snap_length(self) -> None:
        """Messages that fit it are whole."""
        talk, small = Session().begin(), []
        for number in range(20):
            talk.say(True, framed(Unknown("big", bytes(900))), 2000, 4)
            small.append(framed(Ping(number)))
            talk.say(True, small[-1], 2000)
        self.convert(talk.end().packets, lambda packets: pcap_file(packets, snap=400))
        found = [each for each in records_in(self.captures()[0], RECEIVED) if each.name == "ping"]
        self.assertEqual([each.payload[0] for each in found], list(range(20)))

    def test_malformed_messages_are_kept_and_noted(self) -> None:
        """A wrong checksum, right at the beginning too; and what is no frame at all."""
        bad = framed(Ping(7))[:-1] + b"!"
        self.convert(
            Session().begin().say(True, bad + framed(Ping(8)) + b"nonsense" * 9 + framed(Ping(9))).end().packets
        )
        (folder,) = self.captures()
        self.assertEqual([each.payload[:1] for each in records_in(folder, RECEIVED)], [b"\x07", b"\x08", b"\x09"])
        self.assertEqual(records_in(folder, RECEIVED)[0].payload, bad[24:])
        notes = {each["note"]: each for each in notes_in(folder)}
        self.assertEqual(notes["malformed"]["reason"], "wrong checksum")
        self.assertEqual(bytes.fromhex(notes["no frame"]["begins"]), (b"nonsense" * 4))
        self.assertEqual(notes["closed"]["recv"]["skipped"], 72)


class BoundTests(PcapCase):
    """Files that mean harm: what is kept is bounded whatever is in them."""

    def patch(self, name: str, value: int) -> None:
        self.addCleanup(setattr, pcap, name, getattr(pcap, name))
        setattr(pcap, name, value)

    def test_other_protocols_are_left_out(self) -> None:
        """They are counted; once enough has come without a message, nothing of them is looked at any more."""
        self.patch("UNDECIDED", 50_000)
        server = ("192.0.2.2", 443)
        foreign = Session(server=server).begin().say(True, Random(1).randbytes(100_000)).say(True, framed(Ping(1)))
        again = Session(server=server, client_isn=5, server_isn=6, time=foreign.time).begin().say(True, framed(Ping(2)))
        summary = self.convert([*foreign.packets, *again.end().packets])
        self.assertEqual((summary.connections, summary.messages, summary.others), (1, 1, 1))

    def test_too_many_connections(self) -> None:
        """The one that was silent the longest is taken for over."""
        self.patch("MAX_FLOWS", 3)
        talks = [
            Session(client=("192.0.2.1", 40_000 + number)).begin().say(True, framed(Ping(number)))
            for number in range(5)
        ]
        summary = self.convert([packet for talk in talks for packet in talk.packets])
        self.assertEqual(summary.connections, 5)
        reasons = [notes_in(each)[-1]["reason"] for each in self.captures()]
        self.assertEqual(reasons, ["too many connections at a time"] * 2 + ["the file ends"] * 3)

    def test_too_much_that_is_not_whole(self) -> None:
        """Of all together: the one that holds the most goes."""
        self.patch("MAX_HELD", 100_000)
        big = framed(Unknown("block", bytes(200_000)))
        talks = [
            Session(client=("192.0.2.1", 40_000 + number)).begin().say(True, framed(Ping(number)))
            for number in range(3)
        ]
        talks[1].say(True, big[:150_000])
        talks[2].time = talks[1].time
        talks[2].say(True, big[:40_000])
        self.convert([packet for talk in talks for packet in talk.packets])
        reasons = [notes_in(each)[-1]["reason"] for each in self.captures()]
        self.assertEqual(reasons, ["the file ends", "too much of it was not whole", "the file ends"])

    def test_segments_that_belong_to_nothing(self) -> None:
        """Resets, acknowledgements and FINs alone begin nothing."""
        talk = Session()
        for flags in (RST, ACK, FIN | ACK, RST | ACK):
            talk.add(True, flags)
        self.assertEqual(self.convert(talk.packets), Summary())
        self.assertEqual(self.captures(), [])

    def test_a_folder_with_something_in_it(self) -> None:
        """Is not written to: two conversions must not be taken for one."""
        (self.folder / "mine").write_text("")
        with self.assertRaises(CaptureError) as caught:
            new_store(self.folder)
        self.assertEqual(caught.exception.reason, "must be a new folder, or an empty one")
        with self.assertRaises(CaptureError):
            new_store(self.folder / "mine")

    def test_a_disk_that_is_full(self) -> None:
        """One error that names the folder."""
        store = new_store(self.folder / "out")
        self.addCleanup(store.release)

        def full(pieces: object) -> None:
            raise OSError(28, "No space left on device")

        store.write = full  # type: ignore[method-assign]
        path = self.folder / "file.pcap"
        path.write_bytes(pcap_file(session().packets))
        with PacketFile(path) as file, self.assertRaises(CaptureError) as caught:
            PcapConversion(store).convert(file)
        self.assertEqual(str(caught.exception), f"{self.folder / 'out'}: No space left on device")
