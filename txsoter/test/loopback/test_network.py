"""Networks of honest nodes, over sockets."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectError

from txsoter.test.loopback.visitor import options, running, visit
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.testing.loopback import PROFILES, LoopbackError, LoopbackNetwork, Profile, make_plan
from txsoter.testing.loopback.plan import DEAD, HIDDEN


def hosts(addresses: list[str]) -> list[str]:
    """The hosts of addresses, sorted."""
    return sorted(each.partition(":")[0] for each in addresses)


@over_sockets()
async def test_the_truth_is_what_nodes_tell_of_their_connections() -> None:
    async with running(30, degree=3, dead=5) as network:
        truth = network.truth()
        edges = {(dialler, dialled) for dialler, dialled in truth["edges"]}
        assert (len(truth["nodes"]), len(edges), network.entry) == (30, 90, truth["nodes"][0])
        for address in truth["nodes"]:
            found = await visit(address)
            assert {(address, other) for other in found.outbound} == {edge for edge in edges if edge[0] == address}
            diallers = [dialler for dialler, dialled in edges if dialled == address]
            assert hosts(found.inbound) == hosts([*diallers, found.own])
            # each with the port that it dialled from
            assert found.own in found.inbound
            assert not {*found.inbound} & {*truth["nodes"]}
            assert {*diallers} <= {*found.known}
            assert {*found.addresses} == {*found.outbound, *found.known}
            assert found.all <= {*truth["nodes"], *truth["dead"], *found.inbound}


@over_sockets()
async def test_all_nodes_and_dead_addresses_are_found_from_the_entry() -> None:
    async with running(20, topology="ring", dead=5) as network:
        waiting, seen = [network.entry], {network.entry}
        dead = {str(place) for place in network.plan.of_kind(DEAD)}
        while waiting:
            address = waiting.pop()
            if address in dead:
                with pytest.raises(ConnectError):
                    await visit(address)
                continue
            found = await visit(address)
            new = {*found.outbound, *found.known} - seen
            seen |= new
            waiting += new
        assert seen == {*network.truth()["nodes"], *dead}


@over_sockets()
async def test_hidden_nodes_are_told_by_those_that_they_have_dialled_alone() -> None:
    async with running(10, degree=2, hidden=3) as network:
        truth = network.truth()
        told = []
        for address in truth["nodes"]:
            found = await visit(address)
            told += [[host, address] for host in hosts(found.inbound) if host in truth["hidden"]]
            assert not {*hosts([*found.outbound, *found.known])} & {*truth["hidden"]}
        assert (sorted(told), len(told)) == (sorted(truth["hidden_edges"]), 6)
        for place in network.plan.of_kind(HIDDEN):
            with pytest.raises(ConnectError):
                await visit(str(place))


@over_sockets()
async def test_versions_are_those_of_the_profiles() -> None:
    profiles = (*PROFILES, Profile(100, "third", "7.0.0", services=65, height=12))
    async with running(20, degree=1, profiles=profiles) as network:
        for place in network.plan.places:
            found, profile = await visit(str(place)), profiles[place.profile]
            assert f"/{profile.user_agent_name}:{profile.user_agent_version}/".encode() in found.user_agent
            assert (found.services, found.height) == (profile.services, profile.height)


@over_sockets()
async def test_a_node_with_more_than_a_thousand_addresses_tells_them_in_several_messages() -> None:
    async with running(1, dead=1200) as network:
        found = await visit(network.entry)
        # the visitor itself is inbound
        assert (len({*found.known}), len({*found.addresses}), found.messages) == (1200, 1200, 2 + 2)


@over_sockets()
async def test_addresses_are_free_again_after_the_end() -> None:
    for _ in range(2):
        async with running(5, degree=2) as network:
            assert (await visit(network.entry)).outbound
    with pytest.raises(ConnectError):
        await visit(network.entry)


@over_sockets()
async def test_an_address_in_use_ends_the_start_and_leaves_nothing_behind() -> None:
    async with running(5) as network:
        second = LoopbackNetwork(real_reactor(), network.plan)
        with pytest.raises(LoopbackError, match=r"cannot listen at 127\.\S+:18444: .*in use.*another seed or port"):
            await second.start()
        assert (await visit(network.entry)).outbound


@over_sockets()
async def test_a_connection_that_fails_ends_the_start_and_leaves_nothing_behind() -> None:
    profiles = (Profile(1, "apart", "1.0.0"), Profile(1, "apart", "2.0.0"))
    network = LoopbackNetwork(real_reactor(), make_plan(options(12, profiles=profiles)))
    with pytest.raises(LoopbackError, match=r"cannot connect 127\.\S+ to 127\.\S+: .*incompatible"):
        await network.start()
    with pytest.raises(ConnectError):
        await visit(network.entry)
