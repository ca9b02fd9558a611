"""A scripted remote plays soterd's side of a recorded conversation over real TCP, and our peer has the other."""

from __future__ import annotations

from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from txsoter import SIMNET, CloseCause, ClosedBy, Listeners, PeerConfig, SoterPeerProtocol, connect
from txsoter.errors import RequestClosed, RequestNotFound, TxsoterError
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.vectors import live
from txsoter.testing import ScriptedPeer
from txsoter.wire import (
    AddrCache,
    Block,
    CFCheckpt,
    CFHeaders,
    CFilter,
    Encoding,
    GetBlocks,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    Inv,
    InventoryType,
    MerkleBlock,
    Message,
    NotFound,
    Ping,
    Pong,
    Reject,
    Tx,
    Unknown,
    read_message,
    write_message,
)

Exchange = tuple[str, bytes, list[bytes]]
"""A command that was sent to soterd, its frame, and the frames that came in answer."""


def exchanges() -> list[Exchange]:
    """The recording, by what was asked."""
    found: list[Exchange] = []
    for row in live():
        if row["dir"] == "sent":
            found.append((row["cmd"], row["raw"], []))
        else:
            found[-1][2].append(row["raw"])
    return found


def asked(command: str) -> list[Message]:
    """What was sent under a command."""
    return [decoded(raw) for sent, raw, _ in exchanges() if sent == command]


def decoded(raw: bytes, encoding: Encoding = Encoding.BASE) -> Message:
    """The message of one frame."""
    message, consumed = read_message(raw, SIMNET.magic, encoding=encoding)
    assert consumed == len(raw)
    return message


class RecordedSoterd(ScriptedPeer):
    """Answers each message by what soterd answered, and closes where soterd closed."""

    def __init__(self) -> None:
        super().__init__()
        self.script = exchanges()
        self.answered = 0

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        while self.answered < len(self.heard):
            command, _, answers = self.script[self.answered]
            heard = self.heard[self.answered].command
            assert heard == command, f"message {self.answered} is {heard}, the recording has {command}"
            self.answered += 1
            self.say(*answers)
            if self.answered == len(self.script):
                assert self.transport is not None
                self.transport.loseConnection()


class RecordedFactory(Factory):
    """Makes such remotes, and keeps them.

    :ivar remotes: those made.
    """

    def __init__(self) -> None:
        self.remotes: list[RecordedSoterd] = []

    def buildProtocol(self, addr: IAddress | None) -> RecordedSoterd:
        """One more."""
        self.remotes.append(RecordedSoterd())
        return self.remotes[-1]


class Heard:
    """What our peer has read, and a way to wait for more."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.payloads: list[bytes] = []
        self._wanted: tuple[int, Deferred[None]] | None = None

    def on_read(self, peer: SoterPeerProtocol, size: int, message: Message | None, error: TxsoterError | None) -> None:
        assert message is not None, error
        self.messages.append(message)
        if self._wanted is not None and len(self.messages) == self._wanted[0]:
            (_, wanted), self._wanted = self._wanted, None
            wanted.callback(None)

    def on_block(self, peer: SoterPeerProtocol, block: Block, payload: bytes) -> None:
        self.payloads.append(payload)

    async def count(self, number: int) -> None:
        """Wait until so many messages have come."""
        if len(self.messages) < number:
            self._wanted = number, Deferred()
            await self._wanted[1]


class Played:
    """A port of 127.0.0.1 where the recording is played."""

    async def __aenter__(self) -> tuple[str, list[RecordedSoterd]]:
        factory = RecordedFactory()
        remotes = factory.remotes
        self.port = await serverFromString(real_reactor(), "tcp:0:interface=127.0.0.1").listen(factory)
        return f"tcp:127.0.0.1:{self.port.getHost().port}", remotes

    async def __aexit__(self, *failure: object) -> None:
        await self.port.stopListening()


@over_sockets()
async def test_the_whole_conversation_comes_out_as_it_was_recorded() -> None:
    heard = Heard()
    listeners = Listeners(on_read=heard.on_read, on_block=heard.on_block)
    async with Played() as (address, remotes):
        config = PeerConfig(network=SIMNET, listeners=listeners)
        peer = await connect(clientFromString(real_reactor(), address), config)
        assert peer.stats().user_agent == b"/soterwire:0.6.0/soterd:4.2.0/"
        total = 2
        for command, raw, answers in exchanges()[2:]:
            message = Unknown("unknowncmd", b"xyz") if command == "unknowncmd" else decoded(raw)
            await peer.send(message)
            total += len(answers)
            await heard.count(total)
        reason = await peer.when_closed()

    [remote] = remotes
    frames = [raw for _, _, answers in exchanges() for raw in answers]
    assert [write_message(each, SIMNET.magic, encoding=Encoding.WITNESS) for each in heard.messages] == frames
    sent = b"".join(raw for _, raw, _ in exchanges()[1:])
    assert remote.raw.endswith(sent)
    assert len(remote.raw) == peer.stats().bytes_sent

    assert (reason.by, reason.cause, reason.command) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "malformed")
    assert reason.code == 1
    assert reason.reject_reason is not None and "unhandled command [unknowncmd]" in reason.reject_reason

    of_kind: dict[type[Message], list[Message]] = {}
    for each in heard.messages:
        of_kind.setdefault(type(each), []).append(each)
    counts = {kind: len(each) for kind, each in of_kind.items()}
    expected = {Pong: 1, AddrCache: 1, Inv: 2, Headers: 1, Block: 54, MerkleBlock: 2, Tx: 2, NotFound: 1}
    assert {kind: counts[kind] for kind in expected} == expected
    assert (counts[CFilter], counts[CFHeaders], counts[CFCheckpt], counts[Reject]) == (54, 1, 1, 1)

    listed = [vector.hash for each in of_kind[Inv][:1] if isinstance(each, Inv) for vector in each.vectors]
    assert len(listed) == 53
    hashes = [Hash(sha256(sha256(payload[:80]).digest()).digest()) for payload in heard.payloads]
    assert hashes == [*listed, listed[0]]
    for block in of_kind[Block]:
        assert isinstance(block, Block)
        block.verify()
    [headers] = of_kind[Headers]
    assert isinstance(headers, Headers)
    assert {header.hash for header in headers.headers} == set(listed)


@over_sockets()
async def test_its_answers_can_be_had_by_request() -> None:
    blocks: list[Block] = []
    listeners = Listeners(on_block=lambda peer, block, payload: blocks.append(block))
    async with Played() as (address, _):
        peer = await connect(clientFromString(real_reactor(), address), PeerConfig(network=SIMNET, listeners=listeners))
        for command, raw, answers in exchanges()[2:-1]:
            message = decoded(raw)
            if not answers:
                await peer.send(message)
            elif isinstance(message, Ping):
                assert (await peer.request(message, Pong)).nonce == message.nonce
            elif isinstance(message, GetBlocks):
                assert len((await peer.request(message, Inv)).vectors) in (53, 1)
            elif isinstance(message, GetHeaders):
                assert len((await peer.request(message, Headers)).headers) == 53
            elif not isinstance(message, GetData):
                answer = decoded(answers[-1], Encoding.WITNESS)
                assert await peer.request(message, type(answer), matching=answer.__eq__) == answer, command
            elif message.vectors[0].type == InventoryType.FILTERED_BLOCK:
                # the transactions come behind the merkleblocks
                await peer.request(message, Tx, matching=decoded(answers[-1], Encoding.WITNESS).__eq__)
            elif len(answers) == 1 and answers[0][4:12] == b"notfound":
                try:
                    await peer.request(message, Block)
                except RequestNotFound as error:
                    assert error.vectors == list(message.vectors)
                else:
                    raise AssertionError("found")
            else:
                last = decoded(answers[-1], Encoding.WITNESS)
                block = await peer.request(message, Block, matching=last.__eq__)
                assert block.hash == message.vectors[-1].hash
        assert len(blocks) == 54
        try:
            await peer.request(Unknown("unknowncmd", b"xyz"), Pong)
        except RequestClosed as error:
            assert (error.reason.command, error.reason.code) == ("malformed", 1)
        else:
            raise AssertionError("answered")
