"""``connect()`` and ``serve()``: peers that are dialled, and peers that dial."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import Self

from txsoter.aio.peer import Peer, check_config
from txsoter.aio.session import remote_of
from txsoter.core.admission import Admission
from txsoter.ip import address_group
from txsoter.peer.config import PeerConfig

__all__ = ["Server", "connect", "serve"]

_log = logging.getLogger("txsoter")


async def connect(host: str | None, port: int | None, config: PeerConfig, **options: Any) -> Peer:
    """Dial a peer.

    :param options: of the loop's ``create_connection()``, such as ``ssl`` or ``sock``; or ``path``, and those of its
        ``create_unix_connection()``. Host and port are None then, as these two want it.
    :return: the peer, once both veracks have crossed. Cancelling closes what was opened.
    :raises OSError: if there is no connection.
    :raises txsoter.errors.HandshakeFailed: if the remote is not acceptable, or does not accept us.
    :raises txsoter.errors.FieldError: if the config has a clock.
    """
    check_config(config)
    peer = Peer(config, inbound=False)
    # its overloads tell addresses from sockets, which are passed on here
    loop: Any = asyncio.get_running_loop()
    try:
        if "path" in options:
            await loop.create_unix_connection(lambda: peer.protocol, **options)
        else:
            await loop.create_connection(lambda: peer.protocol, host, port, **options)
        return await peer.when_ready()
    except asyncio.CancelledError:
        peer.abort("connect() was cancelled")
        raise


async def serve(host: str | Sequence[str] | None, port: int | None, config: PeerConfig, **options: Any) -> Server:
    """Let peers dial us; listen for them by ``on_ready`` and ``on_closed``.

    :param options: of the loop's ``create_server()``, such as ``ssl`` or ``sock``; or ``path``, and those of its
        ``create_unix_server()``. Host and port are None then, as these two want it.
    :raises OSError: if the address cannot be listened on.
    :raises txsoter.errors.FieldError: if the config has a clock.
    """
    server = Server(config)
    await server.listen(host, port, **options)
    return server


class Server:
    """Lets peers dial us, as many as the config lets in. ``async with`` closes it.

    :ivar config: as given.
    :ivar peers: those that live, from their being made to their end.
    :raises txsoter.errors.FieldError: if the config has a clock.
    """

    def __init__(self, config: PeerConfig) -> None:
        check_config(config)
        self.config = config
        self.peers: set[Peer] = set()
        self._admission = Admission(config.max_connections, config.max_connections_per_address)
        self._groups: dict[Peer, str | None] = {}
        self._listening: list[asyncio.Server] = []
        self._is_closing = False

    async def listen(self, host: str | Sequence[str] | None, port: int | None, **options: Any) -> None:
        """Listen, as for :func:`serve`. May be called again, for other addresses."""
        loop: Any = asyncio.get_running_loop()
        if "path" in options:
            listening = await loop.create_unix_server(self._door, **options)
        else:
            listening = await loop.create_server(self._door, host, port, **options)
        self._listening.append(listening)

    @property
    def sockets(self) -> list[Any]:
        """The sockets that it listens on; ``getsockname()`` of one tells the port."""
        return [each for listening in self._listening for each in listening.sockets]

    @property
    def refused(self) -> int:
        """Connections that were refused because there were enough."""
        return self._admission.refused

    async def close(self, reason: str = "") -> None:
        """Listen no more, end all connections, and wait until they have ended.

        :param reason: why, for people.
        """
        self._is_closing = True
        for listening in self._listening:
            listening.close()
        await asyncio.gather(*[peer.disconnect(reason) for peer in self.peers])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _door(self) -> asyncio.Protocol:
        return _Door(self._admit)

    def _admit(self, host: str | None, address: str) -> Peer | None:
        """Return a peer for a connection that is about to begin; None to end it."""
        if self._is_closing:
            return None
        group = address_group(host)
        refusal = self._admission.refusal(group)
        if refusal is not None:
            if self._admission.refuse():
                _log.warning("%s refused: %s; %d in all", address, refusal, self.refused)
            return None
        peer = Peer(self.config, inbound=True, on_ended=self._forget)
        self._admission.enter(group)
        self._groups[peer] = group
        self.peers.add(peer)
        return peer

    def _forget(self, peer: Peer) -> None:
        self.peers.discard(peer)
        self._admission.leave(self._groups.pop(peer))


class _Door(asyncio.Protocol):
    """A connection of which it is not known yet whether it is let in.

    One that is not says nothing, and leaves nothing behind in the kernel either.
    """

    def __init__(self, admit: Callable[[str | None, str], Peer | None]) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on as a peer, or end."""
        # one of create_server()
        stream: Any = transport
        host, _, address = remote_of(transport)
        peer = self._admit(host, address)
        if peer is None:
            stream.abort()
        else:
            stream.set_protocol(peer.protocol)
            peer.protocol.connection_made(transport)
