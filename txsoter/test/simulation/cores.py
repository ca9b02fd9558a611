"""Hosts of a simulation whose peers are cores of the network, without transports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import iscoroutine
from typing import Any

from txsoter import CloseReason, PeerConfig
from txsoter.core.address_push import address_caches, pick_addresses
from txsoter.core.rules import make_dispatch_table
from txsoter.core.state import State
from txsoter.errors import LocalError
from txsoter.test.simulation.hosts import Deliberate, Host
from txsoter.test.simulation.ledger import Watched
from txsoter.test.simulation.outcomes import Outcome, drive
from txsoter.testing import CoreNode, CorePeer
from txsoter.wire import Addr, Encoding, GetBlocks, GetHeaders, Message, NetAddress, Reject
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["CoreHost", "WatchedCore"]


class SpeakingCore(CorePeer):
    """A core with the verbs of a SoterPeerProtocol; its tokens are outcomes."""

    def __init__(self, node: CoreNode, inbound: bool) -> None:
        super().__init__(node, inbound)
        self._ready: list[Outcome] = []
        self._closed: list[Outcome] = []
        self._has_ended = False
        # a message that is about to be sent, and its frame
        self.encoded: tuple[Message | None, Any] = (None, None)

    # -- verbs ---------------------------------------------------------------------------------

    def send(self, message: Message, encoding: Encoding = Encoding.BASE) -> Outcome:  # type: ignore[override]
        done = Outcome()
        known, encoded = self.encoded
        self.driver.send(message, encoding, done, encoded if message is known else None)
        return done

    def request(  # type: ignore[override]
        self,
        message: Message,
        expected: type[Message],
        timeout: float | None = 30.0,
        matching: Callable[[Any], object] | None = None,
    ) -> Outcome:
        answer = Outcome(self.give_up)
        told: Any = answer
        CorePeer.request(self, message, expected, told, timeout, matching)
        return answer

    def disconnect(self, reason: str = "") -> Outcome:
        self.close(reason)
        return self.when_closed()

    def when_ready(self) -> Outcome:
        waiter = Outcome(self._ready.remove)
        if self.state is State.READY:
            waiter.callback(self)
        elif self.is_closing:
            waiter.errback(self.connection.channel.closed_error())
        else:
            self._ready.append(waiter)
        return waiter

    def when_closed(self) -> Outcome:
        waiter = Outcome(self._closed.remove)
        if self._has_ended:
            waiter.callback(self.close_reason)
        else:
            self._closed.append(waiter)
        return waiter

    def push_addresses(self, addresses: Sequence[NetAddress]) -> None:
        picked = pick_addresses(addresses, self.config.random)
        if picked:
            CorePeer.send(self, Addr(picked))

    def push_address_cache(
        self, inbound: Iterable[NetAddress], outbound: Iterable[NetAddress], known: Iterable[NetAddress]
    ) -> None:
        for cache in address_caches(inbound, outbound, known):
            CorePeer.send(self, cache)

    def push_get_blocks(self, height: int) -> Outcome:
        return SpeakingCore.send(self, GetBlocks(height=height))

    def push_get_headers(self, height: int) -> Outcome:
        return SpeakingCore.send(self, GetHeaders(height=height))

    def push_reject(self, command: str, code: int, reason: str) -> Outcome:
        if self.connection.channel.handshake.pver >= Reject.since:
            return SpeakingCore.send(self, Reject(command.encode(), code, reason.encode()))
        done = Outcome()
        done.callback(None)
        return done

    # -- what the core says --------------------------------------------------------------------

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        if iscoroutine(result):
            drive(result, done)
            return True
        if isinstance(result, Outcome):
            result.addBoth(lambda value: done(value, None))
            return True
        return False

    def sent(self, token: Any) -> None:
        if not token.called:
            token.callback(None)

    def send_failed(self, token: Any, error: Exception) -> None:
        if not token.called:
            token.errback(error)

    def request_ended(self, token: Any, answer: Message | None, error: Exception | None) -> None:
        if token.called:
            return
        if error is None:
            token.callback(answer)
        else:
            token.errback(error)

    def ready(self) -> None:
        while self._ready:
            self._ready.pop(0).callback(self)

    def ended(self, reason: CloseReason) -> None:
        super().ended(reason)
        while self._ready:
            self._ready.pop(0).errback(self.connection.channel.closed_error())

    def closed(self, reason: CloseReason) -> None:
        self._has_ended = True
        while self._closed:
            self._closed.pop(0).callback(reason)


class WatchedCore(Watched, SpeakingCore):  # type: ignore[misc]
    """A core whose application's calls are written down.

    :ivar live: the peers of its host that live.
    """

    live: dict[Any, None]

    def accepted(self) -> None:
        self.begins_at(self)
        super().accepted()

    def knocked(self) -> None:
        if self.node.is_listening:
            # until now it was nothing but the place where a knock arrives
            self.live[self] = None
            self.begins_at(self)
        super().knocked()

    def key_to_send(self, message: Message) -> bytes:
        try:
            encoded = self.connection.encode(message)
        except LocalError:
            return super().key_to_send(message)
        # it need not be encoded again
        self.encoded = message, encoded
        return encoded[0][:HEADER_SIZE]

    def unsent(self) -> tuple[int, int]:
        """The messages that wait to be sent, and their bytes."""
        channel = self.connection.channel
        queue, early = channel.queue, channel.handshake.early
        return (len(queue), queue.waiting) if early is None else (len(queue) + len(early), queue.waiting + early.size)

    def log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        if error is not None and not isinstance(error, Deliberate):
            self.side.ledger.complain(f"{self.side}: {text.format(**fields)}: {error!r}")


class CoreHost(Host):
    """A host whose peers are cores."""

    beat = 0.05
    # a handler of all messages, which gets their payloads too, instead of a listener of each
    listens_to = ()

    def future(self) -> Any:
        return Outcome()

    def open(self, config: PeerConfig) -> None:
        self.node: CoreNode = self.network.core_node(config, self._make)
        handlers = (self._read_core, self._hear_core) if self.tells_reads else (self._hear_core,)
        self.node.table = make_dispatch_table(
            lambda kind: handlers, observes_reads=self.tells_reads, observes_writes=self.tells_writes
        )
        self._deaf = self.network.core_node(config)
        self._deaf.is_listening = False

    def _read_core(self, peer: WatchedCore, message: Any, payload: bytes) -> None:
        peer.side.keep_key(message, payload)
        self.read(peer, HEADER_SIZE + len(payload), message, None)

    def _hear_core(self, peer: WatchedCore, message: Any, payload: bytes) -> Any:
        peer.side.keep_key(message, payload)
        return self.hear(peer, message)

    @property
    def configs(self) -> list[PeerConfig]:
        return [self.node.config]

    def _make(self, node: CoreNode, inbound: bool) -> WatchedCore:
        peer = WatchedCore(node, inbound)
        self.enlist(peer, inbound)
        peer.live = self.live
        if inbound:
            del self.live[peer]
        return peer

    def listen(self) -> None:
        self.node.is_listening = True

    def serve(self, hosts: list[Any]) -> None:
        random = self.network.random
        for to in random.sample(hosts, min(2, len(hosts))):
            self._keep_dialling(to)

    def _keep_dialling(self, to: Any) -> None:
        if not self.over:
            peer: Any = self.node.connect(to.node, 5)
            again = 2 + 3 * self.network.random.random()
            peer.when_closed().addCallback(lambda _: self.ledger.call_later(again, self._keep_dialling, to))

    def dial(self, to: Any, refused: bool, timeout: float) -> tuple[Any, Callable[[], bool]]:
        peer: Any = self.node.connect(to._deaf if refused else to.node, timeout)
        connecting = Outcome(lambda _: peer.disconnect("cancelled"))
        peer.when_ready().addBoth(lambda result: None if connecting.called else connecting.callback(result))
        return connecting, lambda: peer.is_closing

    def disrupt(self) -> None:
        ends = [peer for peer in self.node.peers if peer.connected]
        if ends:
            end = self.network.random.choice(ends)
            self.network.random.choice([end.hang_up, end.abort])()

    def hang_up(self, reason: str, inbound: bool = True, outbound: bool = True) -> None:
        for peer in list(self.node.peers):
            if inbound if peer.connection.channel.inbound else outbound:
                peer.close(reason)

    def stop(self) -> None:
        self.node.is_listening = False

    def remembers(self, peer: Any) -> bool:
        return peer in self.node.peers

    def leftovers(self) -> list[str]:
        return [*map(repr, self.live), *map(repr, self.node.peers)]
