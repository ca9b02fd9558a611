"""Tests of :mod:`txsoter.core`."""
