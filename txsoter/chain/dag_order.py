"""Two orders of a DAG: the node's, and one that puts parents first."""

from __future__ import annotations

from typing import Any

from txsoter.chain.bit_sets import members
from txsoter.chain.block_graph import BlockGraph
from txsoter.chain.colouring import Colouring

__all__ = ["node_order", "parents_first_order"]


def node_order(graph: BlockGraph, keys: list[Any], colouring: Colouring) -> list[int]:
    """Return the order that the node computes from the whole DAG; some blocks may be missing, or before their parents.

    A queue begins with the genesis. Behind a block come, for each of its blue children by id, first the blocks of its
    anticone that are in the child's past, by id, then the child. Of each tip a block above all tips is the blue child;
    when its turn has come, what is left in the queue is dropped.
    """
    blue = colouring.blue_set_of_all()
    above_tips = len(graph)
    queue = [0]
    unseen = ((2 << above_tips) - 1) ^ 1
    for number in queue:
        if number == above_tips:
            break
        blue_children = [each for each in graph.children[number] if blue >> each & 1]
        blue_children.sort(key=keys.__getitem__)
        for child in blue_children if graph.children[number] else [above_tips]:
            between = unseen & graph.anticone(number)
            if between and child != above_tips:
                between &= graph.past(child)
            following = sorted(members(between), key=keys.__getitem__)
            if unseen >> child & 1:
                following.append(child)
            for each in following:
                unseen ^= 1 << each
            queue += following
    return queue[: queue.index(above_tips)]


def parents_first_order(graph: BlockGraph, keys: list[Any], colouring: Colouring) -> list[int]:
    """Return an order of all blocks in which parents come first.

    Before a block comes the past of its selected parent, then that of its other blue parents by id, then that of its
    red parents by id, each with the parent behind it. So the order of a block's past never changes.
    """
    above_tips = len(graph)
    order: list[int] = []
    seen = bytearray(above_tips + 1)
    stack = [above_tips]
    while stack:
        number = stack[-1]
        if seen[number]:
            stack.pop()
            if seen[number] == 1:
                seen[number] = 2
                order.append(number)
            continue
        seen[number] = 1
        if number == above_tips:
            parents, (first, added) = list(graph.tips), colouring.colour_of_all()
        else:
            parents, (first, added) = list(graph.parents[number]), colouring.colour(number)
        parents.sort(key=lambda each: (each != first, each not in added, keys[each]), reverse=True)
        stack += [each for each in parents if not seen[each]]
    return order[:-1]
