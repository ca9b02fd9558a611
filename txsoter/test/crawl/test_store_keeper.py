"""A crawl that is stopped, killed or without room on its disk, and goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import Any
from unittest.mock import patch

from twisted.logger import LogLevel

from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.crawl_store import FILE, CrawlDamaged, CrawlError, CrawlStore, read_crawl, read_totals
from txsoter.crawl.rules import CrawlRules
from txsoter.networks import REGTEST, SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.test.crawl.nodes import Land
from txsoter.test.programs import ROOT
from txsoter.test.service.book.resolver import Resolver, v4
from txsoter.test.service.book.support import AtOnce, FolderCase, Held, LoggingCase

KILLS = int(os.environ.get("TXSOTER_KILLS", "3"))


class KeeperCase(FolderCase, LoggingCase):
    def setUp(self) -> None:
        FolderCase.setUp(self)
        LoggingCase.setUp(self)
        self.land = Land()
        self.addCleanup(self.land.close)
        self.nodes = self.land.nodes(8)

    def begin(self, **more: Any) -> Any:
        """A crawl that goes on for ever, from the first node."""
        given = {"once": False, "state": self.folder, "worker": AtOnce(), **more}
        return self.land.begin([self.nodes[0].place], **given)

    def kept(self) -> int:
        """Addresses on the disk."""
        return len(read_crawl(self.folder).nodes)

    def logged(self, *levels: LogLevel) -> list[str]:
        wanted = levels or (LogLevel.warn, LogLevel.error, LogLevel.critical)
        own = [each for each in self.events if str(each.get("log_namespace", "")).startswith("txsoter.crawl")]
        return [str(each["log_format"]).format(**each) for each in own if each["log_level"] in wanted]


class StopTests(KeeperCase):
    def test_goes_on_after_a_stop(self) -> None:
        """With the same map, and without visiting everybody at once."""
        service = self.begin()
        self.land.network.run(30)
        before = service.map()
        self.land.stop()
        asked = [node.asked[1] for node in self.nodes]
        service = self.begin()
        self.land.network.run(30)
        self.assertEqual({node.name for node in service.map().reachable}, {node.name for node in before.reachable})
        edges = [
            {(edge.source, edge.target, edge.first_seen) for edge in each.edges} for each in (service.map(), before)
        ]
        self.assertEqual(edges[0], edges[1])
        self.assertTrue(all(edge.confirmed for edge in service.map().edges))
        more = [node.asked[1] - each for node, each in zip(self.nodes, asked, strict=True)]
        # but for the one that is named
        self.assertEqual(more, [1, 0, 0, 0, 0, 0, 0, 0])
        self.assertEqual(self.logged(), [])

    def test_written_after_five_seconds(self) -> None:
        self.begin()
        self.land.network.run(4)
        self.assertEqual(self.kept(), 0)
        self.land.network.run(3)
        self.assertEqual(self.kept(), 8)
        self.land.network.run(3600)
        self.assertTrue(read_totals(self.folder))

    def test_stopped_while_it_is_read(self) -> None:
        """Nothing begins after that, and nothing is left."""
        worker = Held()
        service = self.begin(worker=worker)
        self.land.network.run(0.1)
        stopped = service.stopService()
        self.assertNoResult(stopped)
        worker.work()
        self.successResultOf(stopped)
        self.assertEqual((service.visits, worker.stopped), (0, 1))
        self.assertEqual(self.land.network.leftovers()[8:], [])
        self.land.service = None

    def test_stopped_before_it_is_read(self) -> None:
        service = self.begin(worker=Held())
        self.successResultOf(service.stopService())
        self.land.service = None
        # the folder is free again
        CrawlStore(self.folder, self.land.here.config.network, lambda: 0.0).close()

    def test_a_folder_in_use(self) -> None:
        first = self.begin()
        self.assertRaises(CrawlError, self.begin)
        self.land.service = first
        self.land.network.run(30)
        self.assertEqual(len(first.map().reachable), 8)

    def test_of_another_network(self) -> None:
        CrawlStore(self.folder, SIMNET, lambda: 0.0).close()
        self.assertRaises(CrawlError, self.begin)
        self.land.service = None


class TroubleTests(KeeperCase):
    def test_a_full_disk(self) -> None:
        """Said once, tried again, nothing lost but counts of visits."""
        self.begin()
        with patch.object(CrawlStore, "write", side_effect=sqlite3.OperationalError("disk full")):
            self.land.network.run(200)
        self.assertEqual(self.logged(), [f"{self.folder / FILE} cannot be written, for now: disk full"])
        self.assertEqual(self.kept(), 0)
        self.land.network.run(61)
        self.assertEqual(self.kept(), 8)
        self.assertIn("can be written again", self.logged(LogLevel.info)[-1])
        self.assertEqual(len(read_crawl(self.folder).claims), 48)

    def test_damaged_while_it_is_used(self) -> None:
        """The new file gets all that is known."""
        self.begin()
        self.land.network.run(10)
        write, damage = CrawlStore.write, [CrawlDamaged(self.folder / "aside", "malformed")]

        def damaging(store: CrawlStore, batch: Any) -> None:
            if damage:
                with sqlite3.connect(store.path) as connection:
                    connection.execute("DELETE FROM node")
                    connection.execute("DELETE FROM claim")
                raise damage.pop()
            write(store, batch)

        with patch.object(CrawlStore, "write", damaging):
            self.land.network.run(700)
        self.assertEqual((self.kept(), len(read_crawl(self.folder).claims)), (8, 48))
        (warning,) = self.logged()
        self.assertIn("the store of the crawl was damaged (malformed): it is now ", warning)

    def test_a_disk_that_damages_everything(self) -> None:
        """It is not tried without end."""
        self.begin()
        damaged = CrawlDamaged(self.folder / "aside", "malformed")
        with patch.object(CrawlStore, "write", side_effect=damaged) as write:
            self.land.network.run(6)
        self.assertEqual(write.call_count, 2)

    def test_damaged_before(self) -> None:
        self.folder.mkdir()
        (self.folder / FILE).write_bytes(b"nothing of ours" * 500)
        service = self.begin()
        self.land.network.run(30)
        self.assertEqual(len(service.map().reachable), 8)
        self.assertIn("was damaged", self.logged()[0])

    def test_not_readable(self) -> None:
        """The crawl goes on in memory."""
        with patch.object(CrawlStore, "load", side_effect=sqlite3.OperationalError("disk I/O error")):
            service = self.begin()
            self.land.network.run(30)
        self.assertEqual(len(service.map().reachable), 8)
        self.assertIn("the crawl is kept in memory only", self.logged()[0])

    def test_not_closed(self) -> None:
        self.begin()
        self.land.network.run(1)
        with patch.object(CrawlStore, "close", side_effect=OSError("no")):
            self.land.stop()
        self.assertEqual(self.logged(), ["the store of the crawl was not closed: no"])


# an atlas of many addresses that changes all the time, written as fast as can be by its own thread on the real reactor
PROGRAM = """
import signal, sys
from pathlib import Path
from random import Random
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from txsoter.crawl.atlas import Atlas
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.store_keeper import StoreKeeper
from txsoter.networks import TESTNET1
from txsoter.service.book.book_time import BookTime
from txsoter.service.book.worker import OwnThread
from txsoter.test.crawl.visits import answered, internet

signal.alarm(60)
time = BookTime(reactor)
atlas = Atlas(CrawlRules(), Random(1))
keeper = StoreKeeper(atlas, Path(sys.argv[1]), TESTNET1, time, reactor, OwnThread(reactor, "crawl"))

async def run():
    keeper.open()
    await keeper.load()
    number = len(atlas.candidates)
    print("committed", number, flush=True)
    while True:
        place = internet(number)
        atlas.name(place, time.now())
        atlas.schedule.begin(place)
        others = [internet(each) for each in range(max(0, number - 20), number)]
        atlas.visited((answered(place, told=[place], outbound=others),), time.now())
        number += 1
        if number % 20 == 0:
            await keeper.flush()
            print("committed", number, flush=True)

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
reactor.run()
"""


class KillTests(FolderCase):
    def test_kill_9(self) -> None:
        """At any moment: all that was committed is there, with its claims, and the next process goes on."""
        for turn in range(KILLS):
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.folder)], stdout=subprocess.PIPE, cwd=ROOT, text=True
            )
            assert process.stdout is not None
            committed = 0
            for line, _ in zip(process.stdout, range(3 + 5 * turn), strict=False):
                committed = int(line.split()[1])
            process.send_signal(signal.SIGKILL)
            left = process.stdout.read().split()
            process.wait()
            process.stdout.close()
            committed = int(left[-1]) if len(left) > 1 and len(left) % 2 == 0 else committed
            self.assertGreater(committed, 20)
            stored = read_crawl(self.folder)
            self.assertGreaterEqual(len(stored.nodes), committed)
            speakers = {(row.ip, row.port) for row in stored.claims}
            known = {(row.ip, row.port) for row in stored.nodes if row.said_at is not None}
            self.assertLessEqual(len(known - speakers), 1, "the first one has dialled nobody")


class NamesTests(KeeperCase):
    """Nodes that are named by host names."""

    def setUp(self) -> None:
        super().setUp()
        self.resolver = Resolver()
        self.land.network.clock.nameResolver = self.resolver  # type: ignore[attr-defined]

    def named(self, *hosts: str, once: bool = True, resolves: bool = True) -> CrawlService:
        config = PeerConfig(network=REGTEST, clock=self.land.network.clock, allow_self_connections=True)
        service = self.land.service = CrawlService(
            config,
            CrawlRules(once=once, allow_unroutable=True),
            named=[(host, 18444) for host in hosts],
            endpoint_for=self.land.endpoint_for,
            resolves=resolves,
            reactor=self.land.network.clock,
        )
        service.startService()
        return service

    def test_looked_up(self) -> None:
        """A single crawl waits for the answers, and does not ask twice."""
        service = self.named("one.example", "two.example")
        self.resolver.answer("one.example", v4(self.nodes[0].place.host))
        self.land.network.run(1)
        self.assertEqual(service.visits, 0)
        self.resolver.answer("two.example")
        self.land.network.wait_for(service.when_finished())
        self.assertEqual(len(service.map().reachable), 8)
        self.assertEqual(self.resolver.asked, ["one.example", "two.example"])
        self.assertEqual(self.logged(), ["cannot be resolved, for now: two.example"])

    def test_looked_up_again(self) -> None:
        """One that goes on does not wait, and asks again, less and less often."""
        service = self.named("one.example", once=False)
        for number in range(3):
            self.resolver.answer("one.example")
            self.land.network.run(60 * 2**number + 1)
        self.resolver.answer("one.example", v4(self.nodes[0].place.host))
        self.land.network.run(10)
        self.assertEqual(len(service.map().reachable), 8)
        self.land.network.run(7200)
        self.assertEqual(len(self.resolver.asked), 4)

    def test_stopped_meanwhile(self) -> None:
        self.named("one.example", once=False)
        self.resolver.answer("one.example")
        self.land.network.run(1)
        self.land.stop()
        self.named("one.example")
        self.land.stop()
        self.resolver.answer("one.example", v4(self.nodes[0].place.host))
        self.land.network.run(10)
        self.assertEqual(self.nodes[0].asked, [0, 0])

    def test_not_beside_a_proxy(self) -> None:
        service = self.named("one.example", resolves=False)
        self.land.network.wait_for(service.when_finished())
        self.assertEqual((service.visits, self.resolver.asked), (0, []))
        self.assertEqual(self.logged(), ["not looked up beside a proxy: one.example"])

    def test_no_ip(self) -> None:
        service = self.begin()
        with self.assertRaisesRegex(ValueError, "must be an IPv4 or IPv6 address"):
            service.why("node.example", 1)
        self.land.network.run(1)
        self.assertEqual(service.why("10.9.9.9", 1), "nobody has told of it")
