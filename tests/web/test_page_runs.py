"""Runs that grow, end, are damaged or are replaced while the page shows them."""

import re
import shutil

from filtertrack import ArrayTracker, Moment, Run, Snapshot

LAST = 8


def test_a_run_of_another_shape_has_a_note(logs, open_tab, exp1):
    """The reason is shown, and the other run is drawn."""
    logs.write("z_small", range(3))
    tab = open_tab().go(logs.address, runs='["exp1", "z_small"]', layer="rgb").drawn(LAST)
    tab.says(".note", "Its filters have another shape here: 4 × 5 × 5 × 3, not 8 × 7 × 7 × 3.")
    tab.shows(tab.canvas.first, logs.picture([exp1], "rgb", LAST))
    caption, stage = (tab.at.locator(each).first.bounding_box() for each in (".caption", ".stage"))
    assert stage["y"] - caption["y"] - caption["height"] < 12  # the note does not move the grid
    tab.choice("layer").select_option("deep")
    tab.says(".note", "This run has no such layer.")


def test_new_steps_of_a_training_are_shown(logs, open_tab, rng):
    """At the last step the page follows; at another step it stays there."""
    folder = logs.logdir / "z_live"
    with ArrayTracker(folder) as tracker:

        def train(*steps):
            for step in steps:
                kernel = rng.normal(size=(5, 5, 3, 4)).astype("float32")
                tracker.snapshot(step, {"rgb": kernel}, axes="HWIO")

        train(0)
        tab = open_tab().poll_often()
        tab.wait(lambda: Run.exists(folder) and Run(folder).steps, "the first snapshot")
        tab.go(logs.address, runs='["z_live"]', delta=0).drawn(0)
        train(1, 2, 3)
        tab.drawn(3)
        slider = tab.at.get_by_role("slider")
        slider.fill("1")
        tab.drawn(1)
        train(4, 5)
        tab.says(".when", "step 1 · 2 of 6")
        assert tab.grid.get_attribute("data-drawn") == "1"
        slider.press("End")
        tab.drawn(5)
        train(6, 7, 8)
        tab.drawn(8)
    tab.says(".when", "step 8 · 9 of 9")
    tab.shows(tab.canvas, logs.picture([Run(folder)], "rgb", 8))


def test_a_replaced_snapshot_is_drawn_again(logs, open_tab):
    """The same step with other weights."""
    run = logs.write("z_again", range(3))
    tab = (
        open_tab()
        .poll_often()
        .go(logs.address, runs='["z_again"]', step=1, scale="layer")
        .drawn(1)
        .loaded()
    )
    tab.shows(tab.canvas, logs.picture([run], "rgb", 1, scale="layer"))
    run.append(logs.weights_at(run, 1, seed=1))
    tab.shows(tab.canvas, logs.picture([run], "rgb", 1, scale="layer"))
    assert tab.at.locator(".when").inner_text() == "step 1 · 2 of 3"


def test_the_note_of_a_snapshot_is_shown(logs, open_tab):
    """Such as that of weights restored at the end of the training."""
    run = logs.write("z_restored", range(4))
    moment = Moment(4, 3, epochs=9, epoch_batch=0, note="restored: epoch 1")
    run.append(Snapshot(moment, run.snapshot(1).arrays))
    tab = open_tab().go(logs.address, runs='["z_restored"]').drawn(4).loaded()
    assert tab.at.locator(".when").inner_text() == "step 4 · 5 of 5 · restored: epoch 1"
    slider = tab.at.get_by_role("slider", name="Step")
    text = slider.get_attribute("aria-valuetext")
    assert text == "epoch 3 of 9 (restored: epoch 1)"
    assert tab.at.locator(".moment").inner_text().startswith("epoch 3 of 9 (restored: epoch 1)")
    slider.fill("3")
    tab.drawn(3)
    assert tab.at.locator(".when").inner_text() == "step 3 · 4 of 5"


def test_the_caption_says_which_earlier_step_a_run_shows(logs, open_tab):
    """Where a run has no snapshot at the page's step, and where it has ended."""
    logs.write("z_short", [0, 4, 6])
    logs.write("z_every", range(9))
    tab = open_tab().go(logs.address, runs='["z_every", "z_short"]').drawn(8).loaded()
    moment, slider = tab.at.locator(".moment").last, tab.at.get_by_role("slider")
    for step, expected in (
        (8, "its last step, 6 · "),
        (5, "step 4, the last one before 5 · "),
        (6, "epoch 6"),
    ):
        slider.fill(str(step))
        tab.wait(lambda text=expected: moment.inner_text().startswith(text), expected)


def test_damaged_snapshots_are_marked_and_explained(logs, open_tab, tmp_path):
    """By a red mark and the reason; the other snapshots are drawn."""
    run = logs.write("z_broken", range(5))
    logs.damage(run.file(2))
    tab = open_tab().poll_often().go(logs.address, runs='["z_broken"]').drawn(4).loaded()
    tab.says(".status", "damaged: step 2")
    marks = tab.pixels(tab.at.locator("canvas.marks"))
    assert (marks[4] == (196, 58, 49)).all(-1).any()
    tab.at.get_by_role("slider").fill("2")
    tab.says(".note", "step 2 cannot be read:")
    assert "000000000002.npz" in tab.at.locator(".note").inner_text()
    tab.at.get_by_role("slider").press("ArrowRight")
    tab.drawn(3)
    assert tab.at.locator(".note").is_hidden()
    tab.shows(tab.canvas, logs.picture([run], "rgb", 3, steps=[3]))

    for step in (0, 1, 3, 4):
        damaged = tmp_path / "damaged"
        shutil.copy(run.file(step), damaged)
        logs.damage(damaged)
        damaged.replace(run.file(step))
    tab.says(".status", "damaged: step 0, step 1, step 2, step 3, step 4")
    tab.says(".note", "step 3 cannot be read:")
    tab.choose_runs("exp1")
    tab.drawn(3)


def test_a_damaged_manifest_leaves_the_other_run(logs, open_tab, exp1, conv_info):
    """The reason is shown, and the other run is drawn."""
    run = logs.write("z_nothing", range(3), conv_info("rgb", (7, 7, 3, 8), bias=False))
    (run.folder / "manifest.json").write_text("{")
    tab = open_tab()
    tab.expected = [r"^400: .*run=z_nothing", r"^console: .* 400 .*run=z_nothing"]
    tab.go(logs.address, runs='["exp1", "z_nothing"]', layer="rgb")
    tab.says(".alert", "manifest.json")
    tab.drawn(LAST)
    tab.shows(tab.canvas.first, logs.picture([exp1], "rgb", LAST))


def test_a_run_without_snapshots_has_a_note(logs, open_tab):
    """Its first snapshot is shown when it is written."""
    run = logs.write("z_begun", [])
    tab = open_tab().poll_often().go(logs.address, runs='["z_begun"]')
    tab.at.locator("main").filter(
        has_text=re.compile(r"no (snapshot|step)|not begun|not yet", re.IGNORECASE)
    ).wait_for()
    run.append(logs.weights_at(run, 0))
    tab.drawn(0)


def test_an_unreadable_run_does_not_stop_the_other(logs, open_tab, conv_info):
    """New snapshots of the other one are shown."""
    info = conv_info("rgb", (5, 5, 3, 4), bias=False)
    run = logs.write("z_fine", range(3), info)
    other = logs.write("z_gone", range(3), info)
    tab = open_tab().poll_often()
    tab.expected.append("z_gone")
    tab.go(logs.address, runs='["z_fine", "z_gone"]').drawn(2)
    (other.folder / "manifest.json").write_text("{")
    tab.says(".alert", "manifest.json")
    run.append(logs.weights_at(run, 3))
    tab.drawn(3)


def test_no_picture_of_a_damaged_step_is_saved(logs, open_tab):
    """Nor of the step before it under this step's name; the open filter is marked, too."""
    run = logs.write("z_unread", range(3))
    logs.damage(run.file(1))
    tab = open_tab().go(logs.address, runs='["z_unread"]', filter=2, step=0).drawn(0).loaded()
    tab.at.get_by_role("slider").press("ArrowRight")
    tab.says(".note", "step 1 cannot be read")
    tab.at.locator(".block.damaged").wait_for()
    tab.button("Save the grid as PNG").click()
    tab.says(".alert", "no picture to save")


def test_a_replaced_run_stays_chosen(logs, open_tab, conv_info):
    """While it is missing another run is shown; then it is shown again."""
    info = conv_info("rgb", (5, 5, 3, 4), bias=False)
    run = logs.write("z_renewed", range(3), info)
    tab = open_tab().poll_often()
    tab.expected.append("z_renewed")
    tab.go(logs.address, runs='["z_renewed"]').drawn(2)
    run.folder.rename(run.path / "away")
    shown = tab.at.locator(".caption strong")
    tab.wait(lambda: "z_renewed" not in shown.all_inner_texts(), "another run")
    (run.path / "away").rename(run.folder)
    tab.says(".caption strong", "z_renewed")
    tab.drawn(2)


def test_a_link_to_the_run_at_the_root_opens_it_by_its_name(exp1, logs, open_tab, serve, tmp_path):
    """Links of earlier versions name it ``.``; another run comes first in the list."""
    root = tmp_path / "root"
    shutil.copytree(exp1.path, root)
    Run.create(root / "another", [exp1.layer("deep")])
    with serve(root) as address:
        tab = open_tab().go(address, runs='["."]', layer="rgb", step=LAST).drawn(LAST)
        tab.shows(tab.canvas.first, logs.picture([exp1], "rgb", LAST))
        tab.wait(lambda: "%22root%22" in tab.page.url, "the name of the run")
        tab.page.goto("about:blank")  # before the server ends
