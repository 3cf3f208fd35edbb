import math
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment
from filtertrack.capture.checkpoint_names import (
    Template,
    missing_epochs,
    natural_order,
    read_by_template,
    read_names,
)
from filtertrack.snapshot import describe


def steps(*names):
    """Return the steps that names tell, as a list."""
    return [moment and moment.step for moment in read_names(names).moments]


def metrics(*names):
    """Return the metrics that names tell."""
    return [dict(moment.metrics) for moment in read_names(names).moments]


@pytest.mark.parametrize(
    ("names", "described"),
    [
        (["epoch_9.keras", "epoch_12.keras"], ["epoch 9", "epoch 12"]),
        (["weights.05-0.31.keras", "weights.12-0.29.keras"], ["epoch 5", "epoch 12"]),
        (["m-ep003-loss3.2.h5", "m-ep010-loss3.1.h5"], ["epoch 3", "epoch 10"]),
        (["epoch=1-step=100.ckpt", "epoch=2-step=200.ckpt"], ["epoch 1", "epoch 2"]),
        (["epoch=3-step=100.ckpt", "epoch=3-step=200.ckpt"], ["step 100", "step 200"]),
        (["step_2000.pt", "step_100.pt"], ["step 2000", "step 100"]),
        (["iter10.pt", "iter20.pt"], ["step 10", "step 20"]),
        (["ckpt-7.index", "ckpt-8.index"], ["step 7", "step 8"]),
        (["model_500.pt", "model_1k.pt", "model_10K.pt"], ["step 500", "step 1000", "step 10000"]),
        (["step1.5M.pt", "step_0.25M_ema.pt"], ["step 1500000", "step 250000"]),
        (["step_1.50k-loss0.3.pt", "step_2M.pt"], ["step 1500", "step 2000000"]),
        (["model_10k.pt"], ["step 10000"]),
        (["net1kx_3.pt", "net1kx_4.pt"], ["step 3", "step 4"]),
        (["in1k_5.pt", "in1k_6m.pt"], ["step 5", "step 6"]),
        (["model_0010.h5", "model_0002.h5"], ["step 10", "step 2"]),
        (["resnet50_3.h5", "resnet50_4.h5"], ["step 3", "step 4"]),
        (["checkpoint-500/model.pt", "checkpoint-1000/model.pt"], ["step 500", "step 1000"]),
        (["e3/model.weights.h5", "e4/model.weights.h5"], ["epoch 3", "epoch 4"]),
        (["epoch_7.keras"], ["epoch 7"]),
        (["net e10 b32.keras", "net_e1_b32.keras"], ["epoch 10", "epoch 1"]),
        (["net-Epoch-10.keras", "net_epoch_2.keras"], ["epoch 10", "epoch 2"]),
        (["my global_step 10.pt", "my_global-step_2.pt"], ["step 10", "step 2"]),
        (["ckpt-7.keras"], ["step 7"]),
    ],
    ids=str,
)
def test_the_step_is_the_number_that_differs(names, described):
    """An epoch where the name says so, else a step."""
    assert [describe(moment) for moment in read_names(names).moments] == described


@pytest.mark.parametrize(
    ("names", "described"),
    [
        (["b10.keras", "a.keras", "b2.keras"], ["step 3 (b10)", "step 1 (a)", "step 2 (b2)"]),
        (["best.keras", "last.keras"], ["step 1 (best)", "step 2 (last)"]),
        (["resnet50.h5"], ["step 1 (resnet50)"]),
        (["loss0.5.keras", "loss0.4.keras"], ["step 2 (loss0.5)", "step 1 (loss0.4)"]),
    ],
    ids=str,
)
def test_files_without_a_step_are_in_natural_order(names, described):
    """Counted from 1, described by their names."""
    reading = read_names(names)
    assert [describe(moment) for moment in reading.moments] == described
    assert reading.origin == "order of the names"


def test_the_order_given_is_kept_if_asked():
    """For a list that a program gives."""
    reading = read_names(["pretrained.keras", "a.keras"], keep_order=True)
    assert [moment.step for moment in reading.moments] == [1, 2]


def test_step_0_is_not_described_as_before_training():
    """The first epoch may be numbered 0."""
    for names, text in (
        (["epoch_0.keras", "epoch_1.keras"], "start (epoch 0)"),
        (["ckpt-0.keras", "ckpt-1.keras"], "start (step 0)"),
    ):
        first = read_names(names).moments[0]
        assert (first.step, describe(first)) == (0, text)


def test_best_and_last_are_left_out_beside_numbered_files():
    """Their place in the training is not known."""
    names = ["m_1.keras", "m_2.keras", "best.keras", "m_last.keras"]
    assert steps(*names) == [1, 2, None, None]
    assert steps("best_epoch_3.keras", "best_epoch_7.keras") == [3, 7]


def test_all_files_are_read_in_the_same_way():
    """The constant number of a name is not a step in one file and a step in another."""
    assert steps("v2_3.keras", "v2_12.keras") == [3, 12]
    assert steps("3_v2.keras", "12_v2.keras") == [3, 12]
    assert steps("mnist28x28-1.keras", "mnist28x28-2.keras") == [1, 2]
    assert read_names(["model_3.keras", "net_x.keras"]).origin == "order of the names"


def test_two_files_of_the_same_step_are_refused():
    """Both names and the remedies are in the message."""
    with pytest.raises(FiltertrackError, match=r"'epoch_3-a.keras' and 'epoch_3-b.keras'") as error:
        read_names(["epoch_1-a.keras", "epoch_3-a.keras", "epoch_3-b.keras"])
    assert "--steps" in str(error.value)
    assert "template" in str(error.value)


def test_several_numbers_that_differ_are_refused():
    """Such as a day and a counter: the message names them."""
    with pytest.raises(FiltertrackError, match=r"2 numbers of .* \(05, 3\).*template"):
        read_names(["run_2024-01-05_3.keras", "run_2024-01-06_4.keras"])


def test_the_only_distinct_number_of_several_is_not_taken():
    """Which of several numbers that differ is the step cannot be told from their values."""
    for names in (
        ["v1_3.keras", "v1_7.keras", "v2_5.keras"],
        ["1-1-30.keras", "1-2-10.keras", "2-1-20.keras"],
    ):
        with pytest.raises(FiltertrackError, match=r"[23] numbers of .*each may be the step"):
            read_names(names)


@pytest.mark.parametrize(
    "names",
    [
        ["2024-01-05_12-30.keras", "2024-01-05_13-30.keras", "2024-01-06_11-00.keras"],
        ["2024-01-05_run.keras", "2024-02-05_run.keras"],
        ["2024-01-05_run.keras", "2025-01-05_run.keras"],
        ["m20240131.keras", "m20240201.keras"],
        ["m_20240131-235959.keras", "m_20240201-000001.keras"],
        ["202401312359.keras", "202402010001.keras"],
        ["2024-01-05/12-30-45/m.keras", "2024-01-06/11-30-45/m.keras"],
        ["2024-01-05T12:30:00.keras", "2024-01-05T13:30:00.keras"],
        ["2024.01.05.keras", "2024.01.06.keras"],
        ["m-2024_9_30.keras", "m-2024_10_1.keras"],
        ["05-01-2024_run.keras", "05-02-2024_run.keras"],
        ["Jan05_12-30-45.keras", "Jan05_13-30-45.keras"],
    ],
    ids=str,
)
def test_dates_are_in_the_order_of_the_names(names):
    """No part of a date or time is a step, also in a single name."""
    reading = read_names(names)
    assert [moment.step for moment in reading.moments] == list(range(1, len(names) + 1))
    assert reading.origin.startswith("order of the names")
    assert all(not moment.metrics and moment.note for moment in reading.moments)
    assert not reading.remarks
    assert steps(*names[::-1]) == steps(*names)[::-1]
    assert steps(*names, "best.keras")[-1] is None
    assert read_names(names[:1]).origin == "order of the names"


@pytest.mark.parametrize(
    "names",
    [
        ["05.01.2024.keras", "06.01.2024.keras", "01.02.2024.keras"],
        ["Jan05_12-30-45_m.keras", "Feb05_13-30-45_m.keras"],
        ["5Jan2024.keras", "4February2024.keras"],
        ["m_01-31-2024.keras", "m_02-01-2024.keras"],
    ],
    ids=str,
)
def test_dates_that_names_do_not_sort_are_refused(names):
    """The message says to give the steps."""
    with pytest.raises(FiltertrackError, match=r"differ in dates, of which several.*--steps"):
        read_names(names)


def test_a_step_beside_a_date_is_the_step():
    """If it is named, or if the date is the same in all names."""
    assert steps("2024-01-05_epoch_3.keras", "2024-01-06_epoch_4.keras") == [3, 4]
    assert steps("2024-01-05_run_300.keras", "2024-01-05_run_400.keras") == [300, 400]
    assert steps("model_20000000.pt", "model_20000500.pt") == [20000000, 20000500]


def test_epochs_and_batches_give_the_order():
    """As ModelCheckpoint names files that are saved within epochs, both counted from 1."""
    names = [f"epoch_{epoch}_batch_{batch}.keras" for epoch in (1, 2) for batch in (100, 50)]
    moments = read_names(names).moments
    assert [moment.step for moment in moments] == [2, 1, 4, 3]
    assert describe(moments[2]) == "epoch 2, batch 100"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["e1-val_loss0.31-acc0.9.keras", "e2-val_loss0.3-acc0.9.keras"],
            [{"val_loss": 0.31, "acc": 0.9}, {"val_loss": 0.3, "acc": 0.9}],
        ),
        (["epoch=1-val_loss=0.5.ckpt"], [{"val_loss": 0.5}]),
        (["e1-val_top_5_acc=0.5.pt"], [{"val_top_5_acc": 0.5}]),
        (["e1_val_f1=0.5.pt", "e2_val_f1=0.6.pt"], [{"val_f1": 0.5}, {"val_f1": 0.6}]),
        (["e1_lr1e-05.pt", "e2_lr5e-06.pt"], [{"lr": 1e-05}, {"lr": 5e-06}]),
        (["e1-loss--0.5.pt", "e2-loss--0.7.pt"], [{"loss": -0.5}, {"loss": -0.7}]),
        (["e1_loss=-0.5.pt", "e2_loss=0.7.pt"], [{"loss": -0.5}, {"loss": 0.7}]),
        (["e1-loss-0.5.pt", "e2-loss-0.7.pt"], [{"loss": 0.5}, {"loss": 0.7}]),
        (["e1-loss-0.5.pt", "e2-loss0.7.pt"], [{"loss": -0.5}, {"loss": 0.7}]),
        (["e1-acc91.pt", "e2-acc93.pt"], [{"acc": 91}, {"acc": 93}]),
        (["e1-kl0.5.pt", "e2-kl0.7.pt"], [{"kl": 0.5}, {"kl": 0.7}]),
        (["net1.5-e1.pt", "net1.5-e2.pt"], [{}, {}]),
        (["e3.0.91.pt", "e4.0.92.pt"], [{}, {}]),
    ],
    ids=str,
)
def test_metrics_are_the_numbers_after_words(names, found):
    """Under the words of the names; a hyphen is a sign where only some names have it."""
    assert metrics(*names) == found


def test_metrics_are_kept_where_names_have_no_step():
    """A remark says that the metrics may give the order; the numbers of versions are no metrics."""
    names = ["acc0.8-loss2e-3.keras", "acc0.9-loss1e-3.keras"]
    reading = read_names(names)
    assert metrics(*names) == [{"acc": 0.8, "loss": 0.002}, {"acc": 0.9, "loss": 0.001}]
    (remark,) = reading.remarks
    assert "which may be that of the metrics" in remark
    assert "--steps" in remark
    (single,) = read_names(["best-val_loss0.25.keras"]).moments
    assert single.metrics == {"val_loss": 0.25}
    assert not read_names(["best-val_loss0.25.keras"]).remarks
    dated = read_names(["2024-01-05_loss0.5.keras", "2024-01-06_loss0.4.keras"])
    assert [moment.metrics for moment in dated.moments] == [{"loss": 0.5}, {"loss": 0.4}]
    assert not dated.remarks
    given = read_names(names[::-1], keep_order=True)
    assert [moment.metrics["acc"] for moment in given.moments] == [0.9, 0.8]
    assert not given.remarks
    assert metrics("net1.5.keras", "net2.5.keras") == [{}, {}]


def test_a_number_without_a_word_is_not_kept():
    """A remark says how to name it."""
    reading = read_names(["weights.05-0.31.keras", "weights.06-0.30.keras"])
    assert [dict(moment.metrics) for moment in reading.moments] == [{}, {}]
    assert "{val_loss:.2f}" in reading.remarks[0]


NUMBERS = st.floats(-1e6, 1e6)
NAMES = st.from_regex(r"(val_)?[a-z][a-z_]{0,9}[a-z]", fullmatch=True).filter(
    lambda name: name not in {"epoch", "step", "batch", "iter", "it", "ep", "steps", "epochs"}
)
FORMATS = st.sampled_from([".2f", ".4f", ".3e", "", "+.2f", "08.3f", ".0f", ".1%", ",.2f", ".3g"])


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 99_999), NUMBERS, NUMBERS), min_size=1, max_size=5, unique_by=min
    ),
    names=st.lists(NAMES, min_size=2, max_size=2, unique=True),
    formats=st.tuples(st.sampled_from(["", "d", "02d", "04d", "3d"]), FORMATS, FORMATS),
    text=st.sampled_from(["ckpt-{}-{}-{}.keras", "w.{}_{}_{}.h5", "a{}/x{}y{}z.weights.h5"]),
)
def test_a_template_gives_back_what_it_formatted(rows, names, formats, text):
    """Any epoch and any metric in the usual formats, to the digits in the name."""
    rows = list({row[0]: row for row in rows}.values())
    fields = [
        f"{{{name}:{form}}}" if form else f"{{{name}}}"
        for name, form in zip(["epoch", *names], formats, strict=True)
    ]
    template = text.format(*fields)
    files = [
        template.format(epoch=epoch, **dict(zip(names, values, strict=True)))
        for epoch, *values in rows
    ]
    reading = read_by_template(files, Template(template))
    for moment, (epoch, *values) in zip(reading.moments, rows, strict=True):
        assert moment.step == moment.epoch == epoch
        for name, value, form in zip(names, values, formats[1:], strict=True):
            shown = format(value, form).strip().replace(",", "")
            plain = float(shown[:-1]) / 100 if form.endswith("%") else float(shown)
            assert moment.metrics[name] == plain


@given(
    rows=st.lists(st.tuples(st.integers(0, 9999), st.floats(0, 1e4)), min_size=2, max_size=6),
    name=st.sampled_from(["val_loss", "loss", "acc", "val_categorical_accuracy"]),
    template=st.sampled_from(
        [
            "epoch_{epoch}-{name}{value:.3f}.keras",
            "model.{epoch:02d}-{name}_{value:.4f}.h5".replace("model.", "model-epoch"),
            "ckpt-ep{epoch:03d}-{name}={value:.2e}.weights.h5",
            "resnet50_e{epoch}_{name}{value:.2f}.safetensors",
        ]
    ),
)
@example(rows=[(0, 0.0), (1, 0.0)], name="loss", template="epoch_{epoch}-{name}{value:.3f}.keras")
def test_usual_names_are_read_without_a_template(rows, name, template):
    """Any epochs, and metrics from 0 on."""
    rows = list(dict(rows).items())
    if len(rows) < 2:
        rows.append((rows[0][0] + 1, 0.5))
    names = [template.format(epoch=epoch, name=name, value=value) for epoch, value in rows]
    reading = read_names(names)
    assert reading.origin == "epoch in the name"
    form = template.partition("{value:")[2].partition("}")[0]
    for moment, (epoch, value) in zip(reading.moments, rows, strict=True):
        assert moment.step == moment.epoch == epoch
        assert moment.metrics == {name: float(format(value, form))}


@given(st.lists(st.text(string.printable, min_size=1, max_size=30), min_size=1, unique=True))
def test_any_names_are_read_or_refused(names):
    """No other exception than an error of ours; every moment has its own step."""
    try:
        reading = read_names(names)
    except FiltertrackError:
        return
    found = [moment.step for moment in reading.moments if moment is not None]
    assert len(reading.moments) == len(names)
    assert len(set(found)) == len(found) > 0


def test_templates_keep_what_is_not_finite():
    """A diverged training logs NaN."""
    template = Template("{epoch:02d}-{loss:.2f}.keras")
    first, second = read_by_template(["01-nan.keras", "02-inf.keras"], template).moments
    assert math.isnan(first.metrics["loss"])
    assert second.metrics["loss"] == math.inf


def test_templates_may_have_wildcards():
    """In folders and in names; a name that does not fit has no moment."""
    template = Template("runs/**/m?-{epoch:02d}*.keras")
    assert template.pattern == "runs/**/m?-**.keras"
    reading = read_by_template(["runs/a/b/m1-03x.keras", "runs/m2-12.keras", "runs/m-1"], template)
    assert [moment and moment.epoch for moment in reading.moments] == [3, 12, None]


def test_templates_of_batches_and_steps():
    """``{batch}`` beside ``{epoch}`` counts within the epoch; ``{step}`` is no epoch."""
    template = Template("e{epoch:02d}b{batch:04d}.keras")
    moments = read_by_template(["e01b0100.keras", "e02b0100.keras"], template).moments
    assert list(map(describe, moments)) == ["epoch 1, batch 100", "epoch 2, batch 100"]
    (moment,) = read_by_template(["x7.pt"], Template("x{step}.pt")).moments
    assert describe(moment) == "step 7"


def test_numbers_that_are_too_large_are_no_steps():
    """Such as a hash of digits; a template does not fit them."""
    for digits in ("9" * 12 + "0", "9" * 400, "9" * 5000):
        assert read_names([f"m{digits}.pt", f"m1{digits}.pt"]).origin == "order of the names"
        assert read_by_template([f"m{digits}.pt"], Template("m{epoch}.pt")).moments == (None,)


def test_a_template_without_a_step_is_refused():
    """The message names the placeholders."""
    with pytest.raises(FiltertrackError, match=r"\{epoch\}, \{step\} or \{batch\}"):
        Template("w-{val_loss:.2f}.keras")


@pytest.mark.parametrize(
    ("epochs", "text"),
    [
        ([1, 2, 3, 6, 7, 8, 13], "4, 5, 9 to 12"),
        ([1, 2, 3], ""),
        ([0, 1, 3], "2"),
        ([3, 4, 6], "1, 2, 5"),
        ([5, 10, 15], ""),
        ([5, 10, 20], "15"),
        ([7], ""),
        ([], ""),
    ],
    ids=str,
)
def test_missing_epochs(epochs, text):
    """Those that regular saving would have; a single file has none."""
    assert missing_epochs(epochs) == text


def test_natural_order_compares_numbers():
    """2 before 10, also in folders."""
    names = ["e10/a", "e2/b", "e2/a10", "e2/a9"]
    assert sorted(names, key=natural_order) == ["e2/a9", "e2/a10", "e2/b", "e10/a"]


def test_natural_order_treats_separators_alike():
    """The numbers after them decide."""
    names = ["net a10 b1", "net_a1-b2", "net-a1_b10", "net a2"]
    assert sorted(names, key=natural_order) == ["net_a1-b2", "net-a1_b10", "net a2", "net a10 b1"]


@given(names=st.lists(st.text(alphabet="ab019٣²._/"), max_size=8))
def test_any_names_have_a_natural_order(names):
    """It does not depend on the order given; also with digits of other scripts."""
    ordered, backwards = sorted(names, key=natural_order), names[::-1]
    backwards.sort(key=natural_order)
    assert ordered == backwards
    assert sorted(ordered) == sorted(names)


def test_natural_order_compares_numbers_of_any_length():
    """Python refuses to convert more than 4,300 digits."""
    names = ["a" + "9" * 5000, "a10", "a2", "b1", "a"]
    assert sorted(names, key=natural_order) == ["a", "a2", "a10", "a" + "9" * 5000, "b1"]


def test_reading_returns_moments():
    """Without a time, which is that of the file."""
    (moment,) = read_names(["epoch_3-loss0.5.keras"]).moments
    assert moment == Moment(3, 3, metrics={"loss": 0.5})


def test_a_number_beside_a_validation_metric_is_an_epoch():
    """Keras validates after epochs only; a number alone is a step."""
    names = [f"digits-{n:02d}-val_loss0.{n}.keras" for n in (1, 2, 5)]
    reading = read_names(names)
    assert [moment.epoch for moment in reading.moments] == [1, 2, 5]
    assert all(moment.counts_epochs for moment in reading.moments)
    assert reading.origin == "epoch in the name"
    plain = read_names([f"digits-{n:02d}.keras" for n in (1, 2, 5)])
    assert not any(moment.counts_epochs for moment in plain.moments)
