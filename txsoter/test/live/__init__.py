"""Tests against a running soterd: ``pytest -m live --soterd PATH``, or with the environment variable SOTERD."""
