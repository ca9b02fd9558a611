"""How fast txsoter is: ``python -m benchmarks --help``. Needs the extra ``bench``."""
