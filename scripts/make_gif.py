"""Make an animation of a run: ``python scripts/make_gif.py runs/exp1 -o evolution.gif``.

The same as ``filtertrack animate``.
"""

import sys

from filtertrack.cli import main

if __name__ == "__main__":
    sys.exit(main(["animate", *sys.argv[1:]]))
