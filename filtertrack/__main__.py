"""``python -m filtertrack`` is the command ``filtertrack``."""

import sys

from filtertrack.cli import main

if __name__ == "__main__":
    sys.exit(main())
