"""What must hold of every peer in every simulation. Each returns what is wrong, in words; nothing when all is well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf

from txsoter import PeerConfig
from txsoter.core.memory_budget import GRAIN
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.state import State
from txsoter.core.stats import PeerStats
from txsoter.test.simulation.ledger import ANNOUNCED, KNOWN, QUEUED, Side
from txsoter.wire import InventoryVector
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["announcements", "bounds", "budget", "completeness", "confirmation", "liveness", "order"]

TRANSPORT_BUFFER = 64 * 1024
"""Past which Twisted's TCP pauses its producer, in bytes; one piece may go over it."""

LAG = GRAIN + GRAIN // HEADER_SIZE * MESSAGE_OVERHEAD
"""How far a connection's account may be behind, in bytes: some messages of the smallest kind."""

HANDSHAKE = 1024
"""More than our own version, verack and a farewell, which do not count against limits, in bytes."""

Entry = tuple[str, InventoryVector, bool, float]


def order(side: Side) -> Iterator[str]:
    """What was sent arrives once, whole and in order: what the link has delivered, and nothing else."""
    written = [key for _, key in side.frames]
    accepted = [sent for sent in side.sent if not sent.refused]
    ours = [key for key in written if key in side.keys]
    if ours != [sent.key for sent in accepted[: len(ours)]]:
        yield f"{side} wrote other messages than it was told to send: {_difference(ours, [s.key for s in accepted])}"
    for number, sent in enumerate(accepted):
        if sent.confirmed and number >= len(ours):
            yield f"{side} confirmed a message that it has not written: {_shown(sent.key)}"
            break
    if side.wrote is not None:
        told = [(len_of(key), command_of(key)) for key in written]
        if [command for _, command in side.wrote] != [command for _, command in told]:
            yield f"{side}: on_write was told of other messages than were written"
        elif any(one != other for one, other in zip(side.wrote, told, strict=True) if other[1] != "version"):
            yield f"{side}: on_write was told of other sizes than were written"
    begins = [command_of(key) for key in written[:2]]
    # unless the remote's version was refused
    if begins != ["version", "verack"][: len(begins)] and "reject" not in begins:
        yield f"{side} began with {' and '.join(begins)}"
    yield from _heard(side)


def _heard(side: Side) -> Iterator[str]:
    other = side.other
    delivered = [] if other is None else other.delivered_to(side)
    read = side.heard if side.read is None else side.read
    if read != delivered[: len(read)]:
        yield f"{side} read other messages than were delivered to it: {_difference(read, delivered)}"
    if side.heard != read[: len(side.heard)] or len(read) - len(side.heard) > 1:
        yield f"{side}: listeners heard other messages than on_read: {_difference(side.heard, read)}"


def liveness(side: Side, stats: PeerStats) -> Iterator[str]:
    """Of a peer that is open, idle and free to read: it has read whatever was delivered."""
    peer, other = side.peer, side.other
    if peer is None or other is None or peer.is_closing or side.busy:
        return
    if side.ledger.now() <= _reads_on_at(side, stats) + 1e-3:
        return
    read, delivered = side.heard if side.read is None else side.read, other.delivered_to(side)
    if len(read) != len(delivered):
        yield f"{side} has read {len(read)} of the {len(delivered)} messages that were delivered to it"


def _reads_on_at(side: Side, stats: PeerStats) -> float:
    """Return the time from which nothing may keep it from reading: neither its full queue nor its rate limit."""
    config, times = side.config, [0.0]
    if stats.queue_bytes > config.soft_queue_limit:
        if config.read_on_after is None or stats.last_send is None:
            return inf
        # as the wall clock has it, which may have been set
        age = side.ledger.wall() - stats.last_send
        times.append(side.ledger.now() - age + config.read_on_after)
    if config.max_messages_per_second is not None:
        times.append(side.free_since + 1 / config.max_messages_per_second)
    if config.max_bytes_per_second is not None:
        largest = 0 if side.other is None else side.other.largest
        times.append(side.free_since + largest / config.max_bytes_per_second)
    return max(times)


def confirmation(side: Side, stats: PeerStats) -> Iterator[str]:
    """Of a ready peer whose transport has nothing left: it has written everything, and everything is confirmed."""
    peer, end = side.peer, side.end
    if peer is None or end is None or peer.state is not State.READY:
        return
    if side.owes_ready:
        yield f"{side} is ready, and {side.owes_ready} when_ready() do not know it"
    if end.waiting:
        return
    if stats.queue_length:
        yield f"{side} has {stats.queue_length} messages that nothing keeps from being written"
    owed = [sent for sent in side.sent if sent.owed]
    if owed:
        yield f"{side} has written everything, and has not confirmed {len(owed)} messages: {_shown(owed[0].key)}"


def bounds(side: Side, stats: PeerStats) -> Iterator[str]:
    """No queue or buffer of a connection is larger than its config allows."""
    config, end = side.config, side.end
    if end is None:
        return
    # one that is just over the limit, and one that is not whole yet
    largest = 0 if side.other is None else side.other.largest
    for name, size, limit in (
        ("bytes in its send queue", stats.queue_bytes, config.hard_queue_limit + HANDSHAKE),
        ("bytes with its transport", end.waiting, 2 * TRANSPORT_BUFFER),
        ("bytes read", stats.buffered_bytes, config.lookahead_limit + 2 * largest + TRANSPORT_BUFFER),
        ("known vectors", stats.known_inventory, config.max_known_inventory),
        # transactions, and blocks
        ("vectors to announce", stats.queued_inventory, 2 * config.max_trickle_queue),
    ):
        if size > limit:
            yield f"{side} has {size} {name}, the limit is {limit}"


def budget(config: PeerConfig, sides: Mapping[Side, PeerStats]) -> Iterator[str]:
    """All connections of a config together hold what they have accounted for, and no more than is allowed."""
    memory = config.memory
    held = 0
    for side, stats in sides.items():
        least = stats.buffered_bytes + stats.queue_bytes + MESSAGE_OVERHEAD * stats.queue_length
        if stats.held_bytes < least:
            yield f"{side} holds {least} bytes, and says {stats.held_bytes}"
        held += stats.held_bytes
    if abs(held - memory.total) > len(sides) * LAG:
        yield f"holds {held} bytes, and has accounted for {memory.total}"
    if memory.limit is not None and memory.total > memory.limit:
        yield f"holds {memory.total} bytes, over its budget of {memory.limit}"


def announcements(side: Side) -> Iterator[str]:
    """What the remote is known to have is not announced to it, be it that it told us or that we told it."""
    entries = side.inventory
    for vector, indices in _by_vector(entries).items():
        if not any(entries[index][0] == ANNOUNCED for index in indices):
            continue
        known_since: int | None = None
        queued_at, excuses, blocks_due = 0, 0, 0
        for index in indices:
            kind, _, flag, _ = entries[index]
            remembered = known_since is not None and _remembers(side, known_since, index)
            if kind == QUEUED:
                queued_at = index
                excuses += flag
                blocks_due += flag or not remembered
            elif kind == KNOWN:
                # a block is looked up when it is queued, anything else once more when its trickle comes
                known_since = index if flag or vector.is_block else known_since
            elif vector.is_block:
                blocks_due -= 1
                if blocks_due < 0:
                    yield f"{side} announced {vector} once too often, or although it is known"
            else:
                if remembered and not excuses:
                    yield f"{side} announced {vector}, which the remote is known to have"
                excuses -= remembered and bool(excuses)
                # it became known when it left the queue, which was after it had been put there
                known_since = queued_at


def _remembers(side: Side, since: int, until: int) -> bool:
    """Whether fewer others than are remembered can have become known meanwhile."""
    others = {vector for _, vector, _, _ in side.inventory[since + 1 : until]} - {side.inventory[until][1]}
    most: int = side.config.max_known_inventory
    return len(others) < most


def completeness(side: Side) -> Iterator[str]:
    """Of an open connection with nothing to send: whatever was queued an interval ago and is not known is announced."""
    entries, config, peer = side.inventory, side.config, side.peer
    if peer is None or peer.state is not State.READY or peer.stats().queue_length:
        return
    if len({vector for _, vector, _, _ in entries}) > config.max_trickle_queue:
        # some may have been pushed out
        return
    until = side.ledger.now() - (config.trickle_interval or 0.0) - 0.001
    for vector, indices in _by_vector(entries).items():
        kinds = {entries[index][0] for index in indices}
        if QUEUED not in kinds or kinds & {KNOWN, ANNOUNCED}:
            continue
        if entries[indices[0]][3] < until:
            yield f"{side} never announced {vector}"


def _by_vector(entries: Sequence[Entry]) -> dict[InventoryVector, list[int]]:
    found: dict[InventoryVector, list[int]] = {}
    for index, (_, vector, _, _) in enumerate(entries):
        found.setdefault(vector, []).append(index)
    return found


def len_of(key: bytes) -> int:
    """Bytes of the frame; of a version's there is no length."""
    return 24 + int.from_bytes(key[16:20], "little") if len(key) == 24 else 0


def command_of(key: bytes) -> str:
    """The command of a frame."""
    return (key if len(key) == 12 else key[4:16]).rstrip(b"\0").decode()


def _shown(key: bytes) -> str:
    return f"{command_of(key)} of {len_of(key)} bytes"


def _difference(found: Sequence[bytes], expected: Sequence[bytes]) -> str:
    """Where two lists part."""
    at = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None)
    at = min(len(found), len(expected)) if at is None else at
    parts = [f"{' '.join(map(_shown, each[at : at + 3])) or 'nothing'} (of {len(each)})" for each in (found, expected)]
    return f"from number {at} on {parts[0]} instead of {parts[1]}"
