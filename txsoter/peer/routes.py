"""What is done with each command: a plan for all connections of a config, and each connection's own account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from txsoter.peer.listeners import Listeners
from txsoter.peer.stats import Traffic
from txsoter.wire import Message
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["PEER_LIMITS", "Builtin", "Handler", "Plan", "Route", "application_handlers"]

PEER_LIMITS = {"reject": 4_000_000, "alert": 64 * 1024}
"""Payloads that a peer takes less of than the codec, in bytes: the reference holds 32 MiB of either."""

Handler = Callable[[Any, Message, bytes], Any]
"""Called with the peer, a message and its payload; what it returns is waited for, if it can be."""

Builtin = Callable[[Any, Any, bytes], "bool | None"]
"""Called with the peer, a message and its payload's checksum; False keeps the message from the handlers."""


class Plan:
    """What all connections of one config do with one command.

    :param message_class: of the command; None for an unknown one.
    :param builtin: what the peer itself does.
    :param handlers: what the application does, in order.
    :param answers: whether it answers something that the stall detector waits for.
    :param conclude: called after the handlers with the peer and what they returned, as far as that was not None.
    """

    __slots__ = ("answers", "builtin", "command", "conclude", "handlers", "message_class")

    def __init__(
        self,
        command: str,
        message_class: type[Message] | None,
        builtin: Builtin | None = None,
        handlers: tuple[Handler, ...] = (),
        answers: bool = False,
        conclude: Callable[[Any, list[Any]], object] | None = None,
    ) -> None:
        self.command = command
        self.message_class = message_class
        self.builtin = builtin
        self.handlers = handlers
        self.answers = answers
        self.conclude = conclude


class Route:
    """What one connection does with one command, found by a frame's first 16 bytes.

    :param limit: the largest payload taken, in bytes.
    :param traffic: where its messages are counted.
    """

    __slots__ = ("limit", "plan", "traffic")

    def __init__(self, plan: Plan, limit: int, traffic: Traffic) -> None:
        self.plan = plan
        self.limit = limit
        self.traffic = traffic


def application_handlers(listeners: Listeners, name: str, hears: bool) -> tuple[Handler, ...]:
    """What the application has hooked in for one message, in the order in which it is called.

    None of it may refer to one peer: all of a config share it.

    :param name: of the listener, such as ``on_inv``.
    :param hears: whether the peer's class overrides ``message_received``.
    """
    handlers: list[Handler] = []
    on_read, listener = listeners.on_read, getattr(listeners, name)
    if on_read is not None:
        handlers.append(lambda peer, message, payload: on_read(peer, HEADER_SIZE + len(payload), message, None))
    if listener is not None:
        if name == "on_block":
            handlers.append(listener)
        else:
            handlers.append(lambda peer, message, payload: listener(peer, message))
    if hears:
        handlers.append(lambda peer, message, payload: peer.message_received(message))
    return tuple(handlers)
