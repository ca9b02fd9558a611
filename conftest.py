"""Loads the fixtures for tests against a soterd, as any project may: ``pytest -m soterd --soterd=PATH``."""

pytest_plugins = ["txsoter.testing.pytest_plugin"]
