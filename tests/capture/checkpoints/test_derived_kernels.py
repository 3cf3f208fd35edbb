import warnings

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.derived_kernels import formula_of
from filtertrack.capture.checkpoints.file_formats import open_checkpoint

torch = pytest.importorskip("torch")
nn = torch.nn
from torch.nn.utils import prune  # noqa: E402 - after the line above

new, old = nn.utils.parametrizations, nn.utils

METHODS = {
    "old weight norm": old.weight_norm,
    "old weight norm of all axes": lambda conv: old.weight_norm(conv, dim=None),
    "old weight norm of another axis": lambda conv: old.weight_norm(conv, dim=2),
    "old spectral norm": old.spectral_norm,
    "weight norm": new.weight_norm,
    "spectral norm": new.spectral_norm,
    "pruning": lambda conv: prune.random_unstructured(conv, "weight", 0.5),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("layer", "inputs", "outputs"),
    [(nn.Conv2d, 3, 5), (nn.Conv2d, 4, 4), (nn.ConvTranspose2d, 3, 5), (nn.ConvTranspose2d, 4, 4)],
)
@pytest.mark.filterwarnings("ignore")
def test_the_kernel_is_the_one_that_torch_convolves_with(tmp_path, method, layer, inputs, outputs):
    """In evaluation, up to the rounding of float32; with a remark that it is computed."""
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {
            "deconv" if layer is nn.ConvTranspose2d else "conv": METHODS[method](
                layer(inputs, outputs, 3)
            )
        }
    )
    for _ in range(5):  # the vectors of a spectral norm converge
        next(iter(net.values()))(torch.randn(1, inputs, 5, 5))
    net.eval()
    path = tmp_path / "model.pt"
    torch.save(net.state_dict(), path)
    (conv,) = net.values()
    conv(torch.zeros(1, inputs, 5, 5))
    with open_checkpoint(path) as checkpoint:
        (info,) = checkpoint.infos
        kernel = checkpoint.read()[info.kernel]
        assert any("computed as torch does it" in remark for remark in checkpoint.remarks)
    assert info.kernel.endswith("conv/weight")
    assert info.shape[0] == outputs
    expected = conv.weight.detach().numpy()
    assert kernel.dtype == expected.dtype
    np.testing.assert_allclose(kernel, expected, rtol=2e-5, atol=1e-7)


def test_an_unknown_parametrization_is_left_out_with_a_remark(tmp_path):
    """Alone, and after a known one."""

    class Symmetric(nn.Module):
        def forward(self, weight):
            return weight + weight.transpose(2, 3)

    register = nn.utils.parametrize.register_parametrization
    own, both = nn.Conv2d(3, 5, 3), new.weight_norm(nn.Conv2d(3, 5, 3))
    register(own, "weight", Symmetric())
    path = tmp_path / "model.pt"
    torch.save(nn.ModuleDict({"plain": nn.Conv2d(3, 5, 3), "own": own}).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["plain"]
        assert "own/parametrizations.weight.original" in checkpoint.remarks[0]
    names = {**dict.fromkeys(both.state_dict()), "parametrizations.weight.1.scale": None}
    assert formula_of(names) is None


def test_no_warning_about_a_kernel_of_zeros(tmp_path):
    """Its norm is 0: not a number, as in torch."""
    path = tmp_path / "model.pt"
    zeros = torch.zeros(2, 1, 3, 3)
    torch.save({"conv.weight_v": zeros, "conv.weight_g": torch.ones(2, 1, 1, 1)}, path)
    with warnings.catch_warnings(), open_checkpoint(path) as checkpoint:
        warnings.simplefilter("error")
        assert np.isnan(checkpoint.read()["conv/weight"]).all()


@pytest.mark.parametrize(
    "shapes",
    [
        {"weight_g": (1 << 14, 1, 1, 1), "weight_v": (1, 1 << 14, 3, 3)},
        {"weight_g": (2,), "weight_v": (4, 3, 3, 3)},
        {"weight_mask": (1 << 14, 1, 1, 1), "weight_orig": (1, 1 << 14, 3, 3)},
        {"weight_u": (4,), "weight_v": (9, 3), "weight_orig": (4, 3, 3, 3)},
        {"weight_u": (5,), "weight_v": (27,), "weight_orig": (4, 3, 3, 3)},
        {"weight_u": (2, 2), "weight_v": (27,), "weight_orig": (4, 3, 3, 3)},
    ],
)
def test_arrays_that_do_not_fit_the_kernel_are_an_error(tmp_path, shapes):
    """Of any shape; none makes an array of another size than the kernel's."""
    path = tmp_path / "model.pt"
    torch.save({f"conv.{name}": torch.ones(shape) for name, shape in shapes.items()}, path)
    with open_checkpoint(path) as checkpoint, pytest.raises(FiltertrackError, match="layer conv"):
        checkpoint.read()
