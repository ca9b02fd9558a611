"""Frames to messages, and messages that are read before their turn."""

from __future__ import annotations

from collections import deque

from txsoter.core.dispatch_table import CommandState, DispatchTable
from txsoter.core.events import Received
from txsoter.core.traffic import Counters
from txsoter.errors import MalformedMessage
from txsoter.wire import Encoding, FrameDecoder, Unknown
from txsoter.wire.framing import HEADER_SIZE
from txsoter.wire.message import MAX_UNKNOWN_PAYLOAD

__all__ = ["MESSAGE_OVERHEAD", "PEER_LIMITS", "Reader"]

MESSAGE_OVERHEAD = 200
"""Bytes that a queued message takes beyond those of its frame, about."""

PEER_LIMITS = {"reject": 4_000_000, "alert": 64 * 1024}
"""Limits of payloads, in bytes, where a peer takes less than the codec: the reference keeps 32 MiB of either."""


class Reader:
    """The bytes of one remote as messages.

    :param magic: of the network.
    :ivar pver: the protocol version in use.
    :ivar encoding: how the remote writes transactions.
    :ivar ahead: messages that were read before their turn; empty or None if none was.
    :ivar blocked: a malformed frame was met while reading ahead; nothing more is read before its turn.
    """

    __slots__ = ("_ahead_bytes", "_counters", "_decoder", "_table", "ahead", "blocked", "encoding", "pver")

    def __init__(self, magic: int, pver: int, table: DispatchTable, counters: Counters) -> None:
        self._decoder: FrameDecoder[CommandState] = FrameDecoder(magic, self._find_state)
        self._table = table
        self._counters = counters
        # made when needed, which for most connections is never
        self.ahead: deque[Received | MalformedMessage] | None = None
        self._ahead_bytes = 0
        self.blocked = False
        self.pver = pver
        self.encoding = Encoding.BASE

    @property
    def buffered(self) -> int:
        """Bytes of messages whose turn has not come."""
        return self._decoder.buffered + self._ahead_bytes

    @property
    def ahead_memory(self) -> int:
        """Bytes of memory of the messages that were read ahead."""
        return self._ahead_bytes + MESSAGE_OVERHEAD * len(self.ahead) if self.ahead else 0

    @property
    def memory(self) -> int:
        """Bytes of memory of everything whose turn has not come."""
        return self._decoder.buffered + self.ahead_memory

    def negotiated(self, pver: int, encoding: Encoding) -> None:
        """Read the messages that follow as negotiated."""
        self.pver = pver
        self.encoding = encoding
        # their limits are those of the version before
        self._decoder.routes.clear()

    def use_table(self, table: DispatchTable) -> None:
        """Find the handlers of the messages that are read from now on in ``table``."""
        self._table = table
        self._decoder.routes.clear()

    def feed(self, data: bytes) -> None:
        """Take bytes, in any chunking."""
        self._decoder.feed(data)

    def read(self) -> Received | MalformedMessage | None:
        """Return the next message, or the next malformed one; None until one is whole."""
        try:
            found = self._decoder.next_frame()
            if found is None:
                return None
        except MalformedMessage as error:
            return error
        state, payload = found
        kind = state.shared.message_class
        if kind is Unknown:
            return state, Unknown(state.shared.command, payload), payload, len(payload), self._decoder.checksum
        try:
            message, used = kind.from_payload(payload, self.pver, self.encoding)
        except MalformedMessage as error:
            error.size = HEADER_SIZE + len(payload)
            return error
        return state, message, payload, used, self._decoder.checksum

    def push_ahead(self, item: Received | MalformedMessage) -> None:
        """Let a message that was read wait for its turn."""
        if self.ahead is None:
            self.ahead = deque()
        self.ahead.append(item)
        if isinstance(item, tuple):
            self._ahead_bytes += HEADER_SIZE + len(item[2])
        else:
            self.blocked = True

    def pop_ahead(self) -> Received | MalformedMessage:
        """Return the first message that was read ahead: its turn has come."""
        assert self.ahead
        item = self.ahead.popleft()
        if isinstance(item, tuple):
            self._ahead_bytes -= HEADER_SIZE + len(item[2])
        else:
            self.blocked = False
        return item

    def skip(self) -> None:
        """Leave out the frame whose header was malformed, with the payload that it announces."""
        self._decoder.skip()

    def close(self) -> None:
        """Forget everything."""
        self._decoder.clear()
        self._decoder.routes.clear()
        self.ahead = None
        self._ahead_bytes = 0

    def _find_state(self, command: bytes) -> CommandState:
        shared = self._table.lookup(command)
        kind = shared.message_class
        limit = MAX_UNKNOWN_PAYLOAD if kind is Unknown else kind.max_size(self.pver)
        limit = min(limit, PEER_LIMITS.get(shared.command, limit))
        return CommandState(shared, limit, self._counters.received_of(kind))
