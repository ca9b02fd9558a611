"""A network of light nodes on this machine's loopback addresses, over real TCP: to try crawlers and nodes on."""

from txsoter.testing.loopback.network import LoopbackError, LoopbackNetwork
from txsoter.testing.loopback.plan import LIARS, PROFILES, LoopbackOptions, Plan, Profile, make_plan

__all__ = ["LIARS", "PROFILES", "LoopbackError", "LoopbackNetwork", "LoopbackOptions", "Plan", "Profile", "make_plan"]
