"""Invalid requests of the tab's routes."""

import time
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROUTES = (
    *("settings", "palette", "runs", "layers", "parts", "steps", "cells", "order", "trajectory"),
    *("label", "animation"),
)

NONSENSE = {
    "filters": ["", "4", "0-4", "0,0", "0-2,1", ",", "-", "0-", "-1", "1.5", "x", "0x1", "1e3"],
    "first": ["", "-1", "1.5", "x", "9" * 13, "٣", " 1", "1_000", "+1"],
    "last": ["", "-1", "NaN", "9" * 400],
    "channels": ["-1", "1", "Strongest", "weakest", "9" * 12],
    "layer": ["", "conv", "conv1/", "../conv1", "*", "conv[1]"],
    "run": ["", "none", "run/", "./run", "RUN", "run\0"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in NONSENSE.items() for value in values]
)
def test_an_invalid_value_answers_400(run, tab, name, value):
    """One invalid value among valid ones."""
    right = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    tab.refused("cells", {**right, name: value})


@pytest.mark.parametrize("name", ["run", "layer", "filters", "first", "channels", "version"])
def test_very_long_values_are_refused(run, tab, name):
    """They are not repeated in the answer."""
    right = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    tab.refused("cells", {**right, name: "1" * 5000}, "at most 4096 characters")


@pytest.mark.parametrize(
    "filters",
    [
        *("0-999999999999", "0-4095," * 584 + "0", "3-1"),
        "3-1,0",
    ],
    ids=["huge", "many", "backwards", "backwards among others"],
)
def test_huge_and_descending_ranges_are_refused(run, tab, filters):
    """Before they take memory."""
    request = {"run": "run", "layer": "conv1", "filters": filters}
    began = time.process_time()
    tab.refused("cells", {**request, "first": 0, "last": 2})
    tab.refused("animation", {**request, "ending": ".gif"})
    assert time.process_time() - began < 10


@pytest.mark.parametrize("value", ["", "-1", "4", "x", "999999999999"])
def test_an_unknown_filter_is_refused(run, tab, value):
    """By the trajectory and by the label."""
    request = {"run": "run", "layer": "conv1", "filter": value}
    tab.refused("trajectory", request, "filter")
    tab.refused("label", {**request, "step": 0}, "filter")


@pytest.mark.parametrize("step", ["", "3", "-1", "999999999999"])
def test_an_unknown_step_is_refused(run, tab, step):
    """By the label."""
    tab.refused("label", {"run": "run", "layer": "conv1", "filter": 0, "step": step})


VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2", "3", "0-3", "0,2", "3-1", "999999999999", "conv1", "conv2", "run"]
    ),
    st.sampled_from(["strongest", "label", "similarity", "viridis", ".gif", "light", "frame"]),
    st.text(max_size=12),
    st.integers().map(str),
).map(lambda text: quote_from_bytes(text.encode())) | st.binary(max_size=8).map(quote_from_bytes)
NAMES = st.sampled_from(
    [
        *("run", "layer", "filters", "filter", "channels", "delta", "first", "last", "version"),
        *("order", "step", "known", "colormap", "compare", "ending", "scale", "theme", "fps"),
        *("zero_centred", "one_scale", "channel_names", "smooth"),
    ]
)


@pytest.mark.parametrize("route", ROUTES)
def test_any_query_is_answered_with_200_or_400(route, run, tab, strict_json):
    """Whatever the query holds: an answer, or one sentence that says what is wrong."""
    usual = {"run": "run", "layer": "conv1", "filters": "0-3", "filter": "1", "first": "0"}
    usual |= {"last": "2", "order": "drift", "step": "1", "ending": ".gif"}

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.dictionaries(NAMES, VALUES, max_size=4), st.sets(st.sampled_from(sorted(usual))))
    def request(given, left_out):
        query = {k: v for k, v in usual.items() if k not in left_out} | given
        answer = tab.ask(route, "&".join(f"{name}={value}" for name, value in query.items()))
        assert answer.status_code in {200, 400}, (query, answer.text)
        if answer.status_code == 400:
            assert answer.mimetype == "text/plain"
            assert 0 < len(answer.text) < 10_000
            assert "Traceback" not in answer.text
        elif answer.mimetype == "application/json":
            strict_json(answer.text)

    request()


@pytest.mark.parametrize("text", ["", "&&&", "=", "run", "%", "%zz=%ff", "run=run&run=other", ";"])
@pytest.mark.parametrize("route", ROUTES)
def test_malformed_query_strings(run, tab, route, text):
    """They are answered like any other."""
    assert tab.ask(route, text).status_code in {200, 400}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_answer_405(run, tab, method):
    """Every route is read-only, and no file changes."""
    before = sorted(run.path.rglob("*"))
    for route in (*ROUTES, "static/index.js"):
        answer = tab.ask(route, {"run": "run", "layer": "conv1"}, method=method)
        assert answer.status_code == 405, route
        assert answer.mimetype == "text/plain"
    assert sorted(run.path.rglob("*")) == before


def test_405_lists_the_allowed_methods(tab):
    """In the ``Allow`` header, as RFC 9110, 15.5.6 requires."""
    assert "GET" in tab.ask("runs", method="POST").headers.get("Allow", "")
