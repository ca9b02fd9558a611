"""The map of a crawl's store, and answers about one address, whether or not a process uses the store."""

from __future__ import annotations

from pathlib import Path
from random import Random

from txsoter.crawl.atlas import Atlas
from txsoter.crawl.crawl_store import read_crawl
from txsoter.crawl.map_of import explain, make_map
from txsoter.crawl.network_map import NetworkMap
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.stored_rows import restore
from txsoter.service.book.places import Place

__all__ = ["StoredCrawl"]


class StoredCrawl:
    """The contents of a folder's store.

    :param folder: as given to ``--state``.
    :param now: wall-clock time, seconds since 1970.
    :ivar network: name of the network.
    :raises CrawlError: when there is none, or it cannot be read.
    """

    def __init__(self, folder: Path, now: float) -> None:
        stored = read_crawl(folder)
        self.network = stored.network
        self._now = now
        # nothing is dialled or dropped here, so that it does not matter which rules the crawl has
        self._atlas = Atlas(CrawlRules(), Random(0))
        restore(self._atlas, stored, 0.0, now)

    def map(self) -> NetworkMap:
        """Return the map."""
        return make_map(self._atlas, self.network, self._now, lambda time: time)

    def why(self, place: Place) -> str:
        """Return why an address is listed or not, in words."""
        return explain(self._atlas, place, self._now)
