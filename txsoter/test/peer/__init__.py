"""Tests of ``txsoter.peer``."""
