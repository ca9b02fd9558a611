"""How a message is declared, and the registry of commands.

A message is declared once: a class whose fields name their codecs, in wire order::

    @message("feefilter", max_size=8, since=70013)
    class FeeFilter(Message):
        fee: int = field(I64, default=0)

That makes it a slotted value with a constructor, ``==`` and ``repr()`` (by attrs, which Twisted
brings along), and gives it its encoder and decoder. Messages that are no plain row of fields
override :meth:`Message.read_payload` and :meth:`Message.write_payload`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import attrs
from typing_extensions import Self, dataclass_transform

from txsoter.errors import FieldError, MalformedMessage, PayloadTooLarge, UnsupportedMessage
from txsoter.wire.arguments import as_bytes, check_pver
from txsoter.wire.codec import Codec, ends_early, scalar_struct

T = TypeVar("T")
M = TypeVar("M", bound="type[Message]")

__all__ = [
    "CLASS_OF_COMMAND",
    "MAX_PAYLOAD",
    "MAX_UNKNOWN_PAYLOAD",
    "PROTOCOL_VERSION",
    "READER_OF_COMMAND",
    "Encoding",
    "Message",
    "Unknown",
    "check_context",
    "command_bytes",
    "command_text",
    "field",
    "field_codecs",
    "message",
    "message_class",
    "messages",
    "record",
    "register",
    "write_fields",
]

PROTOCOL_VERSION = 70013
"""The newest protocol version."""

MAX_PAYLOAD = 32 * 1024 * 1024
"""The largest payload of any message, in bytes."""

MAX_UNKNOWN_PAYLOAD = 1024 * 1024
"""The largest payload of an unknown command, in bytes."""

Limit = int | Callable[[int], int]


class Encoding(enum.Enum):
    """How transactions are written: as ever, or with their witnesses (BIP144)."""

    BASE = 1
    WITNESS = 2


# names of the module are found faster than members of an enum
_BASE, _WITNESS = Encoding.BASE, Encoding.WITNESS


def check_context(pver: object, encoding: object) -> None:
    """Check how messages are to be read or written.

    :raises FieldError: for anything but a protocol version and an :class:`Encoding`.
    """
    check_pver(pver)
    if not isinstance(encoding, Encoding):
        raise FieldError("encoding", encoding, "Encoding.BASE or Encoding.WITNESS")


class Message:
    """A message: its fields, and how they become a payload and back.

    :cvar command: its name on the wire.
    :cvar since: the first protocol version that has it.
    :cvar padded_command: its name as 12 bytes; of an :class:`Unknown` whose name does not fit them, FieldError.
    """

    __slots__ = ()

    command: ClassVar[str]
    since: ClassVar[int] = 0
    _max_size: ClassVar[Limit]
    _max_send: ClassVar[Limit]
    # both at the newest version, which is nearly always the one in use
    newest_max_size: ClassVar[int]
    newest_max_send: ClassVar[int]
    _codecs: ClassVar[tuple[tuple[str, Codec[Any]], ...]] = ()
    _scalars: ClassVar[struct.Struct | None] = None
    padded_command: ClassVar[bytes]

    @classmethod
    def max_size(cls, pver: int = PROTOCOL_VERSION) -> int:
        """Return the largest payload taken at ``pver``, in bytes."""
        return cls._max_size if isinstance(cls._max_size, int) else cls._max_size(pver)

    @classmethod
    def max_send(cls, pver: int = PROTOCOL_VERSION) -> int:
        """Return the largest payload that soterd takes at ``pver``, in bytes, and so the most to send."""
        return cls._max_send if isinstance(cls._max_send, int) else cls._max_send(pver)

    @classmethod
    def from_payload(
        cls, payload: bytes, pver: int = PROTOCOL_VERSION, encoding: Encoding = Encoding.BASE
    ) -> tuple[Self, int]:
        """The message in ``payload``, and how many of its bytes the message takes.

        Bytes behind the message are left alone, as soterd leaves them.

        :raises MalformedMessage: when ``payload`` holds no such message at ``pver``.
        :raises FieldError: for arguments of other types.
        """
        if pver != PROTOCOL_VERSION or (encoding is not _BASE and encoding is not _WITNESS):
            check_context(pver, encoding)
        if payload.__class__ is not bytes:
            payload = as_bytes("payload", payload)
        if pver < cls.since:
            raise MalformedMessage(f"does not exist at protocol version {pver}", cls.command)
        try:
            decoded, end = cls.read_payload(payload, pver, encoding)
        except (IndexError, struct.error):
            raise MalformedMessage(ends_early().reason, cls.command) from None
        except MalformedMessage as error:
            raise MalformedMessage(error.reason, cls.command) from None
        if end > len(payload):
            raise MalformedMessage(ends_early().reason, cls.command)
        return decoded, end

    def to_payload(self, pver: int = PROTOCOL_VERSION, encoding: Encoding = Encoding.BASE) -> bytes:
        """The message's payload.

        :raises FieldError: for a value that its field cannot hold, and for arguments of other types.
        :raises UnsupportedMessage: when ``pver`` has no such message.
        :raises PayloadTooLarge: past what soterd takes.
        """
        if pver != PROTOCOL_VERSION or (encoding is not _BASE and encoding is not _WITNESS):
            check_context(pver, encoding)
        if pver < self.since:
            raise UnsupportedMessage(self.command, pver, self.since)
        try:
            payload = self.write_payload(pver, encoding)
        except FieldError as error:
            raise error.within(type(self).__name__) from None
        except TypeError as error:
            raise FieldError(type(self).__name__, self, f"made of what its fields hold ({error})") from None
        limit = self.newest_max_send if pver == PROTOCOL_VERSION else self.max_send(pver)
        if len(payload) > limit:
            raise PayloadTooLarge(self.command, len(payload), limit, self.size_advice(len(payload) - limit))
        return payload

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        """Decode the fields as declared; errors of any kind that :meth:`from_payload` knows."""
        scalars = cls._scalars
        if scalars is not None:
            return cls(*scalars.unpack_from(data)), scalars.size
        offset = 0
        values = {}
        for name, codec in cls._codecs:
            values[name], offset = codec.read(data, offset, pver)
        return cls(**values), offset

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        """Encode the fields as declared; :exc:`FieldError` paths begin at the field."""
        if self._scalars is not None:
            try:
                return self._scalars.pack(*[getattr(self, name) for name, _ in self._codecs])
            except struct.error:
                # which value it was, write_fields() tells
                pass
        return write_fields(self, self._codecs, pver) if self._codecs else b""

    def size_advice(self, excess: int) -> str:
        """What to do about a payload that is ``excess`` bytes too large."""
        return ""


def write_fields(record: object, codecs: tuple[tuple[str, Codec[Any]], ...], pver: int) -> bytes:
    """The bytes of the fields of ``record``, one behind the other.

    :raises FieldError: for a value that does not fit, under its field's name.
    """
    parts = []
    for name, codec in codecs:
        value = getattr(record, name)
        try:
            parts.append(codec.write(value, pver))
        except FieldError as error:
            raise error.within(name) from None
        except TypeError:
            raise FieldError(name, value, "a value of the field's type") from None
    return b"".join(parts)


def field(codec: Codec[T], *, default: T, kw_only: bool = False) -> T:
    """Declare a field: how it stands on the wire, and its value when none is given.

    :param kw_only: whether it is given by its name alone. For numbers that come first on the wire, but not to mind:
        what is meant for the field behind would be taken for them.
    """
    declared: T = attrs.field(default=default, kw_only=kw_only, metadata={"codec": codec})
    return declared


def field_codecs(cls: type) -> tuple[tuple[str, Codec[Any]], ...]:
    """Name and codec of each field of ``cls``, in wire order."""
    return tuple((each.name, each.metadata["codec"]) for each in attrs.fields(cls))


C = TypeVar("C", bound=type)


@dataclass_transform(field_specifiers=(field,))
def record(cls: C, on_setattr: Callable[..., Any] | None = None) -> C:
    """Declare a part of a message: fields and codecs without a command of their own."""
    return attrs.define(cls, slots=True, weakref_slot=False, hash=False, on_setattr=on_setattr)


_registry: dict[str, type[Message]] = {}
CLASS_OF_COMMAND: dict[bytes, type[Message]] = {}
"""The class of each command, by its 12 bytes."""

READER_OF_COMMAND: dict[bytes, tuple[type[Message], int, int, Callable[[bytes, int, Encoding], tuple[Any, int]]]] = {}
"""What decoding needs of each class: itself, its ``max_size`` at the newest version, ``since``, ``read_payload``."""


@dataclass_transform(field_specifiers=(field,))
def message(
    command: str,
    *,
    max_size: Limit,
    max_send: Limit | None = None,
    since: int = 0,
    on_setattr: Callable[..., Any] | None = None,
) -> Callable[[M], M]:
    """Declare a message, and register its command.

    :param max_size: the largest payload taken, in bytes; or a function of the protocol version.
    :param max_send: the largest that soterd takes, where that is less.
    :param since: the first protocol version that has the message.
    :param on_setattr: what attrs calls when a field is set, other than by the constructor.
    """

    def declare(cls: M) -> M:
        cls = record(cls, on_setattr)
        cls._codecs = field_codecs(cls)
        cls._scalars = scalar_struct([codec for _, codec in cls._codecs])
        return register(cls, command, max_size=max_size, max_send=max_send, since=since)

    return declare


def register(cls: M, command: str, *, max_size: Limit, max_send: Limit | None = None, since: int = 0) -> M:
    """Make ``cls`` the class of ``command``, for those that bring their own fields."""
    cls.command = command
    cls.since = since
    cls._max_size = staticmethod(max_size) if callable(max_size) else max_size
    cls._max_send = cls._max_size if max_send is None else staticmethod(max_send) if callable(max_send) else max_send
    cls.newest_max_size = cls.max_size()
    cls.newest_max_send = cls.max_send()
    _registry[command] = cls
    cls.padded_command = command_bytes(command)
    CLASS_OF_COMMAND[cls.padded_command] = cls
    READER_OF_COMMAND[cls.padded_command] = (cls, cls.newest_max_size, since, cls.read_payload)
    return cls


def messages() -> dict[str, type[Message]]:
    """The class of each command."""
    return dict(_registry)


def message_class(command: bytes) -> type[Message] | None:
    """The class of a command's 12 bytes; None unless they are one of the 31, padded with NULs."""
    return CLASS_OF_COMMAND.get(command)


def command_text(command: bytes) -> str:
    """The 12 bytes of a command as text: Latin-1, without the NULs at its end."""
    return command.rstrip(b"\0").decode("latin-1")


def command_bytes(command: str) -> bytes:
    """The 12 bytes of ``command`` in a frame, which NULs fill up.

    :raises FieldError: when it is longer, or has characters past U+00FF.
    """
    try:
        raw = command.encode("latin-1")
    except (UnicodeEncodeError, AttributeError):
        raw = bytes(13)
    if len(raw) > 12:
        raise FieldError("command", command, "at most 12 characters, none past U+00FF")
    return raw.ljust(12, b"\0")


@attrs.define(slots=True, weakref_slot=False, hash=False)
class Unknown(Message):
    """A message whose command is not one of the 31: its command and payload as they came.

    The command's bytes are read as Latin-1, so that any twelve of them survive a round trip.
    """

    command: str  # type: ignore[misc]
    payload: bytes = b""

    _max_size: ClassVar[Limit] = MAX_UNKNOWN_PAYLOAD
    _max_send: ClassVar[Limit] = MAX_UNKNOWN_PAYLOAD
    newest_max_size: ClassVar[int] = MAX_UNKNOWN_PAYLOAD
    newest_max_send: ClassVar[int] = MAX_UNKNOWN_PAYLOAD

    @property
    def padded_command(self) -> bytes:  # type: ignore[override]  # that of a class is an attribute: it is faster
        return command_bytes(self.command)

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        if not isinstance(self.payload, bytes):
            raise FieldError("payload", self.payload, "bytes")
        return self.payload
