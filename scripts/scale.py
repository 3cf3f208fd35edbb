"""Estimate what large runs take and check it by a simulation on this machine: ``make scale``.

ResNet-50 over 300 epochs, a thousand runs, a hundred thousand snapshots, ten thousand with probes,
the page open while training writes, two billion parameters: bytes, files, seconds, memory, and what
reaches its limit first. Takes half an hour, 8 GB of disk and 8 GB of memory. Writes the
tables between two marked lines of docs/scale.md.
"""

import argparse
import datetime as dt
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from scale_scenarios.large_model import large_model
from scale_scenarios.many_runs import many_runs
from scale_scenarios.many_snapshots import many_snapshots
from scale_scenarios.probed_training import probed_training
from scale_scenarios.report import Scenario, to_markdown
from scale_scenarios.resnet50 import resnet50

BEGIN, END = "<!-- scale: written by scripts/scale.py -->", "<!-- /scale -->"
SCENARIOS: dict[str, Callable[..., Scenario]] = {
    "resnet": resnet50,
    "runs": many_runs,
    "snapshots": many_snapshots,
    "probes": probed_training,
    "parameters": large_model,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate, simulate, print the tables and write them into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", help=f"some scenarios, comma-separated: {','.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="far smaller: checks that it works")
    parser.add_argument("--markdown", type=Path, help="also write the tables into this page")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(SCENARIOS)
    if not set(names) <= set(SCENARIOS):
        parser.error(f"--only: expected some of {', '.join(SCENARIOS)}")
    if options.markdown:
        page = options.markdown.read_text(encoding="utf-8")
        inserted(page, "")  # an unsuitable page fails before minutes of work
    scenarios = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="filtertrack-scale-") as folder:
            scenarios.append(SCENARIOS[name](Path(folder) / name, quick=options.quick))
    text = to_markdown(_facts(), scenarios)
    print(text)
    if options.markdown:
        page = options.markdown.read_text(encoding="utf-8")
        options.markdown.write_text(inserted(page, text), encoding="utf-8")
    return 0


def inserted(page: str, text: str) -> str:
    """Return a page with the text between its marked lines replaced.

    Args:
        page: Markdown that contains each marked line once.
        text: The new text between them.

    Raises:
        ValueError: If a marked line is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def _facts() -> dict[str, str]:
    names = ("numpy", "keras", "tensorboard")
    return {
        "Measured": f"on {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
        platform.machine(): f"with {os.cpu_count()} cores",
        "Python": platform.python_version(),
        **{name: version(name) for name in names},
        "files": "in the page cache",
    }


if __name__ == "__main__":
    sys.exit(main())
