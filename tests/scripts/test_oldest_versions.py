"""The oldest versions are those of pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts" / "oldest_versions.py"


def test_each_package_of_users_has_its_lower_bound_as_version():
    """The package's own requirements, and those of every extra for users."""
    extras = ["tensorflow", "jax", "torch", "video", "s3", "gcs", "h5", "match", "xarray", "demo"]
    text = subprocess.run(
        [sys.executable, PROGRAM, *extras], capture_output=True, text=True, check=True
    ).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    requirements = {requirement for texts in lists for requirement in texts}
    expected = {text.replace("[array]", "").replace(">=", "==") for text in requirements}
    assert set(text.splitlines()) == expected
    assert len(expected) > 20
