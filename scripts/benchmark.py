"""Compare the speed and output of filtertrack with common alternatives: ``make bench``.

The sides of a comparison run in alternating order, and the medians of several rounds are reported.
On a shared machine ratios are reliable, absolute times are not. CPU time is reported beside wall
time, so that work moved to another thread still counts. Files are checked with independent
decoders, except WebP. gifski, torchvision and, for the tab, Chromium are measured where they are
installed.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.animations import animations, memory
from benchmarks.checkpoints import checkpoints
from benchmarks.comparison import FULL, QUICK, Row, Scale, number
from benchmarks.drawing import drawing
from benchmarks.events import events
from benchmarks.growth import growth
from benchmarks.page_file import page_file
from benchmarks.probes import probes
from benchmarks.report import draw_chart, to_markdown
from benchmarks.starting import starting
from benchmarks.storing import storing
from benchmarks.tab import tab
from benchmarks.training import training

GROUPS: dict[str, Callable[[Path, Scale], Iterator[Row]]] = {
    "training": training,
    "probes": probes,
    "drawing": drawing,
    "events": events,
    "tab": tab,
    "page_file": page_file,
    "storing": storing,
    "checkpoints": checkpoints,
    "starting": starting,
    "growth": growth,
    "animations": animations,
    "memory": memory,
}
_LIBRARIES = (
    *(
        "numpy",
        "pillow",
        "matplotlib",
        "imageio",
        "h5py",
        "av",
        "keras",
        "tensorflow-cpu",
        "tensorflow",
    ),
    *("tensorboard", "torch", "torchvision", "zlib-ng", "google-crc32c", "imageio-ffmpeg"),
    "playwright",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print each row, and write all rows as JSON and as a page of the documentation."""
    options = _parse(arguments)
    began = time.monotonic()
    results: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(dir=options.json.parent) as folder:
        for group in options.only:
            path = Path(folder) / group
            path.mkdir()
            print(f"\n{group}", flush=True)
            results[group] = []
            for row in GROUPS[group](path, options.scale):
                results[group].append(row)
                print(_line(row), flush=True)
    facts = _about(options, time.monotonic() - began)
    rows = [{"group": group, **asdict(row)} for group, each in results.items() for row in each]
    options.json.write_text(json.dumps({"about": facts, "rows": rows}, indent=1) + "\n")
    print(f"\nwritten: {options.json}")
    if options.markdown:
        chart = options.markdown.with_suffix(".png")
        draw_chart(results, chart)
        options.markdown.write_text(to_markdown(facts, results, chart.name))
        print(f"written: {options.markdown}, {chart}")
    return 0


def _about(options: argparse.Namespace, took: float) -> dict[str, Any]:
    """Return the date, the machine and the versions of a measurement."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": _machine(),
        "python": platform.python_version(),
        "versions": dict(_versions()),
        "scale": asdict(options.scale),
        "minutes": round(took / 60, 1),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _machine() -> str:
    """Describe the machine: processor, cores and memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{platform.system()}, {model}, {cores} cores, {memory:.0f} GiB"


def _line(row: Row) -> str:
    goal = f"{row.wanted:<8} {'' if row.reached else 'NOT '}reached" if row.wanted else ""
    cpu = "" if row.cpu is None else f"CPU {number(row.cpu)}"
    value = f"{number(row.value):>9} {row.unit}"
    return f"  {row.what:<100} {value:<16} {cpu:<10} {goal:<20} {row.note}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--quick",
        dest="scale",
        action="store_const",
        const=QUICK,
        default=FULL,
        help="a minute or two, to check that it works; its figures mean nothing",
    )
    parser.add_argument(
        "--only", type=_groups, default=list(GROUPS), metavar="A,B", help=", ".join(GROUPS)
    )
    parser.add_argument("--json", type=Path, default=Path("runs/benchmark.json"))
    parser.add_argument(
        "--markdown", type=Path, help="also write a page of documentation, with a chart beside it"
    )
    options = parser.parse_args(arguments)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    return options


def _groups(text: str) -> list[str]:
    wanted = text.split(",")
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
