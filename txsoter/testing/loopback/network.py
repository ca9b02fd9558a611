"""A network of light nodes in this process, or the share of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults

from txsoter.errors import LocalError
from txsoter.testing.loopback.liars import make_port
from txsoter.testing.loopback.node import LightNode, Port, light_config
from txsoter.testing.loopback.plan import DEAD, HIDDEN, Plan

__all__ = ["LoopbackError", "LoopbackNetwork"]

T = TypeVar("T")

AT_ONCE = 64
"""Connections that are begun at the same time."""


class LoopbackError(LocalError):
    """A loopback network that cannot be started; says which address, and why."""


class LoopbackNetwork:
    """A network of nodes on this machine, each with an address of its own in 127.0.0.0/8. Linux has all of them.

    Nodes speak regtest's protocol over TCP, and answer ``getaddr`` and ``getaddrcache``; there are no blocks, and no
    pings. ::

        options = LoopbackOptions(nodes=100, seed=1, dead=10, liars={"tarpit": 2})
        network = LoopbackNetwork(reactor, make_plan(options))
        await network.start()
        ...  # connect to network.entry, compare with network.truth()
        await network.stop()

    :param plan: all addresses and connections.
    :param share: index and number of the processes that have the network together; this one has the nodes whose
        numbers leave that index when divided by the number of processes. All of them listen before any dials.
    """

    def __init__(self, reactor: Any, plan: Plan, share: tuple[int, int] = (0, 1)) -> None:
        self.plan = plan
        configs = {number: light_config(profile) for number, profile in enumerate(plan.options.profiles)}
        index, count = share
        self._ports: dict[int, Port] = {
            place.number: make_port(reactor, self.plan, place, configs)
            for place in self.plan.places[index::count]
            if place.kind != DEAD
        }

    @property
    def entry(self) -> str:
        """The address of an honest node, ``HOST:PORT``, from which all others can be found."""
        return str(self.plan.places[0])

    def truth(self) -> dict[str, Any]:
        """Return the description of the network for JSON; see :meth:`Plan.truth`."""
        return self.plan.truth()

    async def start(self) -> None:
        """Listen and connect, in a process that has the whole network.

        :raises LoopbackError: when that fails; what was begun is stopped then.
        """
        await self.listen()
        await self.dial()

    async def listen(self) -> None:
        """Listen at the addresses of all nodes.

        :raises LoopbackError: when one is in use; the others are stopped then.
        """
        await self._each([port for port in self._ports.values() if port.place.kind != HIDDEN], self._listen)

    async def dial(self) -> None:
        """Make the connections of all nodes, their handshakes included.

        :raises LoopbackError: when one fails; all is stopped then.
        """
        await self._each([edge for edge in self.plan.edges if edge[0] in self._ports], self._dial)

    async def _listen(self, port: Port) -> None:
        try:
            await port.listen()
        except Exception as error:
            advice = "another seed or port makes a network beside one that runs already"
            raise LoopbackError(f"cannot listen at {port.place}: {error}; {advice}") from None

    async def _dial(self, edge: tuple[int, int]) -> None:
        node, other = self._ports[edge[0]], self.plan.places[edge[1]]
        assert isinstance(node, LightNode)
        try:
            await node.dial(other)
        except Exception as error:
            raise LoopbackError(f"cannot connect {node.place} to {other}: {error}") from None

    async def _each(self, items: Iterable[T], call: Callable[[T], Awaitable[None]]) -> None:
        """Call ``call`` for all of ``items``, some at a time; after an error stop the network."""
        left = iter(items)

        async def work() -> None:
            for item in left:
                await call(item)

        workers = [Deferred.fromCoroutine(work()) for _ in range(AT_ONCE)]
        try:
            await gatherResults(workers, consumeErrors=True)
        except BaseException as error:
            for each in workers:
                each.cancel()
            await self.stop()
            raise getattr(getattr(error, "subFailure", None), "value", error) from None

    async def stop(self) -> None:
        """Stop listening, and close all connections. May be called again."""
        await gatherResults([Deferred.fromCoroutine(port.stop()) for port in self._ports.values()])
