"""Measures every Python process of a test run, subprocesses included, if coverage is installed there."""

try:
    import coverage
except ImportError:
    pass
else:
    coverage.process_startup()
