"""Command dispatch: handlers shared by all connections of a config, limits and counters per connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import unwrap
from typing import Any

from txsoter.core.stall import StallDetector
from txsoter.core.traffic import Traffic, command_of
from txsoter.wire import Message, Unknown
from txsoter.wire.message import command_text, message_class

__all__ = ["CommandHandlers", "CommandState", "DispatchTable", "Handler", "handler_name"]

Handler = Callable[[Any, Message, bytes], Any]
"""Called with the peer, a message and its payload. Its result may be waited for."""


BuiltIn = Callable[[Any, Any, bytes], "bool | None"]
"""Called with the channel, a message and its payload's checksum; False keeps the message from the handlers."""

AfterHandlers = Callable[[Any, Sequence[Any]], None]
"""Called with the channel and the results of the handlers."""


AfterWriting = Callable[[Any, Any], None]
"""Called with the channel and the message."""


def handler_name(handler: Handler) -> str:
    """Return the name of the application's function behind a handler."""
    function: Any = unwrap(handler)
    while isinstance(function, partial):
        function = function.func
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name


class CommandHandlers:
    """Handlers of one command, shared by all connections of a config.

    :ivar message_class: :class:`~txsoter.wire.Unknown` for a command that is not declared.
    :ivar built_in: our own rule, or None.
    :ivar handlers: the application's, in order.
    :ivar after_handlers: our own rule that follows them, or None.
    :ivar answers: the command may answer something that the stall detector waits for.
    """

    __slots__ = ("after_handlers", "answers", "built_in", "command", "handlers", "message_class")

    def __init__(
        self,
        command: str,
        message_class: type[Message],
        built_in: BuiltIn | None,
        handlers: tuple[Handler, ...],
        after_handlers: AfterHandlers | None,
    ) -> None:
        self.command = command
        self.message_class = message_class
        self.built_in = built_in
        self.handlers = handlers
        self.after_handlers = after_handlers
        self.answers = StallDetector.answers(command)


class CommandState:
    """State of one command on one connection, found by a frame's first 16 bytes.

    :ivar limit: the largest payload taken, in bytes.
    :ivar traffic: where its messages are counted.
    """

    __slots__ = ("limit", "shared", "traffic")

    def __init__(self, shared: CommandHandlers, limit: int, traffic: Traffic) -> None:
        self.shared = shared
        self.limit = limit
        self.traffic = traffic


class DispatchTable:
    """Handlers of every command, looked up once per config.

    One lookup per connection used to account for half of a connection's memory.

    :param find: gives the application's handlers of a message class.
    :param built_in: our own rules before them, by message class.
    :param after_handlers: our own rules behind them, by message class.
    :param after_writing: our own rules for messages that were written, by their class.
    :ivar after_writing: of the message classes written so far, the name they are counted by and the rule.
    :ivar observes_reads: :class:`~txsoter.core.events.Observed` events are wanted.
    :ivar observes_writes: the messages that are written are looked at.
    :ivar observes_round_trips: :class:`~txsoter.core.events.RoundTrip` events are wanted.
    """

    __slots__ = (
        "_after_handlers",
        "_after_writing",
        "_built_in",
        "_by_command",
        "_find",
        "after_writing",
        "observes_reads",
        "observes_round_trips",
        "observes_writes",
    )

    def __init__(
        self,
        find: Callable[[type[Message]], tuple[Handler, ...]],
        built_in: Mapping[type[Message], BuiltIn],
        after_handlers: Mapping[type[Message], AfterHandlers],
        after_writing: Mapping[type[Message], AfterWriting],
        *,
        observes_reads: bool = False,
        observes_writes: bool = False,
        observes_round_trips: bool = False,
    ) -> None:
        self._find = find
        self._built_in = built_in
        self._after_handlers = after_handlers
        self._after_writing = after_writing
        self.after_writing: dict[type[Message], tuple[str, AfterWriting | None]] = {}
        self._by_command: dict[bytes, CommandHandlers] = {}
        self.observes_reads = observes_reads
        self.observes_writes = observes_writes
        self.observes_round_trips = observes_round_trips

    def lookup(self, command: bytes) -> CommandHandlers:
        """Return the handlers of a command's 12 bytes."""
        shared = self._by_command.get(command)
        if shared is None:
            known = message_class(command)
            if known is None:
                # not kept: a remote may invent any number of commands
                return self._handlers(command_text(command), Unknown)
            shared = self._by_command[command] = self._handlers(known.command, known)
        return shared

    def learn(self, kind: type[Message]) -> tuple[str, AfterWriting | None]:
        """Return the entry of a message class in :attr:`after_writing`, which had none yet."""
        known = self.after_writing[kind] = command_of(kind), self._after_writing.get(kind)
        return known

    def _handlers(self, command: str, kind: type[Message]) -> CommandHandlers:
        built_in, after_handlers = self._built_in.get(kind), self._after_handlers.get(kind)
        return CommandHandlers(command, kind, built_in, self._find(kind), after_handlers)
