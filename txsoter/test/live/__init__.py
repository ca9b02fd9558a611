"""Tests against a running soterd: ``pytest -m soterd --soterd=PATH``, or with the environment variable SOTERD."""
