"""Announcing inventory: when, and as far as the send queue has room for it."""

from __future__ import annotations

from txsoter.core.announcer import SMALLEST_ANNOUNCEMENT, vectors_within
from txsoter.core.channel import Channel
from txsoter.core.state import State
from txsoter.wire import InventoryVector

__all__ = ["announce", "announce_if_room", "queue_inventory", "trickle"]


def queue_inventory(channel: Channel, vector: InventoryVector, force: bool) -> None:
    """Announce a block at once, and anything else with the next trickle.

    Before the remote is ready they wait for it; without a connection they are dropped.
    """
    announcer = channel.announcer
    if channel.state is State.CONNECTING or channel.state.is_closing:
        return
    announcer.add(vector, force)
    if channel.state is not State.READY:
        return
    if vector.is_block:
        _announce_blocks(channel)
    elif announcer.trickles_at_once:
        trickle(channel)
    elif announcer.begin(channel.now):
        channel.rearm = True


def announce(channel: Channel) -> None:
    """Announce everything that waits."""
    _announce_blocks(channel)
    trickle(channel)


def announce_if_room(channel: Channel) -> None:
    """Announce what waited for room in the send queue, if there is some now."""
    if channel.announcer.waits_for_room and channel.state is State.READY and _has_room(channel):
        channel.announcer.waits_for_room = False
        announce(channel)


def trickle(channel: Channel) -> None:
    """Announce what is trickled. What the queue has no room for must not be marked as known."""
    announcer = channel.announcer
    while announcer.has_trickled and _has_room(channel):
        room = channel.config.hard_queue_limit - channel.queue.waiting
        announcement = announcer.next_trickled(vectors_within(room))
        if announcement is not None:
            channel.send_own(announcement)
    if announcer.has_trickled:
        announcer.waits_for_room = True
    announcer.trickled(channel.now)


def _announce_blocks(channel: Channel) -> None:
    announcer = channel.announcer
    while announcer.has_blocks and _has_room(channel):
        announcement = announcer.next_block()
        if announcement is not None:
            channel.send_own(announcement)
    if announcer.has_blocks:
        announcer.waits_for_room = True


def _has_room(channel: Channel) -> bool:
    """Tell whether another announcement may be queued."""
    waiting, config = channel.queue.waiting, channel.config
    return waiting + SMALLEST_ANNOUNCEMENT <= config.hard_queue_limit and waiting <= config.soft_queue_limit
