"""``python -m txsoter``: the same as ``txsoter``."""

import sys

from txsoter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
