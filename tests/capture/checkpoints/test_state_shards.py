import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.checkpoint_paths import is_checkpoint
from filtertrack.capture.checkpoints.file_formats import open_checkpoint


@pytest.fixture(name="index")
def sharded_model(tmp_path, rng):
    """An index and two files, as Hugging Face writes them; a kernel and its bias are apart."""
    shards = [
        {"conv1.weight": rng.normal(size=(4, 3, 3, 3)), "conv10.weight": np.ones((2, 4, 3, 3))},
        {"conv1.bias": rng.normal(size=4), "conv2.weight": np.zeros((4, 4, 3, 3))},
    ]
    names = {}
    for number, arrays in enumerate(shards, 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file(arrays, tmp_path / file, metadata={"format": "pt"})
        names |= dict.fromkeys(arrays, file)
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return path, shards


def test_the_kernels_of_all_files_are_one_checkpoint(index):
    """In natural order, with the bias that is in another file."""
    path, shards = index
    assert is_checkpoint(path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["conv1", "conv2", "conv10"]
        arrays = checkpoint.read()
    expected = {name.replace(".", "/"): a for shard in shards for name, a in shard.items()}
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], strict=True)


def test_files_may_be_links(index, tmp_path):
    """As in the cache of Hugging Face."""
    path, _ = index
    for file in tmp_path.glob("model-*"):
        blob = tmp_path / f"blob-{file.name}"
        file.rename(blob)
        file.symlink_to(blob)
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.infos) == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"conv.weight": "../outside.safetensors"}, "files in the same folder"),
        ({"conv.weight": "/etc/passwd"}, "files in the same folder"),
        ({"conv.weight": "sub\\file.safetensors"}, "files in the same folder"),
        ({"conv.weight": ".."}, "no file '..'"),
        ({"conv.weight": ""}, "files in the same folder"),
        ({"conv.weight": 3}, "files in the same folder"),
        ({"conv.weight": "missing.safetensors"}, "no file 'missing.safetensors' beside it"),
        ({"conv9.weight": "model-00001-of-00002.safetensors"}, "'conv9.weight' is not in"),
        ({}, "it names 0 files"),
        ([1, 2], "weight_map"),
        ({f"{n}.weight": f"{n}.safetensors" for n in range(2000)}, "it names 2000 files"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index, content, reason):
    """Without a look outside the folder."""
    path, _ = index
    path.write_text(json.dumps({"weight_map": content}))
    with pytest.raises(FiltertrackError, match=reason) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff{}", b"[" * 100_000, b'{"a": 1}'])
def test_a_damaged_index_is_refused(index, content):
    """With what was expected."""
    path, _ = index
    path.write_bytes(content)
    with pytest.raises(FiltertrackError, match=r"weight_map|it is empty"):
        open_checkpoint(path)


def test_a_damaged_file_is_named(index, tmp_path):
    """And all files are closed."""
    path, _ = index
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"damaged")
    with pytest.raises(FiltertrackError, match=r"model-00002-of-00002\.safetensors"):
        open_checkpoint(path)


def test_sharded_files_of_torch_are_read_the_same_way(tmp_path):
    """As Hugging Face wrote them before safetensors."""
    torch = pytest.importorskip("torch")
    kernels = {f"conv{n}.weight": torch.full((4, 3, 3, 3), float(n)) for n in (1, 2)}
    names = {}
    for number, (name, kernel) in enumerate(kernels.items(), 1):
        names[name] = f"pytorch_model-{number:05d}-of-00002.bin"
        torch.save({name: kernel}, tmp_path / names[name])
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": names}))
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.read()
    assert {name: array.max() for name, array in found.items()} == {
        "conv1/weight": 1,
        "conv2/weight": 2,
    }
