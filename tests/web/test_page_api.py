"""The answers' types, and the page that describes them: ``http_api.md``."""

import re
import subprocess
import sys
from inspect import getsource
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.plugins import base_plugin

from filtertrack.render.encoders.formats import ANIMATION_FORMATS
from filtertrack.render.look import GREY, LOOK_OPTIONS, Look
from filtertrack.render.palette import OUTLINED, THEMES
from filtertrack.tensorboard_plugin.plugin import FiltersPlugin
from filtertrack.tensorboard_plugin.query import Query
from filtertrack.web import filter_answers, metric_curves, page_api, payload, probe_answers

DOCUMENT = (Path(page_api.__file__).parent / "http_api.md").read_text()
SECTIONS = dict(re.findall(r"^## GET (\S+)\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE))
TYPES = {
    **vars(page_api),
    **vars(payload),
    **vars(metric_curves),
    **vars(filter_answers),
    **vars(probe_answers),
}


def rows(section, heading):
    """Return the names in the first column of the table with a heading."""
    table = re.search(rf"^\| {heading} \| \|\n\|---\|---\|\n((?:\|.*\n?)+)", section, re.MULTILINE)
    return set(re.findall(r"^\| `(\w+)`", table[1], re.MULTILINE)) if table else set()


@pytest.fixture
def plugin(tmp_path):
    flags = SimpleNamespace(logdir=str(tmp_path), logdir_spec="")
    return FiltersPlugin(base_plugin.TBContext(logdir=str(tmp_path), flags=flags))


def test_every_route_is_documented(plugin):
    """``http_api.md`` has a section for each route of the plugin, and no other."""
    assert set(SECTIONS) == set(plugin.get_plugin_apps())


@pytest.mark.parametrize("route", SECTIONS)
def test_every_parameter_is_documented(route):
    """A section lists the parameters that the route's code reads, and no other."""
    code = getsource(getattr(FiltersPlugin, f"_{route.strip('/*')}"))
    read = set(re.findall(r'\.(?:text|number|numbers|channels|flag)\("(\w+)"\)', code))
    helpers = {
        "_open_run(": {"run"},
        "_open_layer(": {"run", "layer"},
        "filter_of(": {"filter"},
        "max_age(": {"version"},
        "animation_options(": {option.name for option in LOOK_OPTIONS} | {"fps", "one_scale"},
    }
    read |= {name for call, names in helpers.items() if call in code for name in names}
    assert rows(SECTIONS[route], "parameter") == read


@pytest.mark.parametrize("route", [route for route in SECTIONS if "JSON" in SECTIONS[route]])
def test_every_field_is_documented(route):
    """A section lists the fields of the answer's type, and those of the objects in it."""
    section = SECTIONS[route]
    answer = TYPES[re.search(r"JSON, `(\w+)`", section)[1]]
    assert rows(section, "field") == set(answer.__annotations__)
    for fields, name in re.findall(r"objects? with (.*?) \(`(\w+)`\)", section):
        assert set(re.findall(r"`(\w+)`", fields)) == set(TYPES[name].__annotations__)


def test_the_documented_endings_are_those_of_the_formats():
    """``/animation`` lists every file format."""
    row = next(line for line in SECTIONS["/animation"].splitlines() if "`ending`" in line)
    assert re.findall(r"`(\.\w+)`", row) == list(ANIMATION_FORMATS)


def test_the_settings_hold_every_option_of_a_look():
    """Defaults and choices are those of ``Look``; of the colormaps, those the page offers."""
    settings = page_api.page_settings()
    assert list(settings["look"]) == [option.name for option in LOOK_OPTIONS]
    for option in LOOK_OPTIONS:
        sent = settings["look"][option.name]
        assert sent["default"] == getattr(Look(), option.name)
        if option.name != "colormap":
            assert sent["choices"] == list(option.choices)
    assert settings["look"]["colormap"]["choices"][0] == GREY
    assert set(settings["separators"]) == set(THEMES)
    for name, theme in THEMES.items():
        assert settings["outlines"][name] == dict(zip(OUTLINED, theme.outlines, strict=True))


def test_the_settings_offer_each_file_format_once():
    """With its first ending: ``.apng`` is another ending of ``.png``."""
    formats = page_api.page_settings()["formats"]
    assert formats == [".gif", ".png", ".webp", ".mp4", ".webm"]
    assert {ANIMATION_FORMATS[ending].mime for ending in formats} == {
        form.mime for form in ANIMATION_FORMATS.values()
    }


@pytest.mark.parametrize("hide", ["", "sys.modules['av'] = None; "], ids=["with", "without"])
def test_videos_are_offered_only_where_they_can_be_written(hide):
    """PyAV is not imported to find out."""
    code = (
        f"import sys; {hide}from filtertrack.web.page_api import page_settings; "
        "print(*page_settings()['formats'], sys.modules.get('av'))"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    videos = "" if hide else ".mp4 .webm "
    assert shown == f".gif .png .webp {videos}None\n"


def test_an_animation_takes_every_option_of_a_look(conv_info):
    """Each option in the query reaches ``animate``; a look made of them is valid."""
    query = {option.name: option.choices[-1] for option in LOOK_OPTIONS if option.choices}
    query |= {option.name: "1" for option in LOOK_OPTIONS if option.flag}
    query |= {"filters": "0-2", "channels": "0", "colormap": "viridis", "order": "stored"}
    query |= {"channel_names": "red,green"}
    options = Query(query).animation_options(conv_info())
    assert options.pop("layers") == ["conv1"]
    assert set(options) == {option.name for option in LOOK_OPTIONS}
    assert Look(**options).zero_centred is True
