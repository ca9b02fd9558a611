"""``LightClient``: a service that keeps the headers of a network's DAG in step with several peers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txsoter.chain.light.confirmations import Confirmations
from txsoter.chain.light.filter_peers import FilterPeers
from txsoter.chain.light.filter_sync import NEEDED
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.header_store import HeaderStore
from txsoter.chain.light.header_sync import TIMEOUT, Drop, HeaderSync
from txsoter.chain.light.progress import ProgressMeter, SyncProgress
from txsoter.chain.light.watched import Outpoints, Watched
from txsoter.chain.light.watching import Watch, Watching
from txsoter.clock import monotonic, wall
from txsoter.errors import CloseReason, LocalError
from txsoter.peer.config import PeerConfig
from txsoter.peer.deferreds import Waiters
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book.worker import Worker
from txsoter.service.misbehaviour import ScoreKeeper
from txsoter.service.observers import Observer, observed
from txsoter.service.peers import PeerService, having_nothing
from txsoter.service.scores import THRESHOLD
from txsoter.wire import Block, Hash, Headers, Inv, NotFound, Services

__all__ = ["LightClient"]

BlockListener = Callable[[HeaderRecord, Block], object]
"""Called with the record of a new block, and the block."""

GIVE_UP_FROM = THRESHOLD / 2
"""Points from which a remote that was dialled by the client's own service is dialled no more."""

TICK = 1.0
"""Seconds between looks at deadlines and at the progress."""


class LightClient(MultiService):
    """Keeps the headers of a network's DAG, checked, in memory and in a folder, in step with several peers::

        client = LightClient(PeerConfig(network=SIMNET), Path("state"))
        client.peers.dial(clientFromString(reactor, "tcp:192.0.2.7:18555"), "192.0.2.7")
        client.startService()
        await client.when_synced()
        async for found in client.watch([script]):
            print(found.height, found.transaction.txid, found.confirmations)

    It follows all peers that serve blocks: those of its own :attr:`peers`, and any others that are made with
    :attr:`config`, such as a :class:`~txsoter.service.node.NodeService`'s. Each block is fetched once, checked
    (parents, commitment, proof of work, times, heights, transactions against the merkle root), shown to the listeners,
    and forgotten but for its header. A peer that lies, stalls or floods is scored and dropped.

    :param config: of its peers. Questions for blocks and headers are answered with nothing where it has no listener for
        them.
    :param folder: for the headers; None to keep them in memory only.
    :param check_proofs: whether proof of work is checked.
    :param scores: notes misbehaviour, such as a node's; None to note it nowhere.
    :param retry_policy: as a :class:`~txsoter.service.PeerService` takes it.
    :param timeout: seconds in which a peer has to send a list, or the next block.
    :param filter_peers: peers that have to agree about a block's committed filter; 1 believes whoever answers.
    :param worker: reads and writes the file; by default a thread of its own.
    :ivar config: to make peers with that are followed.
    :ivar peers: a :class:`~txsoter.service.PeerService`, which runs while the client does.
    :ivar store: the headers.
    :ivar scores: as given.
    """

    log = Logger()

    def __init__(
        self,
        config: PeerConfig,
        folder: Path | None = None,
        *,
        check_proofs: bool = True,
        scores: ScoreKeeper | None = None,
        retry_policy: Callable[[int], float] | None = None,
        timeout: float = TIMEOUT,
        filter_peers: int = NEEDED,
        worker: Worker | None = None,
    ) -> None:
        MultiService.__init__(self)
        clock = config.clock
        if clock is None:
            # not at the module's top: importing the reactor installs it
            from twisted.internet import reactor

            clock = IReactorTime(reactor)
        nothing = having_nothing()
        listeners = attrs.evolve(
            config.listeners,
            on_getblocks=config.listeners.on_getblocks or nothing.on_getblocks,
            on_getheaders=config.listeners.on_getheaders or nothing.on_getheaders,
            on_getdata=config.listeners.on_getdata or nothing.on_getdata,
        )
        self.config = config.replace(listeners=observed(listeners, [_PeerEvents(self)]))
        self.store = HeaderStore(config.network, clock, folder, check_proofs, worker)
        self.peers = PeerService(self.config, clock, retry_policy, observers=[] if scores is None else [scores])
        MultiService.addService(self, self.peers)
        self.scores = scores
        self._timeout = timeout
        self._now = monotonic(clock)
        self._wall = wall(clock)
        self._sync: HeaderSync | None = None
        self._meter = ProgressMeter(0, self._now())
        # those that serve blocks, in the order in which they became ready
        self._ready: dict[SoterPeerProtocol, None] = {}
        self._listeners: list[BlockListener] = []
        self._synced = Waiters()
        self._ticked = Waiters()
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = clock
        self._opening: Deferred[Any] = succeed(None)
        asked = FilterPeers(lambda: self.followed, self.punish, timeout)
        self._watching = Watching(asked, clock, lambda: config.random.getrandbits(32), filter_peers)

    # -- its life ------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open the folder, read the headers, then follow peers.

        :raises txsoter.state_file.StateError: if the folder cannot be used: not a folder, not to be written,
            another process's, or with the headers of another network.
        """
        self._opening = self.store.open()
        MultiService.startService(self)
        self._opening.addCallback(self._opened)
        self.when_synced().addCallbacks(
            lambda _: self._watching.start(self.index, self.store.set_filter_header), lambda _: None
        )

    def _opened(self, index: HeaderIndex) -> None:
        if not self.running:
            return
        now = self._now()
        self._meter = ProgressMeter(len(index), now)
        self._sync = HeaderSync(index, self._take, self._check, self._timeout)
        for peer in self._ready:
            self._sync.peer_ready(peer, peer.stats().max_height, now)
        self._ticker.start(TICK, now=False).addErrback(
            lambda failure: self.log.failure("header sync has stopped", failure)
        )
        self._drain()

    def stopService(self) -> Deferred[None]:
        """End the connections of its own peers, and write what is not written; fires once that is done."""
        self._watching.stop()
        ended = maybeDeferred(MultiService.stopService, self)
        self._sync = None
        if self._ticker.running:
            self._ticker.stop()
        self._ticked.fail(LocalError("the light client was stopped"))
        self._synced.fail(LocalError("the light client was stopped"))
        return Deferred.fromCoroutine(self._close(ended))

    async def _close(self, ended: Deferred[Any]) -> None:
        await ended
        await self._opening
        await self.store.close()

    # -- reading -------------------------------------------------------------------------------

    @property
    def index(self) -> HeaderIndex:
        """The headers.

        :raises LocalError: before they have been read.
        """
        return self.store.index

    @property
    def followed(self) -> list[SoterPeerProtocol]:
        """The peers that are followed, in the order in which they became ready."""
        return [] if self._sync is None else self._sync.peers

    @property
    def in_step(self) -> list[SoterPeerProtocol]:
        """Those of them that have told of no block that is not in the index."""
        return [] if self._sync is None else self._sync.in_step

    @property
    def progress(self) -> SyncProgress:
        """The progress of the sync, as of now."""
        sync = self._sync
        if sync is None:
            return self._meter.progress(-1, -1, False, 0, 0)
        self._meter.note(len(self.index), self._now())
        return self._meter.progress(
            self.index.max_height, sync.height, sync.is_synced, len(sync.peers), len(sync.in_step)
        )

    async def each_progress(self) -> AsyncGenerator[SyncProgress, None]:
        """Iterate over the progress, once a second, up to when a peer's lists have been followed to its tip.

        :return: an asynchronous iterator; it ends early when the client is stopped.
        """
        while True:
            progress = self.progress
            yield progress
            if progress.is_synced:
                return
            try:
                await self._ticked.add()
            except LocalError:
                return

    def when_synced(self) -> Deferred[None]:
        """Return a Deferred that fires once a peer's lists have been followed to its tip.

        It fails with :exc:`~txsoter.errors.LocalError` when the client is stopped before.
        """
        if self._sync is not None and self._sync.is_synced:
            return succeed(None)
        return self._synced.add()

    def listen_to_blocks(self, listener: BlockListener) -> Callable[[], None]:
        """Call ``listener`` with the record and the block of each block that is new from now on, parents first.

        Nothing is waited for; what it raises is logged.

        :return: ends that.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- what concerns a program ---------------------------------------------------------------

    def watch(self, scripts: Iterable[bytes] = (), outpoints: Outpoints = (), *, from_height: int = 0) -> Watch:
        """Iterate over the transactions that concern scripts and outputs: ``async for found in client.watch(scripts)``.

        Found in the blocks from a height on, then in new ones as they come, by the committed filters on which
        ``filter_peers`` peers agree; where nobody offers them, by bloom filters; where too few do, in whole blocks. An
        output that is found is watched as well: what spends it comes, too. Each block is searched once, whatever its
        colour, and no block ever leaves the DAG: ask :meth:`confirmations` again before relying on one. Blocks are
        searched when the loop asks for more, which is its back-pressure. End it by ``aclose()``.

        :param scripts: of outputs, whole.
        :param outpoints: transaction ids and positions of outputs. Give a mapping to their scripts if you can:
            committed filters know outputs by their scripts, and without them every block is fetched.
        :param from_height: of the first blocks to be searched; remember how far you came.
        :return: an asynchronous iterator over :class:`~txsoter.chain.WatchedTransaction`; ends with the client.
        :raises FieldError: for arguments that cannot be.
        :raises LocalError: without the libraries of the extra ``chain``.
        """
        return self._watching.watch(Watched(scripts, outpoints), from_height)

    def confirmations(self, block_hash: Hash) -> Deferred[Confirmations]:
        """Return how many blue blocks are above a block, and whether it is blue, in the DAG as it is now.

        :return: fires at once, or when all blocks have been coloured: a second for some five thousand, once. Fails with
            :exc:`~txsoter.errors.FieldError` for a block that is not known.
        """
        return Deferred.fromCoroutine(self._watching.confirmations(block_hash))

    # -- misbehaviour --------------------------------------------------------------------------

    def punish(self, peer: SoterPeerProtocol, points: float, reason: str) -> None:
        """Score a peer for what it did, and end the connection with it.

        :param points: shares of 100, from which its address is refused; from 50 on it is dialled no more.
        :param reason: for people, without text of the remote's.
        """
        self.log.info("{peer} is dropped: {reason}", peer=str(peer), reason=reason)
        if self.scores is not None:
            self.scores.add(peer, points, reason)
        if points >= GIVE_UP_FROM:
            self.peers.give_up(peer, reason)
        peer.disconnect(reason)

    # -- the sync ------------------------------------------------------------------------------

    def _check(self, block: Block) -> HeaderRecord:
        return self.store.index.check_block(block, self._wall())

    def _take(self, record: HeaderRecord, block: Block) -> None:
        self.store.add(record)
        self._watching.added(record)
        for listener in list(self._listeners):
            try:
                listener(record, block)
            except Exception:
                self.log.failure("a listener failed: {listener!r}", listener=listener)

    def _tick(self) -> None:
        assert self._sync is not None
        self._sync.tick(self._now())
        self._drain()
        self._meter.note(len(self.index), self._now())
        # those that wait for the next one meanwhile are not of this one
        ticked, self._ticked = self._ticked, Waiters()
        ticked.succeed(None)

    def _drain(self) -> None:
        """Do what the sync has decided."""
        sync = self._sync
        while sync is not None and sync.outbox:
            outbox, sync.outbox = sync.outbox, []
            for each in outbox:
                if isinstance(each, Drop):
                    self.punish(each.peer, each.points, each.reason)
                elif not each.peer.is_closing:
                    each.peer.send(each.message)
        if sync is not None and sync.is_synced and self._synced:
            self._synced.succeed(None)

    def peer_ready(self, peer: SoterPeerProtocol) -> None:
        """Follow a peer, if it serves blocks."""
        stats = peer.stats()
        if stats.services & Services.NETWORK:
            self._ready[peer] = None
            if self._sync is not None:
                self._sync.peer_ready(peer, stats.max_height, self._now())
                self._drain()
                self._watching.peers_changed()

    def peer_closed(self, peer: SoterPeerProtocol) -> None:
        """Follow a peer no more."""
        self._ready.pop(peer, None)
        if self._sync is not None:
            self._sync.peer_gone(peer, self._now())
            self._drain()
            self._watching.peers_changed()

    def message_received(self, peer: SoterPeerProtocol, message: Block | Headers | Inv | NotFound) -> None:
        """Take a message that may be about blocks."""
        sync = self._sync
        if sync is None:
            return
        now = self._now()
        if isinstance(message, Block):
            if self._watching.was_asked(peer, message):
                return
            sync.block_received(peer, message, now)
        elif isinstance(message, Inv):
            sync.inv_received(peer, message, now)
        elif isinstance(message, Headers):
            sync.headers_received(peer, message, now)
        else:
            sync.notfound_received(peer, message, now)
        if sync.outbox or (sync.is_synced and self._synced):
            self._drain()


class _PeerEvents(Observer):
    """Passes the events of peers on to a client."""

    def __init__(self, client: LightClient) -> None:
        self._client = client

    def on_ready(self, peer: SoterPeerProtocol) -> None:
        self._client.peer_ready(peer)

    def on_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        self._client.peer_closed(peer)

    def on_block(self, peer: SoterPeerProtocol, message: Block, payload: bytes) -> None:
        self._client.message_received(peer, message)

    def on_inv(self, peer: SoterPeerProtocol, message: Inv) -> None:
        self._client.message_received(peer, message)

    def on_headers(self, peer: SoterPeerProtocol, message: Headers) -> None:
        self._client.message_received(peer, message)

    def on_notfound(self, peer: SoterPeerProtocol, message: NotFound) -> None:
        self._client.message_received(peer, message)
