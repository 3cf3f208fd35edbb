"""Print the oldest versions that pyproject.toml allows, as a constraints file of pip.

``make test-oldest`` installs them and runs tests, so that each lower bound is a version that works.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

_BOUND = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?>=(?P<version>[\w.]+)(?P<marker>\s*;.+)?")
"""A requirement with a lower bound only, such as ``numpy>=1.26; sys_platform == 'linux'``."""


def oldest_versions(extras: list[str]) -> Iterator[str]:
    """Yield a constraint, such as ``numpy==1.26``, for each package that users install.

    Args:
        extras: Names of optional dependencies, added to the package's own.

    Raises:
        ValueError: A requirement has no lower bound, or more than that.
    """
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    for requirement in sorted({text for texts in lists for text in texts}):
        bound = _BOUND.fullmatch(requirement)
        if bound is None:
            raise ValueError(f"expected NAME>=VERSION in {PYPROJECT.name}, got {requirement!r}")
        yield f"{bound['name']}=={bound['version']}{bound['marker'] or ''}"


if __name__ == "__main__":
    print("\n".join(oldest_versions(sys.argv[1:])))
