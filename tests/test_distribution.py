"""The sdist and the wheel: what is inside, and what the package index shows."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import filtertrack

ROOT = Path(__file__).parents[1]
VERSION = filtertrack.__version__
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
PACKAGE = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "filtertrack").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the sdist, and the wheel that is built from it."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    """The content of each file in the wheel by its name."""
    with zipfile.ZipFile(dist / f"filtertrack-{VERSION}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel):
    """What the package index reads."""
    return message_from_string(wheel[f"filtertrack-{VERSION}.dist-info/METADATA"].decode())


def test_the_wheel_holds_the_package_and_its_licence_only(wheel):
    """Type information, the page and the recorded run among them."""
    info = f"filtertrack-{VERSION}.dist-info/"
    assert {name for name in wheel if not name.startswith(info)} == PACKAGE
    assert wheel[f"{info}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    for needed in (
        "py.typed",
        "web/page/page.js",
        "web/page/style.css",
        "outputs/recorded_run.zip",
    ):
        assert f"filtertrack/{needed}" in wheel


def test_the_sdist_holds_what_the_package_is_built_from_only(dist):
    """Not the tests, the documentation and their pictures, which take megabytes."""
    with tarfile.open(dist / f"filtertrack-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - PACKAGE == {
        ".gitignore",
        "CHANGELOG.md",
        "CITATION.cff",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "SECURITY.md",
        "hatch_build.py",
        "pyproject.toml",
    }
    assert names >= PACKAGE


def test_sdist_and_wheel_are_small(dist):
    """The recorded run takes half of it."""
    sizes = {file.name: file.stat().st_size for file in dist.iterdir()}
    assert len(sizes) == 2
    assert max(sizes.values()) < 2_500_000, sizes


def test_every_link_of_the_package_page_is_absolute_and_leads_to_a_file(metadata):
    """Of the tag of this version; pictures at the address of the file itself."""
    page = metadata.get_payload()
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", page)
    links = [target for pair in targets for target in pair if target and target[0] != "#"]
    assert len(links) > 20
    for link in links:
        found = re.fullmatch(rf"{re.escape(REPOSITORY)}/(raw|blob)/v{VERSION}/([^#]+)(#.+)?", link)
        if found is None:
            assert re.match(r"https://", link), link
            continue
        assert (ROOT / found[2]).is_file(), link
        is_picture = Path(found[2]).suffix in {".gif", ".png"}
        assert found[1] == ("raw" if is_picture else "blob"), link


def test_the_package_page_is_the_readme(metadata):
    """No text is lost, and the index is told that it is Markdown."""
    page = metadata.get_payload().replace(f"{REPOSITORY}/blob/v{VERSION}/", "")
    page = page.replace(f"{REPOSITORY}/raw/v{VERSION}/", "")
    assert page.strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_the_project_links_follow_from_the_address_of_the_repository(metadata):
    """Which pyproject.toml holds once."""
    links = dict(text.split(", ", 1) for text in metadata.get_all("Project-URL"))
    assert set(links) == {"Changelog", "Documentation", "Issues", "Source"}
    assert all(link.startswith(REPOSITORY) for link in links.values())
    assert (ROOT / "pyproject.toml").read_text(encoding="utf-8").count(REPOSITORY) == 1


def test_the_package_index_can_show_the_page(dist):
    """``twine check --strict`` renders it as the index does."""
    pytest.importorskip("twine")
    files = sorted(map(str, dist.iterdir()))
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_citation_names_this_version():
    """``_version.py`` is where the version is set."""
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {VERSION}\n" in citation
