"""Plans on paper, checked by a simulation on this machine.

ResNet-50 over 300 epochs, a thousand runs, a hundred thousand snapshots, two billion parameters:
bytes, files, seconds and memory, and what breaks first. A quarter of an hour, 8 GB of disk and of
memory. Writes what it finds as Markdown between two lines of docs/scale.md.
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

from plans.figures import Plan, to_markdown
from plans.large_model import large_model
from plans.long_run import long_run
from plans.many_runs import many_runs
from plans.resnet import resnet

BEGIN, END = "<!-- plan: written by scripts/plan.py -->", "<!-- /plan -->"
PLANS: dict[str, Callable[..., Plan]] = {
    "resnet": resnet,
    "runs": many_runs,
    "snapshots": long_run,
    "parameters": large_model,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute, simulate, print, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", help=f"some, with commas between them: {','.join(PLANS)}")
    parser.add_argument("--quick", action="store_true", help="far smaller: shows that it works")
    parser.add_argument("--markdown", type=Path, help="write the tables into that page as well")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(PLANS)
    if not set(names) <= set(PLANS):
        parser.error(f"--only: expected some of {', '.join(PLANS)}")
    if options.markdown:
        inserted(options.markdown.read_text(encoding="utf-8"), "")  # refused before minutes of work
    plans = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="filtertrack-plan-") as folder:
            plans.append(PLANS[name](Path(folder) / name, quick=options.quick))
    text = to_markdown(_facts(), plans)
    print(text)
    if options.markdown:
        page = options.markdown.read_text(encoding="utf-8")
        options.markdown.write_text(inserted(page, text), encoding="utf-8")
    return 0


def inserted(page: str, text: str) -> str:
    """Return a page with a text between its two lines.

    Args:
        page: Markdown, which has both lines once.
        text: What comes between them, instead of what is there.

    Raises:
        ValueError: If it has not.
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
