"""Reading and the send queue: what is taken of a full queue, and how those are told whose messages are dropped."""

from __future__ import annotations

import warnings

from twisted.internet.defer import Deferred

from txsoter.errors import ConnectionClosed
from txsoter.test.peer.support import PeerTestCase
from txsoter.wire import Ping, Unknown

BIG = Unknown("filler", bytes(300_000))


class FullQueueTests(PeerTestCase):
    def test_reads_on_below_the_soft_limit_although_the_transport_is_full_again(self) -> None:
        """Past the soft limit we stop reading; below it we read, whether or not the transport has had enough."""
        pair = self.scripted(soft_queue_limit=100_000)
        pair.transport.takes = False
        pair.peer.send(BIG)
        self.assertGreater(pair.peer.stats().queue_bytes, 100_000)
        self.assertFalse(pair.transport.reading)
        pair.transport.take()
        # more has gone to the transport, which is full again
        self.assertGreater(pair.transport.waiting, pair.transport.BUFFER)
        self.assertTrue(0 < pair.peer.stats().queue_bytes < 100_000)
        self.assertTrue(pair.transport.reading)
        pair.say(Ping(1))
        self.assertEqual(pair.peer.stats().received["ping"].messages, 1)

    def test_dropped_without_a_warning(self) -> None:
        """send()'s Deferred fails with the close reason, by means that no version of Twisted warns of."""
        pair = self.scripted()
        pair.transport.takes = False
        ignored, watched = pair.peer.send(BIG), pair.peer.send(BIG)
        failures: Deferred[object] = watched.addErrback(lambda failure: failure.trap(ConnectionClosed))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pair.peer.disconnect()
        self.assertIs(self.successResultOf(failures), ConnectionClosed)
        self.failureResultOf(ignored, ConnectionClosed)
