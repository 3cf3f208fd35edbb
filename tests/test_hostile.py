import json
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(path):
    """Read whatever a run says it holds; only this package's error may come out."""
    try:
        run = Run(path)
        repr(run)
        run.verify()
    except FiltertrackError:
        pass


@FUZZ
@given(data=st.data())
def test_a_manifest_with_anything_in_it(run, forge_manifest, data):
    """Its checksum right, any part of it replaced by any JSON."""
    manifest = json.loads(
        (Path(__file__).parent / "golden/run-v1/filters/manifest.json").read_text()
    )
    where = data.draw(st.sampled_from(["software", "layers", "created", "a layer", "a field"]))
    value = data.draw(JSON)
    if where == "a layer":
        manifest["layers"][0] = value
    elif where == "a field":
        field = data.draw(st.sampled_from(sorted(manifest["layers"][0])))
        manifest["layers"][0][field] = value
    else:
        manifest[where] = value
    forge_manifest(run.folder / "manifest.json", manifest)
    read_all(run.path)


@FUZZ
@given(content=st.binary(max_size=300))
def test_a_snapshot_of_anything(run, content):
    """Any bytes as the file, and any bytes as each of its members."""
    run.file(0).write_bytes(content)
    read_all(run.path)
    with zipfile.ZipFile(run.file(1), "w") as archive:
        for member in ("conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias", "meta"):
            archive.writestr(f"{member}.npy", b"\x93NUMPY\x01\x00" + content)
    read_all(run.path)


def test_links_out_of_the_folder_are_not_followed(run, tmp_path):
    """Neither as a snapshot nor as the manifest."""
    secret = tmp_path / "secret.npz"
    secret.write_bytes(run.file(0).read_bytes())
    run.file(0).unlink()
    run.file(0).symlink_to(secret)
    with pytest.raises(FiltertrackError, match="not a regular file"):
        run.kernels("conv1", 0)
    manifest = run.folder / "manifest.json"
    manifest.rename(tmp_path / "elsewhere.json")
    manifest.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FiltertrackError, match="not a regular file"):
        Run(run.path)


def test_a_member_larger_than_the_manifest_says(run):
    """Refused by its size, before its bytes are read."""
    with zipfile.ZipFile(run.file(0), "w") as archive:
        archive.writestr("conv1/kernel.npy", bytes(1 << 20))
    with pytest.raises(FiltertrackError, match="claims 1048576 bytes"):
        run.kernels("conv1", 0)


def test_every_bit_of_a_manifest(tmp_path, conv_info):
    """Flipped one at a time: the same is read, or the file is named."""
    run = Run.create(tmp_path, [conv_info()])
    file = run.folder / "manifest.json"
    whole, flips, noticed = file.read_bytes(), 0, 0
    for at in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            file.write_bytes(flipped)
            flips += 1
            try:
                again = Run(tmp_path)
            except FiltertrackError as error:
                noticed += str(file) in str(error) or "newer than" in str(error)
                continue
            assert dict(again.layers) == dict(run.layers)
            assert dict(again.software) == dict(run.software)
    assert noticed > 0.8 * flips


def test_random_bits_of_a_larger_run(make_run, conv_info):
    """500 flips anywhere in its snapshots: the same is read, or ``verify`` names the file."""
    run = make_run(conv_info("conv1", (7, 7, 3, 64)), conv_info("conv2", (3, 3, 64, 64)))
    chance = random.Random(0)
    whole = {step: run.file(step).read_bytes() for step in run.steps}
    sound = {step: run.snapshot(step).arrays for step in run.steps}
    for _ in range(500):
        step = chance.choice(run.steps)
        at = chance.randrange(8 * len(whole[step]))
        flipped = bytearray(whole[step])
        flipped[at // 8] ^= 1 << at % 8
        run.file(step).write_bytes(flipped)
        damaged = run.verify()
        if damaged:
            assert list(damaged) == [step]
            assert str(run.file(step)) in damaged[step]
        else:
            for name, array in run.snapshot(step).arrays.items():
                assert array.tobytes() == sound[step][name].tobytes()
        run.file(step).write_bytes(whole[step])
