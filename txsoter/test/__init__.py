"""The tests; they mirror the package, and run under both pytest and trial."""
