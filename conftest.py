"""Makes ``--soterd`` known where txsoter, whose plugin that is, is not installed."""

pytest_plugins = ["pytest_soterd"]
