"""The code of docs/pytorch.md for jax, run with the real packages: the extra ``recipes``."""

import re
from pathlib import Path

import numpy as np
import pytest

from filtertrack import Run

jax = pytest.importorskip("jax")
DOCS = Path(__file__).parents[2] / "docs" / "pytorch.md"
X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")


def code_with(text):
    """Return the block of code of the page that holds a text."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if text in block)
    return block


@pytest.mark.filterwarnings("ignore")
def test_a_loop_with_flax(tmp_path, monkeypatch):
    """Kernels are named by their path in the parameters."""
    linen = pytest.importorskip("flax.linen")
    monkeypatch.chdir(tmp_path)

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.Conv(4, (3, 3), name="conv1")(x))
            return linen.Dense(1)(x.mean((1, 2)))

    net = Net()
    params = net.init(jax.random.key(0), X)["params"]

    @jax.jit
    def train_step(params):
        loss, gradients = jax.value_and_grad(
            lambda p: ((net.apply({"params": p}, X) - 1) ** 2).mean()
        )(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss

    names = {"params": params, "steps": 25, "train_step": train_step}
    exec(code_with("flatten_dict"), names)  # noqa: S102 - the page's own code
    run = Run("runs/exp1")
    assert run.steps == [0, 10, 20, 25]
    assert list(run.layers) == ["conv1"]
    for step, held in ((0, params), (25, names["params"])):
        stored = run.snapshot(step).arrays["conv1/kernel"]
        np.testing.assert_array_equal(stored, np.asarray(held["conv1"]["kernel"]))
    assert run.moment(25).metrics["loss"] > 0


@pytest.mark.filterwarnings("ignore")
def test_a_loop_with_equinox(tmp_path, monkeypatch):
    """The axes are those of torch."""
    eqx = pytest.importorskip("equinox")
    monkeypatch.chdir(tmp_path)

    class Net(eqx.Module):
        conv1: eqx.nn.Conv2d

        def __call__(self, x):
            return self.conv1(x).mean()

    model = Net(eqx.nn.Conv2d(3, 4, 3, key=jax.random.key(0)))
    x = X.transpose(0, 3, 1, 2)

    @eqx.filter_jit
    def train_step(model):
        loss, gradients = eqx.filter_value_and_grad(lambda m: ((jax.vmap(m)(x) - 1) ** 2).mean())(
            model
        )
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, gradients)), loss

    names = {"model": model, "steps": 25, "train_step": train_step}
    exec(code_with("model.conv1.weight"), names)  # noqa: S102
    run = Run("runs/exp1")
    assert run.steps == [0, 10, 20, 25]
    assert run.layers["conv1"].shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(
        run.snapshot(25).arrays["conv1/kernel"], np.asarray(names["model"].conv1.weight)
    )
