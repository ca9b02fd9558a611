"""Plans of loopback networks."""

from __future__ import annotations

import json
from random import Random
from typing import Any
from unittest import TestCase

import attrs

from txsoter.errors import FieldError
from txsoter.testing.loopback.plan import BYSTANDER, DEAD, HONEST, LIARS, LoopbackOptions, Plan, made_up, make_plan

ALL_LIARS = dict.fromkeys(LIARS, 2)


def plan(nodes: int = 50, **changes: Any) -> Plan:
    return make_plan(LoopbackOptions(nodes=nodes, **{"seed": 7, **changes}))


class PlanTests(TestCase):
    def test_equal_options_make_equal_plans(self) -> None:
        self.assertEqual(plan(liars=ALL_LIARS, dead=5), plan(liars=ALL_LIARS, dead=5))
        self.assertNotEqual(plan().truth(), plan(seed=8).truth())

    def test_others_leave_the_honest_ones_as_they_are(self) -> None:
        alone, among = plan().truth(), plan(liars=ALL_LIARS, hidden=9, dead=20).truth()
        self.assertEqual((alone["nodes"], alone["edges"]), (among["nodes"], among["edges"]))

    def test_addresses_are_all_different_loopback_ones(self) -> None:
        places = plan(2000, liars=ALL_LIARS, dead=500).places
        self.assertEqual(len({place.ip for place in places}), 2000 + 2 * len(LIARS) + 4 + 500)
        for place in places:
            self.assertEqual(place.ip[0], 127)
            self.assertTrue(1 <= place.ip[1] <= 254 and 1 <= place.ip[3] <= 254, place.host)

    def test_made_up_addresses_are_of_no_plan(self) -> None:
        found = list(made_up(50_000, 18444, Random(1)))
        self.assertEqual(len({each.ip for each in found}), 50_000)
        self.assertTrue(all(each.host.startswith("127.255.") for each in found))

    def test_all_honest_nodes_can_be_found_from_any(self) -> None:
        for nodes in (1, 2, 3, 40):
            made = plan(nodes, degree=0)
            for start in range(nodes):
                found, asked = {start}, [start]
                while asked:
                    new = {each for each in made.places[asked.pop()].known if each < nodes} - found
                    found |= new
                    asked += new
                self.assertEqual(len(found), nodes)

    def test_honest_nodes_know_the_dead_and_the_liars_but_neither_bystanders_nor_hidden_nodes(self) -> None:
        made = plan(liars=ALL_LIARS, hidden=9, dead=20)
        known = {number for place in made.of_kind(HONEST) for number in place.known}
        self.assertEqual({made.places[number].kind for number in known}, {HONEST, DEAD, *LIARS})
        self.assertTrue({place.number for place in made.of_kind(DEAD, *LIARS)} <= known)
        self.assertEqual(len(made.of_kind(BYSTANDER)), 4)
        self.assertTrue(all(place.number not in place.known for place in made.places))

    def test_given_edges(self) -> None:
        self.assertEqual(plan(3, edges=[[0, 2], [2, 1]]).edges, [(0, 2), (2, 1)])

    def test_profiles_are_mixed(self) -> None:
        made = plan(1000)
        shares = [sum(place.profile == number for place in made.places) for number in range(4)]
        for share, expected in zip(shares, (600, 250, 100, 50), strict=True):
            self.assertAlmostEqual(share, expected, delta=0.3 * expected)

    def test_truth(self) -> None:
        made = plan(3, edges=[(2, 0)], degree=1, hidden=1, dead=1, liars={"tarpit": 1, "other-services": 1})
        names = [str(place) for place in made.places]
        truth = json.loads(json.dumps(made.truth()))
        self.assertEqual(
            truth,
            {
                "network": "regtest",
                "seed": 7,
                "nodes": names[:3],
                "edges": [[names[2], names[0]]],
                "hidden": [made.places[-1].host],
                "hidden_edges": [[made.places[-1].host, names[made.edges[-1][1]]]],
                "dead": [names[-2]],
                "liars": [
                    {"address": names[3], "kind": "other-services"},
                    {"address": names[4], "kind": "tarpit"},
                ],
                "bystanders": names[5:9],
            },
        )


class OptionsTests(TestCase):
    def test_through_json(self) -> None:
        given = LoopbackOptions(nodes=3, seed=4, edges=((0, 1),), liars={"slow": 1}, slow_seconds=0.5)
        back = LoopbackOptions.from_json(json.loads(json.dumps(attrs.asdict(given))))
        self.assertEqual(make_plan(back).truth(), make_plan(given).truth())
        self.assertEqual((back.profiles, back.slow_seconds), (given.profiles, 0.5))

    def test_values_that_cannot_be(self) -> None:
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("nodes = 0: must be a whole number from 1", {"nodes": 0}),
            ("topology = 'mesh': must be one of random, ring, star", {"topology": "mesh"}),
            ("liars = 'honest': must be of the kinds claims-all", {"liars": {"tarpit": 1, "honest": 1}}),
            ("slow = -1: must be a whole number from 0", {"liars": {"slow": -1}}),
            ("degree = -1: must be a whole number from 0", {"degree": -1}),
            ("hidden = -1: must be a whole number from 0", {"hidden": -1}),
            ("dead = -1: must be a whole number from 0", {"dead": -1}),
            ("edges = (0, 3): must be two different numbers of nodes, from 0 to 2", {"edges": [(0, 3)]}),
            ("edges = (1, 1): must be two different numbers", {"edges": [(1, 1)]}),
            ("edges = (0, 1, 2): must be two different numbers", {"edges": [(0, 1, 2)]}),
            ("port = 10025: must be a whole number from 1 to 65535, except 10025", {"port": 10025}),
            ("port = 70000: must be", {"port": 70000}),
            ("profiles = (): must be at least one Profile", {"profiles": ()}),
        ]
        for words, changes in wrong:
            with self.assertRaises(FieldError) as caught:
                LoopbackOptions(**{"nodes": 3, **changes})
            self.assertIn(words, str(caught.exception))
