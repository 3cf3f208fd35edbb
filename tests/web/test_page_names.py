import json

from filtertrack import Moment, Run, Snapshot

HOSTILE = "<img src=x onerror=alert(1)>"

# Returns all texts that are shown or read aloud.
READABLE = """body => body.innerText + [...body.querySelectorAll("[title], [aria-label]")]
  .map(each => each.title + each.getAttribute("aria-label")).join("")"""


def test_markup_in_names_is_shown_as_text(logs, open_tab, conv_info):
    """In the names of runs, layers and metrics; no script runs."""
    info = conv_info("rgb", (5, 5, 3, 4), bias=False, path=HOSTILE, class_name=HOSTILE)
    logs.write(HOSTILE, range(2), info)
    tab = open_tab().go(logs.address, runs=json.dumps([HOSTILE])).drawn(1)
    tab.button("filter 1").click()
    tab.says(".caption strong", HOSTILE)
    tab.says(".caption", f"<b>{HOSTILE}</b>")
    tab.says(".sidebar .list", HOSTILE)
    tab.choose_runs("exp1", HOSTILE)
    tab.says(".note", "Its filters have another shape")
    for frame in tab.page.frames:
        assert frame.locator("img[src='x']").count() == 0
    assert tab.at.locator("main b").count() == 0


def test_control_characters_in_names_become_question_marks(logs, open_tab, conv_info):
    """Those that change a text's direction or steer a terminal."""
    name = "run\u202ekcab\x1b[2J\x07"
    run = Run.create(logs.logdir / name, [conv_info("rgb", (5, 5, 3, 4), bias=False)])
    for step in range(2):
        snapshot = logs.weights_at(run, step)
        moment = Moment(step, step, 10 * step, {"lo\u2066ss\r": 1.0})
        run.append(Snapshot(moment, snapshot.arrays))
    tab = open_tab().go(logs.address, runs=json.dumps([name])).drawn(1)
    tab.button("filter 1").click()
    shown = "run?kcab?[2J?"
    tab.says(".caption strong", shown)
    tab.says(".caption", "lo?ss? 1.000")
    tab.says(".sidebar .list", shown)
    tab.choose_runs("exp1", shown)
    read = tab.at.locator("body").evaluate(READABLE)
    assert {c for c in read if not c.isprintable()} <= {"\n", "\xa0"}
