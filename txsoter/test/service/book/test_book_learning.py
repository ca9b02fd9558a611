"""AddressBook: what goes in and what is told; without a file; and its thread."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import patch

from txsoter.errors import FieldError
from txsoter.networks import REGTEST, SIMNET, TESTNET1
from txsoter.service.book import AddressBook, read_book
from txsoter.service.book.store import Store
from txsoter.service.book.worker import OwnThread
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.service.book.cases import BookCase
from txsoter.test.service.book.support import (
    DAY,
    NOW,
    SOURCE,
    address,
    at,
    ip,
)
from txsoter.wire import NetAddress


class MemoryTests(BookCase):
    """Without a folder everything is in memory."""

    def test_in_memory(self) -> None:
        """Nothing is read, written or timed; it is kept as long as the object."""
        with patch.object(self.worker, "run", side_effect=AssertionError):
            book = self.book(folder=None)
            self.assertFalse(book.is_loaded)
            book.startService()
            self.assertTrue(book.is_loaded)
            book.succeeded(at("1.2.3.4"), 1)
            self.successResultOf(book.flush())
            self.stop(book)
            book.startService()
            self.assertEqual(len(book), 1)
            self.stop(book)
        self.assertFalse(self.folder.exists())


class LearnTests(BookCase):
    """What goes in, and what is told."""

    def memory(self, network: Any = TESTNET1, **arguments: Any) -> AddressBook:
        book = self.book(network, folder=None, **arguments)
        book.startService()
        return book

    def test_simnet(self) -> None:
        """On simnet nothing is learned or told: only who was named is known."""
        book = self.memory(SIMNET)
        self.assertFalse(book.learns)
        book.hear([address("1.2.3.4")], SOURCE)
        book.succeeded(at("1.2.3.4"), 1)
        self.assertEqual(len(book), 0)
        book.name("1.3.3.4", 18555)
        book.succeeded(at("1.3.3.4", 18555), 1)
        self.assertEqual(dict(book.sizes()), {"tried": 1, "new": 0})
        self.assertEqual(book.sample(), [])
        for network in (TESTNET1, REGTEST):
            self.assertTrue(self.memory(network).learns)

    def test_unroutable(self) -> None:
        """Loopback is known only where that is allowed; naming it where it is not is an error that says so."""
        book = self.memory()
        book.hear([address("127.0.0.1")], SOURCE)
        error = self.assertRaises(FieldError, book.name, "127.0.0.1", 5070)
        self.assertIn("an address of the internet", str(error))
        self.assertEqual(len(book), 0)
        rig = self.memory(allow_unroutable=True)
        rig.hear([address("127.0.0.1")], SOURCE)
        rig.name("127.0.0.1", 22)
        self.assertEqual(len(rig), 2)
        self.assertRaises(FieldError, rig.name, "localhost", 5070)

    def test_told(self) -> None:
        """What is told has the services, and the time that we were told."""
        book = self.memory()
        book.hear([address("1.2.3.4", 6000, NOW - 3600, 13)], SOURCE)
        self.assertEqual(book.sample(), [NetAddress(13, "1.2.3.4", 6000, NOW - 3 * 3600)])

    def test_fresh(self) -> None:
        """How many there are that are not stale."""
        book = self.memory()
        book.hear([address("1.2.3.4"), address("1.3.3.4", timestamp=NOW - 40 * DAY)], SOURCE)
        self.assertEqual((len(book), book.fresh()), (2, 1))

    def test_picked(self) -> None:
        """What is picked can be left out; of one left out nothing is picked."""
        book = self.memory()
        book.hear([address("1.2.3.4"), address("1.3.3.4")], SOURCE)
        known = book.pick(lambda each: each.place == at("1.2.3.4"))
        assert known is not None
        self.assertEqual(known.place, at("1.3.3.4"))
        self.assertIsNone(book.pick(lambda each: True))

    def test_default_port(self) -> None:
        """A network whose port is below 1024 may have peers there."""
        book = self.memory(type(TESTNET1)(name="low", magic=5, default_port=443, genesis_hash=TESTNET1.genesis_hash))
        book.hear([address("1.2.3.4", 443), address("1.3.3.4", 444)], ip("1.1.1.1"))
        self.assertEqual(len(book), 1)


@over_sockets()
async def test_thread_of_its_own(tmp_path: Any) -> None:
    """The file is read and written by one thread, which is not the reactor's nor of its pool, and which ends."""
    threads: list[threading.Thread] = []
    load, write, close = Store.load, Store.write, Store.close

    def noting(function: Any) -> Any:
        def noted(*args: Any) -> Any:
            threads.append(threading.current_thread())
            return function(*args)

        return noted

    reactor = real_reactor()
    with (
        patch.object(Store, "load", noting(load)),
        patch.object(Store, "write", noting(write)),
        patch.object(Store, "close", noting(close)),
    ):
        for known in (0, 1):
            book = AddressBook(TESTNET1, reactor, tmp_path)
            book.startService()
            await book.when_loaded()
            assert len(book) == known
            book.succeeded(at("1.2.3.4"), 1)
            await book.flush()
            assert len(read_book(tmp_path).rows) == 1
            await book.stopService()
            assert len(threads) == 3
            assert len(set(threads)) == 1
            assert threads[0] is not threading.main_thread()
            assert threads[0] not in reactor.getThreadPool().threads
            assert not threads[0].is_alive()
            threads.clear()


@over_sockets()
async def test_thread_that_is_forgotten(tmp_path: Any) -> None:
    """A thread that nobody stops ends with the reactor, or the process would not."""
    triggers: list[Any] = []
    reactor = real_reactor()
    with patch.object(reactor, "addSystemEventTrigger", lambda *arguments: triggers.append(arguments)):
        worker = OwnThread(reactor, "test")
        thread = await worker.run(threading.current_thread)
    assert await worker.run(threading.current_thread) is thread
    ((phase, event, call),) = triggers
    assert (phase, event) == ("after", "shutdown")
    call()
    assert not thread.is_alive()


def test_default_clock() -> None:
    """Without a clock the reactor tells the time."""
    assert AddressBook(TESTNET1).clock is real_reactor()
