"""Runs made of models, arrays and files, by the command's functions and ``Run.from_models``."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run, animate, filmstrip, measure
from filtertrack.capture.checkpoint_import import OtherKernelsError, import_sources, preview
from filtertrack.capture.checkpoint_search import about_gaps, about_start, find_files
from filtertrack.outputs.layer_cells import LayerCells, part_text
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.look import Look
from filtertrack.snapshot import describe


@pytest.fixture
def arrays(rng):
    """Return a function that makes the kernels of a model, as arrays by name."""

    def make(grow=0.0, **shapes):
        shapes = shapes or {"conv1": (3, 3, 1, 4), "conv2": (3, 3, 4, 6)}
        fixed = np.random.default_rng(0)
        return {
            name: (fixed.normal(size=shape) + grow).astype("float32")
            for name, shape in shapes.items()
        }

    return make


def test_models_become_the_snapshots_of_a_run(tmp_path, tiny_model, weights_of):
    """Bit for bit, with the names that a tracker gives, at the steps 1, 2 and so on."""
    import keras

    tuned = keras.models.clone_model(tiny_model)
    run = Run.from_models(tmp_path / "run", [tiny_model, tuned])
    assert (run.steps, list(run.layers)) == ([1, 2], ["conv1", "conv2"])
    for step, model in ((1, tiny_model), (2, tuned)):
        for name, (kernel, bias) in weights_of(model).items():
            np.testing.assert_array_equal(run.snapshot(step).arrays[f"{name}/kernel"], kernel)
            np.testing.assert_array_equal(run.bias(name, step), bias)
    assert describe(run.moment(1)) == "step 1"
    assert run.software["imported"] == "models or arrays"


def test_steps_and_metrics_are_given_in_three_forms(tmp_path, arrays):
    """A list with steps, a dictionary by step, or an iterator."""
    first, second = arrays(), arrays(1.0)
    losses = [{"loss": 2.0}, {"loss": 1.0}]
    runs = [
        Run.from_models(
            tmp_path / "a", [first, second], steps=[5, 20], axes="HWIO", metrics=losses
        ),
        Run.from_models(
            tmp_path / "b",
            {20: second, 5: first},
            axes="HWIO",
            metrics={5: losses[0], 20: losses[1]},
        ),
        Run.from_models(
            tmp_path / "c", iter([first, second]), steps=(5, 20), axes="HWIO", metrics=losses
        ),
    ]
    for run in runs:
        assert run.steps == [5, 20]
        assert [run.moment(step).metrics["loss"] for step in run.steps] == [2.0, 1.0]
        np.testing.assert_array_equal(run.snapshot(20).arrays["conv1/kernel"], second["conv1"])


def test_no_caption_claims_the_start_of_training(tmp_path, arrays):
    """Differences name the first snapshot; a step 0 that is given is the start of the run only."""
    run = Run.from_models(tmp_path / "run", {10: arrays(), 20: arrays(0.5)}, axes="HWIO")
    assert [describe(run.moment(step)) for step in run.steps] == ["step 10", "step 20"]
    layer = LayerCells(run, "conv1", [20], part_of(Look(delta=True)))
    assert part_text(layer) == "learned: difference from step 10, up to 0.500"
    figure = filmstrip(run, delta=True)
    texts = " ".join(text.get_text() for text in figure.texts)
    assert "difference from step 10" in texts
    assert "start" not in texts
    zero = Run.from_models(tmp_path / "zero", {0: arrays(), 1: arrays(1.0)}, axes="HWIO")
    assert describe(zero.moment(0)) == "start (step 0)"


def test_images_for_tensorboard_do_not_claim_it_either(tmp_path, arrays, read_events):
    """They are those of the tracker, described as from the first snapshot on."""
    run = Run.from_models(tmp_path / "run", {10: arrays(), 20: arrays(0.5)}, axes="HWIO")
    text = b"".join(file.read_bytes() for file in run.folder.glob("events.*"))
    assert b"filters_learned/conv1" in text
    assert b"Animation of 2 snapshots, from step 10 on." in text
    assert b"start of training" not in text


def test_every_output_works_on_such_a_run(tmp_path, arrays):
    """Animations, filmstrips and measures."""
    run = Run.from_models(tmp_path / "run", [arrays(n / 3) for n in range(4)], axes="HWIO")
    assert animate(run, tmp_path / "a.gif").frames == 4
    assert filmstrip(run, tmp_path / "a.png")
    assert list(measure(run).layers["conv1"].steps) == [1, 2, 3, 4]


def test_layers_are_selected_by_names_and_patterns(tmp_path, arrays):
    """As for a tracker; a pattern without a match names the layers there are."""
    run = Run.from_models(tmp_path / "run", [arrays()], layers="*2", axes="HWIO")
    assert list(run.layers) == ["conv2"]
    with pytest.raises(FiltertrackError, match=r"source 1 .*'x'; there are: conv1, conv2"):
        Run.from_models(tmp_path / "no", [arrays()], layers="x", axes="HWIO")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"conv1": (3, 3, 1, 4)}, "it lacks conv2"),
        (
            {"conv1": (5, 5, 1, 4), "conv2": (3, 3, 4, 6)},
            "conv1 has the shape (5, 5, 1, 4), before",
        ),
        (
            {"conv1": (3, 3, 1, 4), "conv2": (3, 3, 4, 6), "conv3": (3, 3, 4, 6)},
            "it also has conv3",
        ),
    ],
    ids=["layer missing", "other shape", "further layer"],
)
def test_other_kernels_are_refused_and_leave_nothing(tmp_path, arrays, shapes, message):
    """The message names the source and the layer; the run of the first ones is deleted."""
    sources = [arrays(), arrays(0.5), arrays(**shapes)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("the user's own file")
    with pytest.raises(OtherKernelsError) as error:
        Run.from_models(tmp_path / "run", sources, axes="HWIO")
    assert "source 3 (dict) has other kernels than source 1 (dict)" in str(error.value)
    assert message in str(error.value)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_kernels_are_matched_without_the_numbers_of_keras(tmp_path, small):
    """Keras numbers the names of layers through the whole program."""
    import keras

    def make():
        layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(6, 3)]
        return keras.Sequential(layers)

    run = Run.from_models(tmp_path / "run", [make(), make()])
    assert (len(run.layers), run.steps) == (2, [1, 2])


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([], {}, "the list is empty"),
        (iter([]), {}, "there are none"),
        ("a.keras", {}, "expected a list of models or files, or step to model, got str"),
        ({"conv1": 1}, {}, "step to model, such as {0: first, 10: second}"),
        (["missing.keras"], {}, "no such file: 'missing.keras'"),
        ([1, 2], {"steps": [1]}, "steps: expected one for each of 2 sources, got 1"),
        ([1, 2], {"steps": [3, 3]}, "have the same step, 3"),
        ([1], {"steps": [-1]}, "step: expected a whole number from 0"),
        ([1], {"metrics": [{}, {}]}, "metrics: expected one for each of 1 sources, got 2"),
        ([1], {"metrics": [3]}, "metrics: expected name to number for each source"),
        ([1], {}, "got int"),
    ],
    ids=range(11),
)
def test_wrong_arguments_are_refused(tmp_path, sources, options, message):
    """The message says what is expected; nothing is written."""
    with pytest.raises(FiltertrackError) as error:
        Run.from_models(tmp_path / "run", sources, **options)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_not_touched(run, arrays):
    """The message says to give another folder."""
    before = {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}
    with pytest.raises(FiltertrackError, match="already holds a run; give another folder"):
        Run.from_models(run.path, [arrays()], axes="HWIO")
    assert {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()} == before


def test_an_iterator_is_read_one_source_at_a_time(tmp_path):
    """Memory does not grow with the number of models."""

    def models(number):
        for step in range(number):
            yield {"conv": np.full((3, 3, 512, 128), step, np.float32)}  # 2.4 MB

    def peak(number):
        tracemalloc.start()
        Run.from_models(tmp_path / f"run{number}", models(number), axes="HWIO")
        (_, most), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
        return most

    peak(2)
    assert peak(12) < 1.1 * peak(3)


def imported(folder, *patterns, steps=None, **options):
    """Import files by patterns, as the command does."""
    found = find_files([str(pattern) for pattern in patterns], steps)
    return import_sources(folder, found.sources, **options)


def test_files_become_snapshots_at_the_steps_of_their_names(save, tmp_path):
    """With their metrics and the times at which they were written."""
    for epoch in (2, 10, 3):
        path = save(f"ckpt/epoch_{epoch}-val_loss{1 / epoch:.3f}.keras", epoch)
        os.utime(path, (1e9 + epoch, 1e9 + epoch))
    run = imported(tmp_path / "run", tmp_path / "ckpt" / "*.keras").run
    assert run.steps == [2, 3, 10]
    for step in run.steps:
        moment = run.moment(step)
        assert (describe(moment), moment.wall_time) == (f"epoch {step}", 1e9 + step)
        assert moment.metrics == {"val_loss": round(1 / step, 3)}
        assert run.kernels("conv", step).max() == step
    assert run.software["imported"] == "keras files"


def test_from_models_reads_files_as_the_command_does(save, tmp_path):
    """Steps from the names; without any in the order of the list."""
    files = [save(f"epoch_{epoch}.keras", epoch) for epoch in (2, 10)]
    assert Run.from_models(tmp_path / "run", files).steps == [2, 10]
    pretrained, tuned = save("pretrained.keras", 1.0), save("fine.keras", 2.0)
    run = Run.from_models(tmp_path / "tuned", [pretrained, str(tuned)])
    assert [describe(run.moment(step)) for step in run.steps] == [
        "step 1 (pretrained)",
        "step 2 (fine)",
    ]
    with pytest.raises(FiltertrackError, match=r"no number in the name .*best.keras"):
        Run.from_models(tmp_path / "no", [*files, save("best.keras")])


def test_files_folders_and_patterns_are_expanded(save, tmp_path, monkeypatch):
    """Each file once; other files of a pattern are named, those of a folder are not."""
    monkeypatch.chdir(tmp_path)
    files = [save(f"a/{n}/m.keras", n) for n in (1, 2)]
    (tmp_path / "a" / "notes.txt").write_text("not a checkpoint")
    (tmp_path / "a" / "1" / "config.json").write_text("{}")
    found = find_files([str(tmp_path / "a" / "**" / "*"), str(files[0]), "a/1/m.keras"])
    assert [source.name for source in found.sources] == list(map(str, files))
    assert [source.moment.step for source in found.sources] == [1, 2]
    assert set(found.left_out) == {str(tmp_path / "a/notes.txt"), str(tmp_path / "a/1/config.json")}
    folder = find_files([str(tmp_path / "a" / "1")])
    assert [source.name for source in folder.sources] == [str(files[0])]
    assert not folder.left_out
    with pytest.raises(FiltertrackError, match=r"no checkpoint file in .*\.pt"):
        find_files([str(tmp_path / "*.pt")])


@pytest.mark.parametrize("pattern", ["", "*"])
def test_the_file_that_keras_leaves_when_it_saves_is_not_imported(tmp_path, pattern):
    """``model.weights.h5`` holds what the last ``.keras`` file does; without one it is kept."""
    (tmp_path / "model.weights.h5").write_bytes(b"")
    alone = find_files([str(tmp_path / pattern)])
    assert [Path(source.name).name for source in alone.sources] == ["model.weights.h5"]
    for name in ("m1.keras", "m2.keras"):
        (tmp_path / name).write_bytes(b"")
    found = find_files([str(tmp_path / pattern)])
    assert [Path(source.name).name for source in found.sources] == ["m1.keras", "m2.keras"]
    assert "Keras 3.4 leaves it" in found.left_out[str(tmp_path / "model.weights.h5")]
    assert len(find_files([str(tmp_path / "model.weights.h5")]).sources) == 1
    with pytest.raises(FiltertrackError, match="no such file"):
        find_files([str(tmp_path / "missing.keras")])


def test_parts_of_checkpoints_are_no_checkpoints(tmp_path):
    """Shards beside their index, the data files of TensorFlow, and other JSON files."""
    names = ["m.weights.json", "m_00000.weights.h5", "m_00001.weights.h5", "x_00001.weights.h5"]
    names += ["ckpt-7.index", "ckpt-7.data-00000-of-00001"]
    names += ["h.safetensors.index.json", "h-00001-of-00002.safetensors", "config.json"]
    for name in names:
        (tmp_path / name).touch()
    whole = ["ckpt-7.index", "h.safetensors.index.json", "m.weights.json", "x_00001.weights.h5"]
    for pattern, left_out in ((tmp_path, 0), (tmp_path / "*", 1)):
        found = find_files([str(pattern)], [range(4)])
        assert [source.name.rpartition("/")[2] for source in found.sources] == whole
        assert len(found.left_out) == left_out
    assert find_files([str(tmp_path / "ckpt-7")]).sources[0].moment.step == 7


def test_a_template_names_the_step_and_the_metrics(save, tmp_path):
    """A file that does not fit is left out."""
    for name in ("m2-01-0.5.keras", "m2-02--0.25.keras", "m2-x-y.keras"):
        save(name)
    found = find_files([str(tmp_path / "m2-{epoch:02d}-{val_loss:.2f}.keras").replace(".2f", "g")])
    assert [dict(s.moment.metrics) for s in found.sources] == [
        {"val_loss": 0.5},
        {"val_loss": -0.25},
    ]
    assert [s.moment.epoch for s in found.sources] == [1, 2]
    assert list(found.left_out.values()) == ["its name does not fit the template"]
    with pytest.raises(FiltertrackError, match=r"a template, .*, is used alone"):
        find_files([str(tmp_path / "m-{epoch}.keras"), str(tmp_path)])


def test_steps_that_are_given_replace_those_of_the_names(save, tmp_path):
    """In the natural order of the names; as many as files."""
    for name in ("b.keras", "a10.keras", "a9.keras"):
        save(name)
    pattern = str(tmp_path / "*.keras")
    found = find_files([pattern], [5, range(10, 21, 10)])
    steps = {source.name.rpartition("/")[2]: source.moment.step for source in found.sources}
    assert steps == {"a9.keras": 5, "a10.keras": 10, "b.keras": 20}
    with pytest.raises(FiltertrackError, match="steps: expected one for each of 3 files, got 2"):
        find_files([pattern], [1, 2])
    with pytest.raises(FiltertrackError, match="got 1000000000"):
        find_files([pattern], [range(10**9)])


@pytest.mark.parametrize("damaged", [1, 2, 4], ids="file {}".format)
def test_a_damaged_file_is_left_out(save, tmp_path, damaged):
    """The first, one in the middle, or the last: with its reason; the others are imported."""
    files = [save(f"epoch_{epoch}.keras", epoch) for epoch in (1, 2, 3, 4)]
    whole = files[damaged - 1].read_bytes()
    files[damaged - 1].write_bytes(whole[: len(whole) // damaged - 1])  # cut off
    done = imported(tmp_path / "run", tmp_path / "*.keras")
    assert done.run.steps == [step for step in (1, 2, 3, 4) if step != damaged]
    assert list(done.unreadable) == [str(files[damaged - 1])]
    assert str(tmp_path) not in done.unreadable[str(files[damaged - 1])]
    assert done.run.verify() == {}


def test_from_models_logs_files_that_are_left_out(save, tmp_path, caplog):
    """Each once, with the reason."""
    files = [save(f"epoch_{epoch}.keras", epoch) for epoch in (1, 2)]
    files[0].write_bytes(b"damaged")
    assert Run.from_models(tmp_path / "run", files).steps == [2]
    assert caplog.text.count("epoch_1.keras is left out: ") == caplog.text.count("epoch_1") == 1


def test_without_a_readable_file_there_is_no_run(save, tmp_path):
    """The error names the files and the reasons."""
    for epoch in (1, 2):
        save(f"epoch_{epoch}.keras").write_bytes(b"damaged")
    with pytest.raises(FiltertrackError, match=r"none of 2 files can be imported: .*h_1.*h_2"):
        imported(tmp_path / "run", tmp_path / "*.keras")
    assert not (tmp_path / "run").exists()


def test_files_of_other_kernels_are_refused(save, tmp_path):
    """The message names both files; nothing is left."""
    save("epoch_1.keras"), save("epoch_2.keras", shape=(5, 5, 1, 4))
    with pytest.raises(OtherKernelsError, match=r"epoch_2.keras has other .*epoch_1.keras: conv"):
        imported(tmp_path / "run", tmp_path / "*.keras")
    assert not (tmp_path / "run").exists()


def test_an_interrupt_leaves_nothing(save, tmp_path):
    """Ctrl-C while files are imported; an error of the disk."""
    for epoch in (1, 2, 3):
        save(f"epoch_{epoch}.keras")
    for stop in (KeyboardInterrupt, OSError):

        def interrupt(done, total, stop=stop):
            assert total == 3
            if done == 2:
                raise stop

        with pytest.raises(stop):
            imported(tmp_path / "run", tmp_path / "*.keras", progress=interrupt)
        assert not (tmp_path / "run").exists()


def test_a_preview_reads_no_kernel(save, tmp_path):
    """It tells kernels and problems as the import does."""
    files = [save(f"epoch_{epoch}.keras") for epoch in (1, 2)]
    files[0].write_bytes(b"damaged")
    first, second = preview(find_files([str(tmp_path)]).sources)
    assert (first.infos, first.problem != "") == ((), True)
    assert ([info.name for info in second.infos], second.problem) == (["conv"], "")
    save("epoch_3.keras", shape=(5, 5, 1, 4))
    with pytest.raises(OtherKernelsError):
        list(preview(find_files([str(tmp_path)]).sources))


def test_the_start_and_the_gaps_are_told(save, tmp_path):
    """As a checkpoint folder has no step 0, and save_best_only leaves epochs out."""
    for epoch in (1, 2, 3, 6, 8, 13):
        save(f"epoch_{epoch}.keras")
    moments = [source.moment for source in find_files([str(tmp_path)]).sources]
    assert about_start(moments[0]) == (
        "no step 0: checkpoints do not hold the weights before training, so drift and differences "
        "are from epoch 1"
    )
    assert about_gaps(moments) == "epochs 4, 5, 7, 9 to 12 are missing (save_best_only?)"
    assert about_gaps(moments[:3]) == ""
    assert about_gaps([moments[0], moments[2]]) == ""
    zero = find_files([str(save("zero/ckpt-0.keras"))]).sources[0].moment
    assert "whether it holds the weights before training is not known" in about_start(zero)


def test_steps_are_no_epochs_in_gaps(save, tmp_path):
    """Steps are rarely regular."""
    for step in (1, 2, 30):
        save(f"step_{step}.keras")
    assert about_gaps([source.moment for source in find_files([str(tmp_path)]).sources]) == ""


def test_modules_of_torch_become_snapshots(tmp_path):
    """With the names and weights of the module."""
    torch = pytest.importorskip("torch")
    modules = [torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)) for _ in range(2)]
    run = Run.from_models(tmp_path / "run", modules)
    assert run.steps == [1, 2]
    for step, module in enumerate(modules, start=1):
        (kernel,) = (run.snapshot(step).arrays[info.kernel] for info in run.layers.values())
        np.testing.assert_array_equal(kernel, module[0].weight.detach().numpy())
