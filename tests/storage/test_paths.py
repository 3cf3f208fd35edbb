from pathlib import Path

import pytest

from filtertrack import FiltertrackError
from filtertrack.storage.paths import is_address, path_of


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/run", "gs://b", "memory://run", "simplecache::s3://b/run", "abfs://c@a/run"],
)
def test_addresses(text):
    """What fsspec knows as one."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["runs/exp1", "/abs/run", "C:\\runs", "C:/runs", "C://runs", "a:b", "file:///run", ""]
)
def test_no_addresses(text):
    """Paths on disk, also of another system, and those of ``file://``."""
    assert not is_address(text)
    assert isinstance(path_of(text), Path)


def test_a_path_on_disk_stays_what_it_is(tmp_path):
    """Also as a ``Path``, and without ``file://``."""
    assert path_of(tmp_path) == path_of(str(tmp_path)) == path_of(f"file://{tmp_path}") == tmp_path


@pytest.mark.parametrize("text", ["s3:/bucket/run", "gs:/b", "memory:/run"])
def test_a_path_that_was_an_address(text):
    """It has lost a slash: said, with what to do."""
    with pytest.raises(FiltertrackError, match="give it as text"):
        path_of(Path(text))


def test_a_place_is_one_already():
    """What ``Run.path`` returns can be handed back, and is told apart by its address."""
    place = path_of("memory://box/run")
    assert path_of(place) == place
    assert hash(path_of(str(place))) == hash(place)
    assert place != place / "filters"
    assert (place / "filters").parent == place
    assert (place.name, place.parts) == ("run", ("memory://", "box", "run"))
    assert place.absolute() is place
    assert repr(place) == "RemotePath('memory://box/run')"
