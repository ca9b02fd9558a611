"""A peer of ours, and a remote that follows a script."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import attrs
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.testing.memory import CLIENT, SERVER, MemoryLink, MemoryTransport
from txsoter.wire import (
    PROTOCOL_VERSION,
    Encoding,
    FrameDecoder,
    Message,
    Unknown,
    VerAck,
    Version,
    write_message,
)
from txsoter.wire.message import command_text, message_class

__all__ = ["ScriptedPair", "ScriptedPeer", "remote_version", "scripted"]


class _Command:
    """How a scripted remote reads a command, at the protocol version that it speaks just then."""

    def __init__(self, remote: ScriptedPeer, command: bytes) -> None:
        self._remote = remote
        self._command = command
        self._class = message_class(command)

    @property
    def limit(self) -> int:
        """The largest payload taken, in bytes."""
        return (self._class or Unknown).max_size(self._remote.pver)

    def message(self, payload: bytes) -> Message:
        """Return the message in a payload."""
        if self._class is None:
            return Unknown(command_text(self._command), payload)
        return self._class.from_payload(payload, self._remote.pver, self._remote.encoding)[0]


class ScriptedPeer(Protocol):
    """A remote that says what it is told to, and notes what it hears.

    It works on any transport: in memory, or over TCP.

    :ivar heard: the messages that came.
    :ivar closed: why the connection ended, or None while it lasts.
    :ivar pver: the protocol version it reads and writes.
    """

    def __init__(self, magic: int = SIMNET.magic, encoding: Encoding = Encoding.WITNESS) -> None:
        self.magic = magic
        self.encoding = encoding
        self.pver = PROTOCOL_VERSION
        self.heard: list[Message] = []
        self.closed: Failure | None = None
        self._raw: list[bytes] = []
        self._decoder = FrameDecoder(magic, partial(_Command, self))

    @property
    def raw(self) -> bytes:
        """The bytes that came; may be set, to forget them."""
        self._raw = [b"".join(self._raw)]
        return self._raw[0]

    @raw.setter
    def raw(self, value: bytes) -> None:
        self._raw = [value]

    @property
    def unread(self) -> int:
        """Bytes of a message that is not whole yet."""
        return self._decoder.buffered

    def forget_unread(self) -> None:
        """Forget the part of a message that is not whole; what comes next is read as another."""
        self._decoder.clear()

    def dataReceived(self, data: bytes) -> None:
        """Note what came.

        :raises MalformedMessage: for what our peer must not send.
        """
        self._raw.append(data)
        self._decoder.feed(data)
        while (frame := self._decoder.next_frame()) is not None:
            command, payload = frame
            self.heard.append(command.message(payload))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        self.closed = reason

    def say(self, *messages: Message | bytes) -> None:
        """Send messages, or bytes as they are."""
        assert self.transport is not None
        for message in messages:
            raw = (
                message if isinstance(message, bytes) else write_message(message, self.magic, self.pver, self.encoding)
            )
            self.transport.write(raw)

    @property
    def commands(self) -> list[str]:
        """The commands of what came."""
        return [message.command for message in self.heard]


@attrs.frozen
class ScriptedPair:
    """A peer of ours and a scripted remote, connected in memory."""

    peer: SoterPeerProtocol
    remote: ScriptedPeer
    link: MemoryLink
    clock: Clock

    @property
    def transport(self) -> MemoryTransport:
        """Our peer's end of the link."""
        return self.link.server if self.peer.inbound else self.link.client

    def pump(self, chunk: int | None = None) -> None:
        """As :meth:`MemoryLink.pump`."""
        self.link.pump(chunk)

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps, bytes moving after each."""
        self.link.advance(self.clock, seconds, step)

    def say(self, *messages: Message | bytes) -> None:
        """Let the remote say something, and let it arrive."""
        self.remote.say(*messages)
        self.pump()

    def hear(self) -> list[Message]:
        """What the remote has heard since it was last asked."""
        self.pump()
        heard, self.remote.heard = self.remote.heard, []
        return heard

    def handshake(self, version: Version | None = None) -> None:
        """Let the remote say its version, :func:`remote_version` by default, and its verack."""
        self.say(remote_version() if version is None else version, VerAck())


def remote_version(**fields: object) -> Version:
    """A ``version`` that a simnet peer accepts, with some fields changed."""
    values: dict[str, object] = {
        "protocol_version": PROTOCOL_VERSION,
        "user_agent": b"/soterwire:0.6.0/scripted:1.0.0/",
        "genesis_hash": SIMNET.genesis_hash,
        "nonce": 0x1122334455667788,
        **fields,
    }
    return Version(**values)  # type: ignore[arg-type]


def scripted(
    config: PeerConfig | None = None,
    *,
    inbound: bool = False,
    handshake: bool = True,
    clock: Clock | None = None,
    remote_address: IAddress | None = None,
    protocol: Callable[[PeerConfig, bool], SoterPeerProtocol] = SoterPeerProtocol,
) -> ScriptedPair:
    """A peer of ours, and a scripted remote at the other end of a link in memory.

    :param inbound: whether the remote dialled us.
    :param handshake: whether to go through it, so that the peer is ready; the remote's ``heard`` begins behind it,
        with what an ``on_ready`` listener sent.
    :param remote_address: where the remote says it is.
    """
    clock = Clock() if clock is None else clock
    base = PeerConfig(network=SIMNET, random=Random(1)) if config is None else config
    peer = protocol(base.replace(clock=clock), inbound)
    remote = ScriptedPeer(base.network.magic)
    if inbound:
        link = MemoryLink(remote, peer, remote_address or CLIENT, SERVER)
    else:
        link = MemoryLink(peer, remote, CLIENT, remote_address or SERVER)
    pair = ScriptedPair(peer, remote, link, clock)
    if handshake:
        pair.handshake()
        remote.heard = [each for each in remote.heard if not isinstance(each, (Version, VerAck))]
    return pair
