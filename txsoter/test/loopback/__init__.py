"""Tests of :mod:`txsoter.testing.loopback`."""
