"""The loop that every adapter runs: bytes in, events, handlers, bytes out, timers.

An adapter brings the transport, the clock and the ways to wait; everything that Twisted's and asyncio's would have to
do alike is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from txsoter.core.connection import Connection
from txsoter.core.events import ABORT, FLUSH, Event, Received
from txsoter.core.memory_budget import GRAIN
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, LocalError
from txsoter.wire import Encoding, Message

__all__ = ["Adapter", "Driver"]


# a name of the module is found faster than a member of an enum
_READY = State.READY

IDLE, HANDLING, WRITING = range(3)
"""The phases of a driver: between two turns, in the middle of one, and while it writes."""


class Writer(Protocol):
    """A transport, as far as both Twisted's and asyncio's are alike."""

    def write(self, data: bytes, /) -> None:
        """Send ``data``."""
        ...


class Adapter(Protocol):
    """The part of an adapter that a driver calls."""

    def now(self) -> float:
        """Return the time in seconds, of a clock that nobody can set."""
        ...

    @property
    def transport(self) -> Writer:
        """The transport. Its ``write`` may call :meth:`Driver.pause_writing` before it returns."""
        ...

    def set_reading(self, wanted: bool) -> None:
        """Read on, or pause reading, on the transport."""
        ...

    def hang_up(self) -> None:
        """Close the transport once it has written everything. Called once."""
        ...

    def abort(self) -> None:
        """Close the transport at once."""
        ...

    def set_timers(self) -> None:
        """Call :meth:`Driver.timeout` when the connection's deadlines have come, which are other ones now."""
        ...

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        """Call ``done`` with the outcome of what a handler returned, which may be at once.

        :return: False if ``result`` is nothing to wait for; ``done`` is not called then.
        """
        ...

    def handler_waits(self, result: Any) -> None:
        """Fail what a handler waits for that was just called, if that can only come when it is done."""
        ...

    def handler_failed(self, error: BaseException, command: str) -> None:
        """Log that a handler failed, and tell the connection."""
        ...

    def written(self, batch: list[Entry]) -> None:
        """Observe messages that were written. Called only if the dispatch table observes writes."""
        ...

    def sent(self, token: Any) -> None:
        """Tell the caller of ``send`` that the transport has the message and would take more."""
        ...

    def handle_event(self, event: Event) -> None:
        """Handle an event other than a message, FLUSH and ABORT."""
        ...


class Driver:
    """Drives a connection for an adapter.

    :param peer: what handlers are called with.
    """

    __slots__ = (
        "_accounted",
        "_adapter",
        "_again",
        "_hung_up",
        "_is_over_budget",
        "_peer",
        "_phase",
        "_reading",
        "_received",
        "connection",
    )

    def __init__(self, connection: Connection, adapter: Adapter, peer: Any) -> None:
        self.connection = connection
        self._adapter = adapter
        self._peer = peer
        self._phase = IDLE
        # something was done in the middle of a turn that may have consequences
        self._again = False
        self._reading = True
        self._hung_up = False
        self._is_over_budget = False
        # bytes of memory that the budget was told of last, and those that have been received since
        self._accounted = 0
        self._received = 0

    # -- what an adapter calls -----------------------------------------------------------------

    def connection_made(self, wall: float, host: str | None, port: int) -> None:
        """Begin: see :meth:`Connection.connection_made`."""
        self.connection.connection_made(self._adapter.now(), wall, host, port)
        self.run()

    def data_received(self, data: bytes) -> None:
        """Take bytes that were read."""
        self._received += len(data)
        self.connection.receive_data(data, self._adapter.now())
        self.run()

    def pause_writing(self) -> None:
        """Note that the transport has had enough."""
        self.connection.pause_writing()
        self.run()

    def resume_writing(self) -> None:
        """Note that the transport would take more."""
        self.connection.resume_writing(self._adapter.now())
        self.run()

    def timeout(self) -> None:
        """Do what is due; the adapter sets its timers again then."""
        self.connection.channel.rearm = True
        self.connection.handle_timeout(self._adapter.now())
        self.run()

    def connection_lost(self, by: ClosedBy, cause: CloseCause, detail: str) -> None:
        """End: see :meth:`Connection.connection_lost`."""
        self._hung_up = True
        self.connection.connection_lost(by, cause, detail, self._adapter.now())
        self.run()

    def close(self, cause: CloseCause, detail: str = "") -> None:
        """Begin to close; what the transport takes at once is still sent."""
        self.connection.close(cause, detail, self._adapter.now())
        if self._phase == HANDLING:
            # a handler's disconnect() is not to wait for the other handlers
            self._settle_closing()
        self.run()

    def send(
        self, message: Message, encoding: Encoding, token: Any = None, encoded: tuple[bytes, int] | None = None
    ) -> None:
        """Send a message: see :meth:`Connection.send`. In the middle of a turn it is written once much waits.

        :raises LocalError: if the message cannot be encoded.
        """
        try:
            self.connection.send(message, encoding, token, encoded)
        except LocalError:
            self.run()
            raise
        channel = self.connection.channel
        if self._phase:
            if self._phase == HANDLING and channel.queue.batch_is_due:
                self._flush()
            return
        self._again = False
        self._flush()
        # nothing follows from most messages
        if channel.state is not _READY or self._again or channel.events or channel.rearm or channel.queue.waiting:
            self.run()

    def over_budget(self, held: int, total: int) -> None:
        """Close, as the connection that holds the most of a memory budget."""
        # whatever a closing connection still holds, it cannot be closed again for it
        self._accounted = 0
        self._is_over_budget = True
        if self.connection.state.is_closing:
            self.connection.channel.drop_queue()
            self._adapter.abort()
        self.close(CloseCause.OVER_BUDGET, f"{held} bytes of {total}")

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Handle events and write until nothing is left to do now. In the middle of that, see to its being done."""
        if self._phase:
            self._again = True
            return
        self._phase = HANDLING
        channel, next_event = self.connection.channel, self.connection.turns.next_event
        try:
            while True:
                self._again = False
                while (event := next_event()) is not None:
                    if event.__class__ is tuple:
                        self._handle(event)
                    elif event is FLUSH:
                        self._flush()
                    elif event is ABORT:
                        self._adapter.abort()
                    else:
                        self._adapter.handle_event(event)
                if channel.queue.entries or channel.queue.untold:
                    self._flush()
                if not self._again and not channel.events:
                    break
        finally:
            self._phase = IDLE
        self._settle()

    def _flush(self) -> None:
        """Write until nothing waits or the transport has had enough, and tell those whose messages it has."""
        before, self._phase = self._phase, WRITING
        connection, adapter = self.connection, self._adapter
        channel, queue = connection.channel, connection.channel.queue
        try:
            while True:
                while queue.untold and not queue.paused:
                    adapter.sent(queue.untold.pop(0))
                piece = queue.take(adapter.now()) if queue.entries else None
                if piece is None:
                    break
                data, batch = piece
                adapter.transport.write(data)
                connection.written(batch)
                if channel.table.observes_writes:
                    adapter.written(batch)
                if connection.turns.withholds:
                    self._again = True
        finally:
            self._phase = before

    def _settle(self) -> None:
        """Bring the transport's reading, the timers and the memory budget in line with the connection."""
        connection = self.connection
        channel = connection.channel
        if channel.state.is_closing:
            self._settle_closing()
        else:
            wanted = connection.turns.wants_data
            if wanted is not self._reading:
                self._reading = wanted
                self._adapter.set_reading(wanted)
        if channel.rearm:
            channel.rearm = False
            self._adapter.set_timers()
        early = channel.handshake.early
        waiting = channel.queue.waiting + MESSAGE_OVERHEAD * len(channel.queue.entries)
        if self._accounted or self._received >= GRAIN or waiting >= GRAIN or early:
            self._account()

    def _settle_closing(self) -> None:
        if self.connection.state is State.CLOSING:
            self._flush()
            if self.connection.may_hang_up and not self._hung_up:
                self._hung_up = True
                self._adapter.hang_up()

    def _account(self) -> None:
        """Tell the memory budget what is held, if that has changed by more than a little."""
        self._received = 0
        if self._is_over_budget:
            return
        held = self.connection.channel.memory()
        change = held - self._accounted
        if change >= GRAIN or -change >= GRAIN or (change and not held):
            self._accounted = held
            self.connection.channel.config.memory.account(self, held)

    # -- handlers ------------------------------------------------------------------------------

    def _handle(self, message: Received, first: int = 0, results: list[Any] | None = None) -> None:
        """Call the handlers of the message in hand, from the ``first`` on, until one has to be waited for."""
        handlers, adapter = message[0].shared.handlers, self._adapter
        channel = self.connection.channel
        for index in range(first, len(handlers)):
            if channel.state.is_closing:
                break
            try:
                result = handlers[index](self._peer, message[1], message[2])
            except Exception as error:
                adapter.handler_failed(error, message[0].shared.command)
                continue
            if result is not None:
                if results is None:
                    results = []
                if not self._finished(result, message, index + 1, results):
                    channel.handler = handlers[index]
                    return
        self.connection.turns.handled(adapter.now(), results or ())

    def _finished(self, result: Any, message: Received, following: int, results: list[Any]) -> bool:
        """Keep the result of a handler; tell whether it is there already.

        :param following: index of the next handler.
        """
        returned = finished = False

        def done(value: Any, error: BaseException | None) -> None:
            nonlocal finished
            finished = True
            if error is not None:
                self._adapter.handler_failed(error, message[0].shared.command)
            elif value is not None:
                results.append(value)
            if returned:
                self._resume(message, following, results)

        if not self._adapter.wait_for(result, done):
            results.append(result)
            return True
        if not finished:
            self._adapter.handler_waits(result)
        returned = True
        return finished

    def _resume(self, message: Received, following: int, results: list[Any]) -> None:
        """Go on behind a handler that was waited for."""
        before, self._phase = self._phase, self._phase or HANDLING
        try:
            self._handle(message, following, results)
        finally:
            self._phase = before
        self.run()
