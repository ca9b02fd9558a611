"""Measures every Python process of a test run, subprocesses included, if that is asked for and coverage is there."""

import os

# a test that looks at what an interpreter loads asks for none
if "COVERAGE_PROCESS_START" in os.environ:
    try:
        import coverage
    except ImportError:
        pass
    else:
        coverage.process_startup()
