"""The loader that TensorBoard imports."""

import argparse
import logging
import sys
from types import SimpleNamespace

import pytest
from tensorboard.plugins import base_plugin

from filtertrack.tensorboard_plugin import loader


def test_an_import_error_costs_only_this_tab(monkeypatch, caplog, tmp_path):
    """``load`` returns None, as TensorBoard expects, and logs the reason."""
    monkeypatch.setitem(sys.modules, "filtertrack.tensorboard_plugin.plugin", None)
    context = base_plugin.TBContext(logdir=str(tmp_path), flags=SimpleNamespace(logdir_spec=""))
    with caplog.at_level(logging.ERROR, "filtertrack"):
        assert loader.FiltersLoader().load(context) is None
    assert "the tab Filters is left out" in caplog.text


def test_load_returns_the_plugin(tmp_path):
    """Also if TensorBoard's flags have no ``--logdir_spec``."""
    context = base_plugin.TBContext(logdir=str(tmp_path), flags=SimpleNamespace())
    assert loader.FiltersLoader().load(context).plugin_name == "filtertrack"


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        (["--filtertrack_all_images"], None, {"images": 1000}),
        (["--filtertrack_all_images"], {}, {"images": 1000}),
        (["--filtertrack_all_images"], {"images": 3}, {"images": 3}),
        (["--filtertrack_all_images"], {"scalars": 5}, {"images": 1000, "scalars": 5}),
        ([], {"scalars": 5}, {"scalars": 5}),
        ([], None, None),
    ],
)
def test_the_flag_raises_the_limit_of_the_images_tab(asked, given, expected):
    """Unless the user has set one."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(samples_per_plugin=given)
    loader.FiltersLoader().define_flags(parser)
    flags = parser.parse_args(asked)
    loader.FiltersLoader().fix_flags(flags)
    assert flags.samples_per_plugin == expected


def test_missing_flags_change_nothing():
    """As if TensorBoard were started from Python with a loader that defined none."""
    flags = argparse.Namespace(samples_per_plugin={"images": 4})
    loader.FiltersLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"images": 4}
