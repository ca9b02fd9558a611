"""What the tests of AddressBook share."""

from __future__ import annotations

from random import Random
from typing import Any

from txsoter.networks import TESTNET1
from txsoter.service.book import AddressBook, read_book
from txsoter.service.book.places import Place
from txsoter.test.service.book.support import (
    AtOnce,
    FolderCase,
    LoggingCase,
    world,
)

__all__ = ["BookCase"]


class BookCase(LoggingCase, FolderCase):
    """A book with a folder, which must leave nothing behind."""

    def setUp(self) -> None:
        LoggingCase.setUp(self)
        FolderCase.setUp(self)
        self.clock = world()
        self.worker = AtOnce()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def book(self, network: Any = TESTNET1, **arguments: Any) -> AddressBook:
        settings = {"folder": self.folder, "worker": self.worker, "random": Random(1), **arguments}
        return AddressBook(network, self.clock, **settings)

    def started(self, **arguments: Any) -> AddressBook:
        book = self.book(**arguments)
        book.startService()
        self.clock.advance(0)
        self.assertTrue(book.is_loaded)
        return book

    def stop(self, book: AddressBook) -> None:
        self.successResultOf(book.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def on_disk(self) -> set[Place]:
        """The addresses in the file."""
        return {Place(row.ip, row.port) for row in read_book(self.folder).rows}
