"""A keeper of an address book in memory, and peers that it observes, for its tests."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress

from txsoter import Listeners, PeerConfig
from txsoter.networks import TESTNET1, Network
from txsoter.service import observed
from txsoter.service.book import AddressBook, BookKeeper
from txsoter.service.book.places import Place
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import at, world
from txsoter.testing import ScriptedPair, remote_version, scripted
from txsoter.wire import GetAddr, Message, NetAddress, VerAck

__all__ = ["KeeperCase"]

REMOTE = IPv4Address("TCP", "77.7.7.7", 5070)


class KeeperCase(TrialCase):
    """A keeper with a book in memory, and peers; nothing must be left of them."""

    network: Network = TESTNET1

    def setUp(self) -> None:
        self.clock = world()
        self.book = AddressBook(self.network, self.clock, random=Random(1))
        self.book.startService()
        self.keeper = self.made()
        self.pairs: list[ScriptedPair] = []
        self.addCleanup(self.end)

    def made(self, advertise: Iterable[NetAddress] = ()) -> BookKeeper:
        return BookKeeper(self.book, advertise, Random(1))

    def peer(
        self, inbound: bool = False, remote: IAddress | None = REMOTE, ready: bool = True, **settings: Any
    ) -> ScriptedPair:
        """A peer of the keeper's, in the end ready."""
        listeners = observed(Listeners(), [self.keeper])
        config = PeerConfig(network=self.network, random=Random(1), listeners=listeners, **settings)
        pair = scripted(config, inbound=inbound, handshake=False, clock=self.clock, remote_address=remote)
        self.pairs.append(pair)
        if ready:
            self.shake_hands(pair)
        return pair

    def shake_hands(self, pair: ScriptedPair, **version: object) -> None:
        fields = {"genesis_hash": self.network.genesis_hash, "services": 9, **version}
        pair.say(remote_version(**fields), VerAck())

    def end(self) -> None:
        for pair in self.pairs:
            pair.peer.disconnect()
            pair.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.keeper._sessions, self.keeper._dialled), ({}, {}))
        self.assertEqual(self.flushLoggedErrors(), [])

    def answers(self, pair: ScriptedPair, *questions: Message) -> list[Message]:
        """What a remote hears on what it says, but for the handshake and our own question."""
        pair.hear()
        pair.remote.say(*questions)
        return [each for each in pair.hear() if not isinstance(each, GetAddr)]

    def fill(self, count: int, first: int = 11) -> list[Place]:
        places = [at(f"{first + number // 256}.{number % 256}.1.1") for number in range(count)]
        for place in places:
            self.book.succeeded(place, 1)
        return places
