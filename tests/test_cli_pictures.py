import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from filtertrack import animate, filmstrip
from filtertrack.cli import main


def test_animate_writes_into_the_run_by_default(run, capsys):
    """Without ``-o`` the file lies in the run's folder; only its path is printed."""
    assert main(["animate", str(run.path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{run.path}/evolution.gif\n"
    assert not printed.err
    with Image.open(run.path / "evolution.gif") as gif:
        assert gif.n_frames == 3


def test_responses_shows_pictures_beside_filters_and_maps(make_run, conv_info, tmp_path, capsys):
    """Pictures may have different sizes; the file has a frame for each snapshot."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 6)), preprocessing=(), padding="same")
    run, files = make_run(info), [tmp_path / "a.png", tmp_path / "b.jpg"]
    Image.new("RGB", (40, 30), "red").save(files[0])
    Image.new("L", (300, 200)).save(files[1])
    command = ["responses", str(run.path), "--images", *map(str, files), "--side", "64"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{run.path}/responses.gif\n"
    with Image.open(run.path / "responses.gif") as gif:
        assert gif.n_frames == 3
    assert main([*command[:3], str(tmp_path / "none.png")]) == 2
    assert "cannot read the picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["animate", "--responses"], "evolution-responses.gif"),
        (["animate", "--responses", "--layers", "conv2"], "evolution-conv2-responses.gif"),
        (["animate", "--probe", "2"], "evolution-responses-2.gif"),
        (["animate", "--probe", "0-1", "--responses"], "evolution-responses-0,1.gif"),
        (["filmstrip", "--responses", "--dpi", "60"], "filmstrip-responses-dpi-60.pdf"),
        (["filmstrip", "--probe", "1", "--width", "9cm"], "filmstrip-responses-1-width-9cm.pdf"),
    ],
    ids=str,
)
def test_responses_to_probes_are_drawn(make_probed_run, capsys, options, name):
    """The first probe, or those that are chosen; the file is named for them."""
    run = make_probed_run()
    assert main([options[0], str(run.path), *options[1:]]) == 0
    assert capsys.readouterr().out == f"{run.path / name}\n"
    assert (run.path / name).stat().st_size > 1000


def test_responses_to_probes_of_a_run_without_them_are_an_error(make_run, capsys):
    for command in ("animate", "filmstrip"):
        assert main([command, str(make_run(folder=command).path), "--responses"]) == 2
        assert "has no probes; train with FilterTracker(probes=images)" in capsys.readouterr().err


@pytest.fixture
def pictured(make_run, conv_info, tmp_path):
    """A run of a first layer, and a picture file."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 6)), preprocessing=(), padding="same")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    return make_run(info), str(tmp_path / "a.png")


@pytest.mark.parametrize(
    "command",
    [
        ["responses", "--layers", "conv2", "--images"],
        ["responses", "--layers", "conv2", "-o", "{folder}/a.png", "--images"],
        ["filmstrip", "--layers", "conv2", "--images"],
        ["explain", "--layer", "conv2", "--image"],
    ],
    ids=lambda words: " ".join(words[:1] + words[3:4]),
)
def test_a_picture_for_a_deeper_layer_is_refused_with_an_advice(
    make_run, conv_info, tmp_path, capsys, command
):
    """In terms of the command line, not of the channels of the picture."""
    run = make_run(conv_info("conv1", (5, 5, 3, 6), preprocessing=(), padding="same"),
                   conv_info("conv2", (3, 3, 6, 4)))  # fmt: skip
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    name, *options = (word.format(folder=tmp_path) for word in command)
    assert main([name, str(run.path), *options, str(tmp_path / "a.png")]) == 2
    message = capsys.readouterr().err
    assert "layer conv2 is not the first convolution" in message
    assert "train with FilterTracker(probes=images)" in message
    assert "arrays" not in message


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_responses_makes_a_figure_of_the_first_and_last_step(pictured, tmp_path, ending):
    """The ending chooses it; a PNG is not animated."""
    run, picture = pictured
    figure = tmp_path / f"figure.{ending}"
    assert main(["responses", str(run.path), "--images", picture, "-o", str(figure)]) == 0
    if ending == "png":
        with Image.open(figure) as image:
            assert getattr(image, "n_frames", 1) == 1
    else:
        assert figure.stat().st_size > 1000


def test_responses_still_makes_animated_and_numbered_pngs(pictured, tmp_path):
    run, picture = pictured
    command = ["responses", str(run.path), "--images", picture, "-o"]
    assert main([*command, str(tmp_path / "a.apng")]) == 0
    with Image.open(tmp_path / "a.apng") as image:
        assert image.n_frames == 3
    assert main([*command, str(tmp_path / "frames" / "%02d.png")]) == 0
    assert len(list((tmp_path / "frames").iterdir())) == 3


def test_options_of_animations_are_refused_for_a_figure(pictured, tmp_path, capsys):
    run, picture = pictured
    command = ["responses", str(run.path), "--images", picture, "-o", str(tmp_path / "b.pdf")]
    assert main([*command, "--fps", "3"]) == 2
    assert "fps: it is an option of animations" in capsys.readouterr().err
    assert not (tmp_path / "b.pdf").exists()


def test_a_figure_of_responses_is_light_and_has_a_width(pictured, tmp_path):
    """As a filmstrip; an animation is dark."""
    run, picture = pictured
    command = ["responses", str(run.path), "--images", picture]
    size = ["--width", "8cm", "--dpi", "100"]
    corners = {}
    for name, options in {
        "a.png": size,
        "b.png": [*size, "--theme", "dark"],
        "c.gif": [],
    }.items():
        assert main([*command, *options, "-o", str(tmp_path / name)]) == 0
        with Image.open(tmp_path / name) as image:
            corners[name] = image.convert("RGB").getpixel((0, 0))
            if options:
                assert abs(image.width - 315) <= 1
    assert corners == {"a.png": (255, 255, 255), "b.png": (20, 26, 38), "c.gif": (20, 26, 38)}


def test_options_of_figures_are_refused_for_an_animation(pictured, tmp_path, capsys):
    run, picture = pictured
    command = ["responses", str(run.path), "--images", picture, "-o", str(tmp_path / "b.gif")]
    assert main([*command, "--width", "8cm"]) == 2
    assert "width: it is an option of figures; leave it out" in capsys.readouterr().err


def test_the_message_of_a_wrong_ending_names_those_of_figures(pictured, tmp_path, capsys):
    run, picture = pictured
    output = str(tmp_path / "a.jpg")
    assert main(["responses", str(run.path), "--images", picture, "-o", output]) == 2
    message = capsys.readouterr().err
    assert all(ending in message for ending in (".gif", ".png", ".pdf", ".svg", ".mp4"))


def test_filmstrip_draws_responses_to_pictures(pictured, capsys):
    """In a file of another name; not together with probes."""
    run, picture = pictured
    command = ["filmstrip", str(run.path), "--images", picture, "--dpi", "60"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{run.path}/responses-dpi-60.pdf\n"
    assert main([*command, "--responses"]) == 2
    assert "choose them or the probes of the run, not both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "evolution"),
        (["--fps", "10", "--scale", "filter"], "evolution-scale-filter"),
        (["--layers", "conv2"], "evolution-conv2"),
        (["--layers", "conv1", "conv2"], "evolution-conv1+conv2"),
        (["--layers", "*2", "--delta", "--fps", "2.5"], "evolution-%2A2-delta-fps-2.5"),
        (["--steps", "0-2/2", "--order", "drift"], "evolution-steps-0-2~2-order-drift"),
        (["--compare", "RUN2"], "evolution-vs-other"),
        (["--hold", "0.5,2", "--huge"], "evolution-hold-0.5,2"),
    ],
    ids=str,
)
def test_options_are_part_of_the_default_name(make_run, capsys, options, name):
    """Other options give another file; the same command writes the same file again."""
    run, other = make_run(), make_run(folder="other")
    command = ["animate", str(run.path), *(o.replace("RUN2", str(other.path)) for o in options)]
    for _ in range(2):
        assert main(command) == 0
        assert capsys.readouterr().out == f"{run.path}/{name}.gif\n"
    assert [path.name for path in run.path.glob("*.gif")] == [f"{name}.gif"]


def test_default_names_equal_those_of_python(run, capsys):
    """Even if the options have other types."""
    assert main(["animate", str(run.path), "--layers", "conv2", "--steps", "0,2"]) == 0
    assert main(["filmstrip", str(run.path), "--layers", "conv2", "--width", "9cm"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[0] == str(animate(run, layers="conv2", steps=[0, 2]))
    assert printed[1] == f"{run.path}/filmstrip-conv2-width-9cm.pdf"
    assert str(animate(run.path)) == f"{run.path}/evolution.gif"


def test_a_long_default_name_is_shortened(make_run, capsys):
    """It fits the file system, and different options still give different names."""
    run = make_run(steps=range(300))
    for steps in (range(0, 300, 2), range(1, 300, 2)):
        chosen = ",".join(map(str, steps))
        assert main(["animate", str(run.path), "--steps", chosen, "--size", "64"]) == 0
    names = capsys.readouterr().out.split()
    assert len(set(names)) == 2
    assert all(len(Path(name).name) < 150 for name in names)


def test_animate_passes_its_options_on(run, tmp_path):
    """Layer, size, speed, scale and output."""
    output = tmp_path / "small.gif"
    options = ["--layer", "conv2", "--size", "100", "--fps", "2", "--scale", "layer"]
    assert main(["animate", str(run.path), "-o", str(output), *options]) == 0
    with Image.open(output) as gif:
        assert max(gif.size) <= 260
        gif.seek(1)
        assert gif.info["duration"] == 500


def test_animate_equals_python(make_run, tmp_path):
    """With every option: the same file, byte for byte."""
    run = make_run(steps=range(8))
    other = make_run(steps=range(0, 8, 2), folder="other")
    options = shlex.split(
        "--layers conv1,conv2 --steps 0,2-6 --filters 0-1,3 --scale layer --zero-centred "
        "--colormap viridis --theme light --size 500 --columns 2 --seconds 5 --time log "
        "--between 2 --hold 0.5,0.75 --loop 3 --compare"
    )
    output = tmp_path / "cli.webp"
    assert main(["animate", str(run.path), "-o", str(output), *options, str(other.path)]) == 0
    expected = animate(
        run,
        tmp_path / "python.webp",
        layers=["conv1", "conv2"],
        steps=[0, 2, 4, 6],
        filters=[0, 1, 3],
        scale="layer",
        zero_centred=True,
        colormap="viridis",
        theme="light",
        size=500,
        columns=2,
        seconds=5,
        time="log",
        between=2,
        hold=(0.5, 0.75),
        loop=3,
        compare=other,
    )
    assert output.read_bytes() == Path(expected).read_bytes()


def test_filmstrip_equals_python(make_run, tmp_path, capsys):
    """With every option: the same file, byte for byte; by default it lies in the run's folder."""
    run = make_run(steps=range(8))
    options = shlex.split(
        "--layers conv2 --steps 0-3 --order drift --scale filter --delta --colormap RdBu_r "
        "--theme dark --width 12cm --height 3in --dpi 120"
    )
    output = tmp_path / "cli.png"
    assert main(["filmstrip", str(run.path), "-o", str(output), *options]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    filmstrip(
        run,
        tmp_path / "python.png",
        layers="conv2",
        steps=range(4),
        order="drift",
        scale="filter",
        delta=True,
        colormap="RdBu_r",
        theme="dark",
        width="12cm",
        height="3in",
        dpi=120,
    )
    assert output.read_bytes() == (tmp_path / "python.png").read_bytes()
    assert main(["filmstrip", str(run.path)]) == 0
    assert (run.path / "filmstrip.pdf").read_bytes().startswith(b"%PDF")


def test_ctrl_c_leaves_no_partial_file(make_run, conv_info, tmp_path):
    """A real SIGINT while an animation is drawn: exit code 130, one line, no new file."""
    run = make_run(conv_info(kernel_shape=(9, 9, 3, 64)), steps=range(150))
    command = [sys.executable, "-m", "filtertrack", "animate", run.path, "--size", "1400"]
    for ending in ("gif", "webp", "mp4"):
        output = tmp_path / f"a.{ending}"
        process = subprocess.Popen(
            [*command, "-o", output], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*.tmp")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        printed, stderr = process.communicate(timeout=60)
        assert (process.returncode, printed) == (130, "")
        assert stderr == "filtertrack: interrupted\n"
        assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_damaged_snapshot_is_left_out_and_logged(run, capsys, caplog):
    """The animation holds the other snapshots; ``verify`` lists the file and exits with 1."""
    assert main(["verify", str(run.path)]) == 0
    assert capsys.readouterr().out == "3 snapshots, none damaged\n"
    file = run.file(1)
    file.write_bytes(file.read_bytes()[:-50])
    assert main(["animate", str(run.path)]) == 0
    with Image.open(run.path / "evolution.gif") as gif:
        assert gif.n_frames == 2
    assert f"left out step 1: damaged file '{file}'" in caplog.text
    capsys.readouterr()
    assert main(["verify", str(run.path)]) == 1
    printed = capsys.readouterr().out
    assert str(file) in printed
    assert printed.endswith("3 snapshots, 1 damaged\n")


def test_the_filters_folder_stands_for_its_run(run):
    """Files are written into the run's folder, even if the folder inside it is given."""
    assert main(["animate", str(run.folder)]) == 0
    assert (run.path / "evolution.gif").exists()


def test_outline_and_label_order_equal_python(planted_run, tmp_path):
    """The same file, byte for byte, of an animation and a filmstrip."""
    options = ["--layers", "conv1", "--outline", "--order", "label"]
    for command, ending, make in (("animate", "png", animate), ("filmstrip", "svg", filmstrip)):
        output, other = tmp_path / f"cli.{ending}", tmp_path / f"python.{ending}"
        assert main([command, str(planted_run.path), "-o", str(output), *options]) == 0
        make(planted_run, other, layers="conv1", outline=True, order="label")
        assert output.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("command", ["animate", "filmstrip"])
def test_each_choice_of_channels_gives_another_picture(
    make_run, conv_info, tmp_path, command, capsys
):
    """By number or name, together or all; another value is one line of error."""
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 4)))
    pictures = set()
    names = ["--channel-names", "red,green,blue"]
    choices = (None, "0", "2", "strongest", "all", "2,1,0", "0,1")
    for channels in choices:
        output = tmp_path / f"{channels}.png"
        options = [] if channels is None else ["--channels", channels]
        assert main([command, str(run.path), "-o", str(output), *options]) == 0
        pictures.add(output.read_bytes())
    assert len(pictures) == len(choices)
    named, bgr = tmp_path / "named.png", tmp_path / "bgr.png"
    assert main([command, str(run.path), "-o", str(bgr), "--channels", "bgr"]) == 0
    assert bgr.read_bytes() == (tmp_path / "2,1,0.png").read_bytes()
    options = [*names, "--channels", "blue,green,red"]
    assert main([command, str(run.path), "-o", str(named), *options]) == 0
    assert named.read_bytes() not in pictures, "the caption names the channels"
    capsys.readouterr()
    for wrong, words in (("3", []), ("red", []), ("violet", names), ("0,1,2,0", [])):
        assert main([command, str(run.path), "--channels", wrong, *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("filtertrack: channels: expected")
        assert error.count("\n") == 1


@pytest.mark.parametrize("options", [["--one-scale"], ["--match"], ["--one-scale", "--match"]])
def test_two_runs_are_compared_as_in_python(make_run, tmp_path, options):
    """The same file, byte for byte; each option gives another one."""
    one, other = make_run(folder="one"), make_run(folder="other")
    command = ["animate", str(one.path), "--compare", str(other.path), "--layers", "conv1"]
    assert main([*command, "-o", str(tmp_path / "plain.png")]) == 0
    assert main([*command, "-o", str(tmp_path / "cli.png"), *options]) == 0
    given = {option.strip("-").replace("-", "_"): True for option in options}
    made = animate(one, tmp_path / "python.png", compare=other, layers="conv1", **given)
    assert (tmp_path / "cli.png").read_bytes() == Path(made).read_bytes()
    assert (tmp_path / "cli.png").read_bytes() != (tmp_path / "plain.png").read_bytes()


def test_a_huge_range_of_filters_is_refused(run):
    """It is not expanded to numbers, which would exceed the memory."""
    limit = 2 << 30
    code = (
        "import resource, sys; from filtertrack.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for command in ("animate", "filmstrip"):
        words = [command, run.path, "--filters", "0-9999999999"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("filtertrack: ")
        assert "filters" in done.stderr
        assert done.stderr.count("\n") == 1


def test_html_writes_the_page_and_says_what_it_left_out(run, tmp_path, capsys):
    whole, small = tmp_path / "whole.html", tmp_path / "small.html"
    assert main(["html", str(run.path), "-o", str(whole)]) == 0
    assert capsys.readouterr().out == f"{whole}\n"
    size = (whole.stat().st_size - 500) / 1e6
    assert main(["html", str(run.path), "-o", str(small), "--max-size", str(size)]) == 0
    assert "rounded to 16 bits (--max-size, --layers, --steps)" in capsys.readouterr().out
    assert small.stat().st_size < whole.stat().st_size


def test_html_leaves_out_responses_on_request(probed_run, tmp_path):
    whole, without = tmp_path / "whole.html", tmp_path / "without.html"
    assert main(["html", str(probed_run.path), "-o", str(whole)]) == 0
    assert main(["html", str(probed_run.path), "-o", str(without), "--no-responses"]) == 0
    assert without.stat().st_size < whole.stat().st_size


def test_html_compares_runs(make_run, tmp_path):
    first, second = make_run(folder="a"), make_run(folder="b")
    output = tmp_path / "page.html"
    arguments = ["html", str(first.path), "--compare", str(second.path), "-o", str(output)]
    assert main(arguments) == 0
    assert output.stat().st_size > 0
