"""Make the run that ships with the package from a run of scripts/demo.py.

Example::

    python scripts/record_run.py runs/demo
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from filtertrack import Run, Snapshot
from filtertrack.outputs import recorded_run

LAYER = "conv1"
STEPS = 30
BITS = 10
"""Bits of a weight's fraction that are kept: the relative error is at most 1/2048."""
FRACTION = 23
"""Bits of the fraction of a float32."""


def rounded(weights: np.ndarray) -> np.ndarray:
    """Return weights of fewer significant bits, as float32."""
    dropped = FRACTION - BITS
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32) + np.uint32(1 << (dropped - 1))
    return (bits >> dropped << dropped).astype(np.uint32).view(np.float32)


def record(source: Run, folder: Path) -> None:
    """Write one layer of a run at evenly chosen steps, rounded."""
    info = source.layer(LAYER)
    chosen = np.unique(np.linspace(0, len(source.steps) - 1, STEPS).round().astype(int))
    run = Run.create(folder, [info])
    for step in (source.steps[index] for index in chosen):
        arrays = source.snapshot(step, [LAYER]).arrays
        kept = {name: rounded(array) for name, array in arrays.items()}
        run.append(Snapshot(source.moment(step), kept))


def main() -> None:
    """Write the file of the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run of scripts/demo.py")
    run = Run(parser.parse_args().run)
    file = Path(recorded_run.__file__).with_name(recorded_run.FILE)
    with tempfile.TemporaryDirectory() as folder:
        record(run, Path(folder))
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for each in sorted(Path(folder).rglob("*")):
                if each.is_file():
                    archive.write(each, each.relative_to(folder))
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
