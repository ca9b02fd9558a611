"""The names that are fixed, because checks outside the project call them, and what loads with them."""

from __future__ import annotations

import inspect
from unittest import TestCase

import attrs

import txsoter
from txsoter import PeerConfig, SoterPeerProtocol, chain, networks, wire
from txsoter.test.test_imports import in_fresh_interpreter

MESSAGES = [
    "Version",
    "VerAck",
    "GetAddr",
    "GetAddrCache",
    "Addr",
    "AddrCache",
    "GetBlocks",
    "Inv",
    "GetData",
    "NotFound",
    "Block",
    "Tx",
    "GetHeaders",
    "Headers",
    "Ping",
    "Pong",
    "Alert",
    "MemPool",
    "FilterAdd",
    "FilterClear",
    "FilterLoad",
    "MerkleBlock",
    "Reject",
    "SendHeaders",
    "FeeFilter",
    "GetCFilters",
    "GetCFHeaders",
    "GetCFCheckpt",
    "CFilter",
    "CFHeaders",
    "CFCheckpt",
]

CONFIG = [
    "network",
    "user_agent_name",
    "user_agent_version",
    "user_agent_comments",
    "services",
    "protocol_version",
    "disable_relay_tx",
    "newest_block",
    "proxy",
    "listeners",
    "trickle_interval",
    "ping_interval",
    "idle_timeout",
    "negotiate_timeout",
    "stall_interval",
    "stall_timeout",
    "allow_self_connections",
    "strict",
    "max_known_inventory",
    "clock",
    "random",
]

PEER = [
    "send",
    "request",
    "queue_inventory",
    "add_known_inventory",
    "push_addresses",
    "push_address_cache",
    "push_get_blocks",
    "push_get_headers",
    "push_reject",
    "disconnect",
    "when_ready",
    "when_closed",
    "stats",
]

CHAIN = {
    "BloomFilter": ["elements", "false_positive_rate", "tweak", "flags"],
    "Dag": ["max_waiting"],
    "basic_filter": ["block", "spent_scripts"],
    "basic_filter_items": ["block", "spent_scripts"],
    "check_proof_of_work": ["header", "nonces"],
    "filter_header": ["filter", "parent_header"],
    "merkle_block": ["block", "matches"],
    "proof_difficulty": ["nonces"],
    "target_of": ["bits"],
}

DAG = {
    "add": ["id", "parents"],
    "height": ["id"],
    "past": ["id"],
    "anticone": ["id"],
    "blue_set": ["k", "tip"],
    "soterd_order": ["k"],
    "topological_order": ["k"],
    "is_ancestor": ["ancestor", "id"],
}

PURE = [
    "txsoter",
    "txsoter.errors",
    "txsoter.networks",
    "txsoter.wire",
    "txsoter.chain",
    "txsoter.core.driver",
    "txsoter.core.listeners",
    "txsoter.core.stats",
    "txsoter.peer.config",
]

LAZY = """
import sys
import txsoter
steps = []
def twisted():
    return any(each.partition(".")[0] == "twisted" for each in sys.modules)
steps.append(twisted())
for name in sys.argv[1:]:
    __import__(name)
    steps.append(twisted())
dir(txsoter), txsoter.SIMNET, hasattr(txsoter, "nonsense")
steps.append(twisted())
txsoter.connect
steps.append(twisted())
print(*steps)
"""

LIGHT = (
    "Confirmations",
    "HeaderIndex",
    "HeaderRecord",
    "HeaderStore",
    "LightClient",
    "SyncProgress",
    "WatchedTransaction",
)
"""Those of ``txsoter.chain`` that are loaded when they are first used."""


class NamesTests(TestCase):
    """Each name is there, and is what DESIGN says it is."""

    def test_of_the_package(self) -> None:
        for name in ("SoterPeerProtocol", "SoterClientFactory", "SoterServerFactory", "PeerConfig", "Listeners"):
            self.assertTrue(inspect.isclass(getattr(txsoter, name)), name)
        self.assertEqual(list(inspect.signature(txsoter.connect).parameters), ["endpoint", "config"])
        self.assertEqual(list(inspect.signature(txsoter.listen).parameters), ["endpoint", "config"])
        for factory in (txsoter.SoterClientFactory, txsoter.SoterServerFactory):
            self.assertEqual(next(iter(inspect.signature(factory).parameters)), "config")

    def test_all_of_them_are_listed_and_can_be_had(self) -> None:
        for name in txsoter.__all__:
            self.assertIsNotNone(getattr(txsoter, name), name)
        self.assertEqual(sorted(txsoter.__all__), sorted(set(txsoter.__all__)))
        self.assertLessEqual(set(txsoter.__all__), set(dir(txsoter)))
        self.assertEqual(set(txsoter._HOME_OF), set(txsoter.__all__))

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with self.assertRaisesRegex(AttributeError, "module 'txsoter' has no attribute 'nonsense'"):
            txsoter.nonsense  # noqa: B018

    def test_of_the_networks(self) -> None:
        for name in ("MAINNET", "TESTNET1", "REGTEST", "SIMNET"):
            network = getattr(networks, name)
            self.assertIs(getattr(txsoter, name), network)
            self.assertEqual(network.genesis_block.hash, network.genesis_hash)
            self.assertIsInstance(network.magic, int)
            self.assertIsInstance(network.default_port, int)

    def test_of_the_wire(self) -> None:
        self.assertEqual(len(MESSAGES), 31)
        for name in MESSAGES:
            self.assertEqual(getattr(wire, name).command, name.lower())
        self.assertEqual(wire.Unknown("what").command, "what")
        self.assertEqual({each.name for each in wire.Encoding}, {"BASE", "WITNESS"})
        read, write = (inspect.signature(each).parameters for each in (wire.read_message, wire.write_message))
        self.assertEqual(list(read), ["data", "magic", "pver", "encoding"])
        self.assertEqual(list(write), ["message", "magic", "pver", "encoding"])
        for parameters in (read, write):
            self.assertEqual(parameters["pver"].default, 70013)
            self.assertIs(parameters["encoding"].default, wire.Encoding.BASE)

    def test_of_the_chain(self) -> None:
        self.assertEqual(set(chain.__all__), {*CHAIN, "GolombFilter", *LIGHT})
        for name in LIGHT:
            self.assertTrue(inspect.isclass(getattr(chain, name)), name)
        self.assertLessEqual(set(chain.__all__), set(dir(chain)))
        with self.assertRaisesRegex(AttributeError, "module 'txsoter.chain' has no attribute 'nonsense'"):
            chain.nonsense  # noqa: B018
        for name, parameters in CHAIN.items():
            self.assertEqual(list(inspect.signature(getattr(chain, name)).parameters), parameters, name)
        for name, parameters in DAG.items():
            found = inspect.signature(getattr(chain.Dag, name)).parameters
            self.assertEqual(list(found), ["self", *parameters], name)
            self.assertEqual(found["k"].default if "k" in found else 3, 3)
        for name in ("tips", "missing"):
            self.assertIsInstance(getattr(chain.Dag, name), property)
        for make, first in ((chain.GolombFilter.build, "items"), (chain.GolombFilter.from_bytes, "key")):
            found = inspect.signature(make).parameters
            self.assertEqual(list(found)[1:], [first, "p", "m"])
            self.assertEqual((found["p"].default, found["m"].default), (19, 784_931))
        for name in ("add", "add_outpoint", "matches_tx", "filter_load", "from_filter_load", "data", "__contains__"):
            self.assertTrue(hasattr(chain.BloomFilter, name), name)
        for name in ("match_any", "hash", "__bytes__", "__contains__"):
            self.assertTrue(hasattr(chain.GolombFilter, name), name)
        for method in (wire.Block.check, wire.Block.verify, wire.MerkleBlock.matched):
            self.assertTrue(callable(method))

    def test_of_hashes(self) -> None:
        block = networks.SIMNET.genesis_block
        assert block is not None
        [coinbase] = block.transactions
        for each in (block.hash, coinbase.txid, coinbase.wtxid):
            self.assertIsInstance(each, bytes)
            self.assertEqual((len(each), str(each)), (32, bytes(each)[::-1].hex()))

    def test_of_a_peer(self) -> None:
        for name in PEER:
            self.assertTrue(callable(getattr(SoterPeerProtocol, name)), name)
        for name, parameters in {
            "send": ["message", "encoding"],
            "request": ["message", "expected_type", "timeout", "matching"],
            "queue_inventory": ["vector", "force"],
            "push_address_cache": ["inbound", "outbound", "known"],
            "push_get_blocks": ["height", "stop"],
            "push_get_headers": ["height", "stop"],
            "push_reject": ["command", "code", "reason", "hash"],
            "disconnect": ["reason"],
        }.items():
            found = list(inspect.signature(getattr(SoterPeerProtocol, name)).parameters)
            self.assertEqual(found[1 : 1 + len(parameters)], parameters, name)

    def test_of_a_config(self) -> None:
        names = {each.name for each in attrs.fields(PeerConfig) if each.init}
        self.assertEqual(set(CONFIG) - names, set())
        defaults = PeerConfig()
        numbers = ("trickle_interval", "ping_interval", "idle_timeout", "negotiate_timeout", "stall_interval")
        self.assertEqual([getattr(defaults, name) for name in numbers], [10, 120, 300, 30, 15])
        self.assertEqual((defaults.stall_timeout, defaults.max_known_inventory), (30, 50_000))
        self.assertEqual((defaults.strict, defaults.allow_self_connections, defaults.disable_relay_tx), (False,) * 3)
        self.assertEqual((defaults.soft_queue_limit, defaults.hard_queue_limit), (1 << 20, 1 << 25))


class LoadingTests(TestCase):
    """In one fresh interpreter, where this one has loaded everything already."""

    def test_the_pure_parts_and_txsoter_itself_do_without_twisted(self) -> None:
        steps = in_fresh_interpreter(LAZY, *PURE).split()
        self.assertEqual(steps, [*["False"] * (1 + len(PURE) + 1), "True"])
