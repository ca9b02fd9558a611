"""Talking about the connection itself: ``version``, ``verack``, ``ping``, ``pong``, ``reject``,
``sendheaders``, ``feefilter``."""

from __future__ import annotations

import enum
import struct
from copy import copy
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from txsoter.wire.addresses import TIMESTAMPS, AddressCodec, NetAddress
from txsoter.wire.codec import BOOL, HASH, I32, I64, U8, U64, VarBytes
from txsoter.wire.hashes import ZERO_HASH, Hash, as_hash
from txsoter.wire.message import MAX_PAYLOAD, Encoding, Message, field, message

__all__ = [
    "MAX_USER_AGENT",
    "FeeFilter",
    "Ping",
    "Pong",
    "Reject",
    "RejectCode",
    "SendHeaders",
    "VerAck",
    "Version",
    "VersionTemplate",
]

MAX_USER_AGENT = 256
"""The longest user agent taken, in bytes; soterd takes up to 240 (see :class:`Version`)."""

NONCES = 60001
"""The first protocol version with nonces in ``ping``, and with ``pong``."""

RELAY_FLAG = 70001
"""The first protocol version whose ``version`` is written with the relay flag."""


_new = object.__new__
_NONCE = struct.Struct("<Q")
_read_nonce, _write_nonce = _NONCE.unpack_from, _NONCE.pack


_USER_AGENT = VarBytes(MAX_USER_AGENT)
# the fields before and behind the user agent, for versions that have them all; the port is big-endian
_UP_TO_NONCE, _FROM_GENESIS = struct.Struct("<iQq" + "Q16sBB" * 2 + "Q"), struct.Struct("<32si?")
_SHORT_AGENT = 0xFC
"""The longest user agent whose length is one byte."""
_AGENT_AT, _AROUND_AGENT = _UP_TO_NONCE.size, _UP_TO_NONCE.size + 1 + _FROM_GENESIS.size
_TIME_AT, _ME_AT, _NONCE_AT = (struct.calcsize(each) for each in ("<iQ", "<iQqQ16sBB", "<iQq" + "Q16sBB" * 2))
_TIME_AND_YOU, _HEIGHT_AND_RELAY = struct.Struct("<qQ16sBB"), struct.Struct("<i?")


class _ParsedLate(Message):
    """A place for a payload that was checked when it was decoded, while none of the fields is there."""

    __slots__ = ("_late",)
    _late: bytes | None


def _parse_first(version: Version, field: object, value: Any) -> Any:
    """What attrs calls before a field is set."""
    version.read_fields()
    return value


@message(
    "version",
    max_size=376,
    max_send=lambda pver: 358 if pver >= TIMESTAMPS else 350,
    on_setattr=_parse_first,
)
class Version(_ParsedLate):
    """The first message of each side: who it is and what it can do.

    A decoded one is parsed when one of its fields is looked at or set; until then it is encoded as it came.

    soterd takes 358 bytes (350 below protocol version 31402), so at most 240 bytes of user agent:
    it forgot the 32 bytes of the genesis hash in its sum.

    :ivar protocol_version: the highest that the sender speaks.
    :ivar services: :class:`~txsoter.wire.Services` bits.
    :ivar timestamp: the sender's clock, seconds since 1970.
    :ivar addr_you: the receiver as the sender sees it, without a timestamp.
    :ivar addr_me: the sender, without a timestamp.
    :ivar nonce: random, to tell a connection to oneself.
    :ivar user_agent: at most 256 bytes, not necessarily UTF-8.
    :ivar genesis_hash: of the sender's network.
    :ivar last_block: the sender's height.
    :ivar relay: False asks not to be told of transactions.
    """

    protocol_version: int = field(I32, default=0)
    services: int = field(U64, default=0)
    timestamp: int = field(I64, default=0)
    addr_you: NetAddress = field(AddressCodec(), default=NetAddress())
    addr_me: NetAddress = field(AddressCodec(), default=NetAddress())
    nonce: int = field(U64, default=0)
    user_agent: bytes = field(_USER_AGENT, default=b"")
    genesis_hash: Hash = field(HASH, default=ZERO_HASH)
    last_block: int = field(I32, default=0)
    relay: bool = field(BOOL, default=True)

    def read_fields(self) -> None:
        """Parse it now, if it is not; for those who will look at all fields anyway."""
        late = self._late
        if late is not None:
            type(self).__init__(self, *_parse_version(late))
            # not before: another thread may look, too
            _set_late(self, None)

    # not for mypy, to which every name would exist
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "_late":
                # it was not decoded
                return None
            self.read_fields()
            return object.__getattribute__(self, name)

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        size = len(data)
        if size >= _AROUND_AGENT:
            agent = data[_AGENT_AT]
            end = _AROUND_AGENT + agent
            # with every field, a length in one byte, and a relay flag that we would write, nothing else can be wrong
            # with it, nor come out differently
            if end <= size and agent <= _SHORT_AGENT and data[end - 1] <= 1:
                late = data[:end]
                self = _new(cls)
                _set_late(self, late if late.__class__ is bytes else bytes(late))
                return self, end
        offset = 0
        values = []
        for name, codec in cls._codecs:
            # every field after the first address may be left out, from the end
            if offset == size and name not in ("protocol_version", "services", "timestamp", "addr_you"):
                break
            value, offset = codec.read(data, offset, pver)
            values.append(value)
        return cls(*values), offset

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        payload = self._late or self._packed() or Message.write_payload(self, pver, encoding)
        return payload if pver >= RELAY_FLAG else payload[:-1]

    def _packed(self) -> bytes | None:
        """The payload, by two calls; None where a value needs more than that, or does not fit."""
        you, me, agent, genesis = self.addr_you, self.addr_me, self.user_agent, self.genesis_hash
        try:
            _, your_ip, your_port, _ = you
            _, my_ip, my_port, _ = me
            # struct pads and cuts bytes in silence, and takes a bytearray
            if not (isinstance(agent, bytes) and isinstance(genesis, bytes)) or len(agent) > _SHORT_AGENT:
                return None
            if len(your_ip) != 16 or len(my_ip) != 16 or len(genesis) != 32:
                return None
            if not (isinstance(your_port, int) and isinstance(my_port, int)):
                return None
            places = (you[0], your_ip, your_port >> 8, your_port & 0xFF, me[0], my_ip, my_port >> 8, my_port & 0xFF)
            head = _UP_TO_NONCE.pack(self.protocol_version, self.services, self.timestamp, *places, self.nonce)
            return head + bytes((len(agent),)) + agent + _FROM_GENESIS.pack(genesis, self.last_block, self.relay)
        except (struct.error, TypeError, ValueError, AttributeError):
            # which value it was, is told by the fields one by one
            return None

    def size_advice(self, excess: int) -> str:
        if len(self.user_agent) >= 0xFD:
            excess -= 2  # at a length that fits, its varint is 2 bytes shorter
        return f"soterd refuses it; make the user agent {excess} bytes shorter"


_set_late = _ParsedLate.__dict__["_late"].__set__


def _parse_version(payload: bytes) -> tuple[Any, ...]:
    """The values of all fields of a payload that has them all, in order."""
    head = _UP_TO_NONCE.unpack_from(payload)
    agent_ends = _AGENT_AT + 1 + payload[_AGENT_AT]
    genesis, last_block, relay = _FROM_GENESIS.unpack_from(payload, agent_ends)
    you = tuple.__new__(NetAddress, (head[3], head[4], head[5] << 8 | head[6], 0))
    me = tuple.__new__(NetAddress, (head[7], head[8], head[9] << 8 | head[10], 0))
    user_agent = payload[_AGENT_AT + 1 : agent_ends]
    return (*head[:3], you, me, head[11], user_agent, as_hash(genesis), last_block, relay)


class VersionTemplate:
    """A ``version`` that is encoded but for the fields that differ from one connection to the next.

    :param version: the other fields, with a user agent of at most 252 bytes.
    :raises FieldError: for a value that its field cannot hold.
    """

    __slots__ = ("_agent", "_before_time", "_me", "_relay", "_version")

    def __init__(self, version: Version) -> None:
        payload = version.to_payload()
        self._version = version
        self._before_time = payload[:_TIME_AT]
        self._me = payload[_ME_AT:_NONCE_AT]
        self._agent = payload[_AGENT_AT : -_HEIGHT_AND_RELAY.size]
        self._relay = version.relay

    def fill(self, timestamp: int, addr_you: NetAddress, nonce: int, last_block: int) -> Version:
        """Return the whole ``version``. Values that do not fit are told of when it is encoded."""
        services, ip, port, _ = addr_you
        try:
            payload = b"".join(
                (
                    self._before_time,
                    _TIME_AND_YOU.pack(timestamp, services, ip, port >> 8, port & 0xFF),
                    self._me,
                    _write_nonce(nonce),
                    self._agent,
                    _HEIGHT_AND_RELAY.pack(last_block, self._relay),
                )
            )
        except (struct.error, TypeError):
            whole = copy(self._version)
            whole.timestamp, whole.addr_you, whole.nonce, whole.last_block = timestamp, addr_you, nonce, last_block
            return whole
        version = _new(Version)
        _set_late(version, payload)
        return version


@message("verack", max_size=0)
class VerAck(Message):
    """Accepts the other side's ``version``."""


def _nonce_max(pver: int) -> int:
    return 8 if pver >= NONCES else 0


@message("ping", max_size=_nonce_max)
class Ping(Message):
    """Asks for a ``pong`` with the same nonce; empty, and unanswered, up to protocol version 60000."""

    nonce: int = field(U64, default=0)

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        if pver < NONCES:
            return cls(), 0
        # without __init__, which would do no more than this
        self = _new(cls)
        (self.nonce,) = _read_nonce(data)
        return self, 8

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        if pver < NONCES:
            return b""
        try:
            return _write_nonce(self.nonce)
        except struct.error:
            # which value it was, is told there
            return Message.write_payload(self, pver, encoding)

    def response(self) -> Pong:
        """The ``pong`` that answers it."""
        return Pong(self.nonce)


@message("pong", max_size=_nonce_max, since=NONCES)
class Pong(Message):
    """Answers a ``ping``."""

    nonce: int = field(U64, default=0)


class RejectCode(enum.IntEnum):
    """Why something was rejected. Messages hold plain ints: unknown codes are no error."""

    MALFORMED = 0x01
    INVALID = 0x10
    OBSOLETE = 0x11
    DUPLICATE = 0x12
    NONSTANDARD = 0x40
    DUST = 0x41
    INSUFFICIENT_FEE = 0x42
    CHECKPOINT = 0x43


@message("reject", max_size=MAX_PAYLOAD, since=70002)
class Reject(Message):
    """Says that a message was refused, and why.

    :ivar rejected: the refused message's command, or any other word (``malformed`` is common); bytes.
    :ivar code: see :class:`RejectCode`.
    :ivar reason: for people; bytes, not necessarily UTF-8.
    :ivar hash: of the block or transaction refused; on the wire only for ``block`` and ``tx``.
    """

    rejected: bytes = field(VarBytes(MAX_PAYLOAD), default=b"")
    code: int = field(U8, default=RejectCode.INVALID)
    reason: bytes = field(VarBytes(MAX_PAYLOAD), default=b"")
    hash: Hash = field(HASH, default=ZERO_HASH)

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        varbytes = VarBytes(MAX_PAYLOAD)
        rejected, offset = varbytes.read(data, 0, pver)
        code, offset = U8.read(data, offset, pver)
        reason, offset = varbytes.read(data, offset, pver)
        if rejected not in (b"block", b"tx"):
            return cls(rejected, code, reason), offset
        refused, offset = HASH.read(data, offset, pver)
        return cls(rejected, code, reason, refused), offset

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        payload = Message.write_payload(self, pver, encoding)
        return payload if self.rejected in (b"block", b"tx") else payload[:-32]


@message("sendheaders", max_size=0, since=70012)
class SendHeaders(Message):
    """Asks to be told of new blocks by ``headers`` instead of ``inv``."""


@message("feefilter", max_size=8, since=70013)
class FeeFilter(Message):
    """Asks not to be told of transactions below a fee.

    :ivar fee: in nanoSoter per 1000 bytes. soterd closes on a negative one.
    """

    fee: int = field(I64, default=0)
