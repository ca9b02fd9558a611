"""An address book: whom a peer could dial, how that went, and what is told to others.

::

    book = AddressBook(TESTNET1, folder=Path("state"))
    keeper = BookKeeper(book)
    peers = PeerService(config, observers=[keeper])
    outbound = OutboundService(peers, keeper, 8, endpoints_like(reactor))

All of them are services, and are to be started in this order and stopped in the reverse.
"""

from txsoter.service.book.book import AddressBook
from txsoter.service.book.keeper import BookKeeper
from txsoter.service.book.known import Known
from txsoter.service.book.listing import book_json, book_table
from txsoter.service.book.places import Place, place_at
from txsoter.service.book.seeds import SeedService
from txsoter.service.book.store import BookDamaged, BookError, Kept, read_book

__all__ = [
    "AddressBook",
    "BookDamaged",
    "BookError",
    "BookKeeper",
    "Kept",
    "Known",
    "Place",
    "SeedService",
    "book_json",
    "book_table",
    "place_at",
    "read_book",
]
