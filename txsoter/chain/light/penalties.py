"""Points for the ways in which a peer misbehaves: shares of 100, from which its address is refused."""

from __future__ import annotations

__all__ = ["AHEAD", "BROKEN", "INVALID", "STALLED"]

INVALID = 100.0
"""For a lie that is proven: a block, a filter or a proof that breaks a rule; no honest peer has such."""

BROKEN = 50.0
"""For answers that contradict each other or are none, blocks that were listed and are not sent, and floods."""

STALLED = 25.0
"""For an answer that did not come."""

AHEAD = 10.0
"""For a block from the future, which may be the fault of our own clock."""
