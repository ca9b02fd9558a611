"""``alert``: a signed notice to operators, which nobody sends any more."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from typing_extensions import Self

from txsoter.errors import FieldError, MalformedMessage
from txsoter.wire.codec import I32, I64, ListOf, VarBytes
from txsoter.wire.message import (
    MAX_PAYLOAD,
    PROTOCOL_VERSION,
    Encoding,
    Message,
    field,
    field_codecs,
    message,
    record,
    write_fields,
)
from txsoter.wire.views import RowLayout, Rows

__all__ = ["Alert", "AlertDetails"]

# soterd's bounds: what fits an alert of 32 MiB less its signature and lengths
_MAX_ALERT = MAX_PAYLOAD - 72 - 9 - 1
_MAX_CANCELS = (_MAX_ALERT - 45 - 9 + 1) // 4
_MAX_AGENTS = (_MAX_ALERT - 45 - 9 + 1) // 256

_STRING = VarBytes(MAX_PAYLOAD)
_IDS: RowLayout[int] = RowLayout((("", I32),), build=lambda row: row[0], flatten=lambda value: (value,))


@record
class AlertDetails:
    """What an alert says, if it is of the format that soterd knows. Strings are bytes.

    :ivar relay_until: when nodes should stop relaying it, seconds since 1970.
    :ivar expiration: when it stops applying, seconds since 1970.
    :ivar cancels: ids of alerts that it cancels, beside ``cancel`` and all below that.
    :ivar user_agents: whom it concerns, if not all.
    """

    version: int = field(I32, default=1)
    relay_until: int = field(I64, default=0)
    expiration: int = field(I64, default=0)
    id: int = field(I32, default=0)
    cancel: int = field(I32, default=0)
    cancels: Sequence[int] = field(Rows(_IDS, _MAX_CANCELS, "cancelled alerts"), default=())
    min_version: int = field(I32, default=0)
    max_version: int = field(I32, default=0)
    user_agents: tuple[bytes, ...] = field(ListOf(_STRING, _MAX_AGENTS), default=())
    priority: int = field(I32, default=0)
    comment: bytes = field(_STRING, default=b"")
    status_bar: bytes = field(_STRING, default=b"")
    reserved: bytes = field(_STRING, default=b"")

    def to_bytes(self) -> bytes:
        """The serialized alert, for :class:`Alert`.

        :raises FieldError: for a value that its field cannot hold.
        """
        return write_fields(self, field_codecs(type(self)), PROTOCOL_VERSION)


def _parse(serialized: bytes) -> tuple[AlertDetails, int] | None:
    offset = 0
    values = []
    try:
        for _, codec in field_codecs(AlertDetails):
            value, offset = codec.read(serialized, offset, PROTOCOL_VERSION)
            values.append(value)
    except (IndexError, struct.error, MalformedMessage):
        return None
    return AlertDetails(*values), offset


@message("alert", max_size=MAX_PAYLOAD)
class Alert(Message):
    """A signed notice.

    Of a serialized alert that soterd can parse, it sends on what it parsed: bytes left over inside
    are dropped when it is decoded. Of any other all bytes are kept.

    :ivar serialized: the notice; may be empty when received, never when sent.
    :ivar signature: over the serialized notice.
    """

    serialized: bytes = field(_STRING, default=b"")
    signature: bytes = field(_STRING, default=b"")

    @property
    def details(self) -> AlertDetails | None:
        """What the alert says, or None when it is of another format."""
        parsed = _parse(self.serialized)
        return parsed[0] if parsed else None

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        serialized, offset = _STRING.read(data, 0, pver)
        signature, offset = _STRING.read(data, offset, pver)
        parsed = _parse(serialized)
        return cls(serialized[: parsed[1]] if parsed else serialized, signature), offset

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        if not self.serialized:
            raise FieldError("serialized", self.serialized, "at least one byte")
        return Message.write_payload(self, pver, encoding)
