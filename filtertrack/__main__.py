"""Runs the command line: ``python -m filtertrack`` is ``filtertrack``."""

import sys

from filtertrack.cli import main

if __name__ == "__main__":
    sys.exit(main())
