"""Tests of ``txsoter.wire``, and what they share.

The builders know the format by themselves: nothing of the codec under test is in them.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any, TypeVar
from unittest import TestCase

import attrs

from txsoter.errors import FieldError, MalformedMessage, PayloadTooLarge
from txsoter.wire import Encoding, Message, Unknown, read_message, write_message
from txsoter.wire.message import command_text, message_class

M = TypeVar("M", bound=Message)

MAGIC = 0x12141C16
NEWEST = 70013
HUGE = b"\xff" * 9
"""The varint of 2^64-1."""

BASE, WITNESS = Encoding.BASE, Encoding.WITNESS


def varint(value: int) -> bytes:
    """The shortest varint."""
    if value < 0xFD:
        return struct.pack("<B", value)
    if value < 1 << 16:
        return struct.pack("<BH", 0xFD, value)
    return struct.pack("<BI", 0xFE, value) if value < 1 << 32 else struct.pack("<BQ", 0xFF, value)


def varbytes(value: bytes) -> bytes:
    """A varint length and the bytes."""
    return varint(len(value)) + value


def digest(data: bytes) -> bytes:
    """Double SHA-256."""
    return sha256(sha256(data).digest()).digest()


def frame(command: str | bytes, payload: bytes = b"", magic: int = MAGIC) -> bytes:
    """A whole frame."""
    raw = command.encode() if isinstance(command, str) else command
    return struct.pack("<I12sI", magic, raw, len(payload)) + digest(payload)[:4] + payload


def header(command: str, length: int, magic: int = MAGIC) -> bytes:
    """The header of a frame that announces ``length`` bytes, its checksum wrong."""
    return struct.pack("<I12sI4s", magic, command.encode(), length, b"\xde\xad\xbe\xef")


def wrong(value: object) -> Any:
    """``value`` where its type does not belong."""
    return value


def changed(message: M, **values: Any) -> M:
    """``message`` with other values in some fields."""
    # mypy knows messages by dataclass_transform, not as the attrs classes that they are
    other: M = attrs.evolve(wrong(message), **values)
    return other


class WireTestCase(TestCase):
    """Assertions on messages as they stand on the wire."""

    def decode(self, cls: type[M], payload: bytes, pver: int = NEWEST, encoding: Encoding = BASE) -> M:
        """The message in ``payload``, read from a frame, which must be taken whole."""
        raw = frame(cls.command, payload)
        message, consumed = read_message(raw, MAGIC, pver, encoding)
        self.assertEqual(consumed, len(raw))
        self.assertIs(type(message), cls)
        assert isinstance(message, cls)
        return message

    def encode(self, message: Message, pver: int = NEWEST, encoding: Encoding = BASE) -> bytes:
        """The payload of ``message``, written into a frame whose header must be right."""
        raw = write_message(message, MAGIC, pver, encoding)
        payload = raw[24:]
        self.assertEqual(raw[:24], frame(message.command, payload)[:24])
        return payload

    def assert_wire(self, message: Message, payload: bytes, pver: int = NEWEST, encoding: Encoding = BASE) -> None:
        """``message`` is written as ``payload``, and ``payload`` is read as ``message``."""
        self.assertEqual(self.encode(message, pver, encoding).hex(), payload.hex())
        decoded = self.decode(type(message), payload, pver, encoding)
        self.assertEqual(decoded, message)
        self.assertEqual(self.encode(decoded, pver, encoding), payload)

    def assert_malformed(
        self,
        cls: type[Message],
        payload: bytes,
        reason: str = "payload ends too early",
        pver: int = NEWEST,
        encoding: Encoding = BASE,
    ) -> MalformedMessage:
        """The whole frame of ``payload`` is refused, for a reason that matches, under its command."""
        with self.assertRaisesRegex(MalformedMessage, reason) as caught:
            read_message(frame(cls.command, payload), MAGIC, pver, encoding)
        self.assertEqual(caught.exception.command, cls.command)
        return caught.exception

    def assert_refused(
        self, message: Message, field: str, limit: str = ".", pver: int = NEWEST, encoding: Encoding = BASE
    ) -> FieldError:
        """``message`` cannot be written, because of ``field``."""
        with self.assertRaises(FieldError) as caught:
            write_message(message, MAGIC, pver, encoding)
        self.assertEqual(caught.exception.field, field)
        self.assertRegex(caught.exception.limit, limit)
        return caught.exception

    def assert_too_large(
        self, message: Message, size: int, limit: int, pver: int = NEWEST, encoding: Encoding = BASE
    ) -> PayloadTooLarge:
        """``message`` would be ``size`` bytes, over the ``limit`` that soterd takes."""
        with self.assertRaises(PayloadTooLarge) as caught:
            write_message(message, MAGIC, pver, encoding)
        error = caught.exception
        self.assertEqual((error.command, error.size, error.limit), (message.command, size, limit))
        return error


def command_limit(command: bytes, pver: int) -> int:
    """The largest payload of a command's 12 bytes."""
    known = message_class(command)
    return Unknown.max_size() if known is None else known.max_size(pver)


def decode(command: bytes, payload: bytes, pver: int, encoding: Encoding) -> tuple[Message, int]:
    """The message in a payload that a FrameDecoder gave, and how many bytes of it were used."""
    known = message_class(command)
    if known is None:
        return Unknown(command_text(command), payload), len(payload)
    return known.from_payload(payload, pver, encoding)
