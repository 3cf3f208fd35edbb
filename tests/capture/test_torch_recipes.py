"""The code of docs/pytorch.md for torch, run with the real packages: the extra ``recipes``."""

import re
from pathlib import Path

import numpy as np
import pytest

from filtertrack import Run

torch = pytest.importorskip("torch")

DOCS = Path(__file__).parents[2] / "docs" / "pytorch.md"
LOG_STEPS = [0, 1, 2, 3, 4, 5, 6, 7, 8]


def code_of(heading):
    """Return the first block of code below a heading of the page."""
    _, below = DOCS.read_text().split(f"## {heading}\n")
    return re.search(r"```python\n(.*?)```", below, re.DOTALL)[1]


def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )


@pytest.fixture
def data():
    return torch.utils.data.TensorDataset(torch.randn(32, 3, 8, 8), torch.ones(32, 4))


def test_the_loop_in_plain_pytorch(data, tmp_path, monkeypatch):
    """As the page shows it."""
    monkeypatch.chdir(tmp_path)
    module = make()
    names = {
        "module": module,
        "loader": torch.utils.data.DataLoader(data, 8),
        "epochs": 2,
        "validate": lambda module: 0.5,
        "loss_of": torch.nn.functional.mse_loss,
        "optimizer": torch.optim.SGD(module.parameters(), 0.1),
    }
    exec(code_of("A loop in plain PyTorch"), names)  # noqa: S102 - the page's own code
    run = Run("runs/exp1")
    assert run.steps == LOG_STEPS
    assert run.moment(4).metrics.keys() == {"loss", "val_loss"}
    np.testing.assert_array_equal(
        run.snapshot(8).arrays["0/weight"], module[0].weight.detach().numpy()
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lightning(data, tmp_path, monkeypatch):
    """Steps, epochs and metrics; training from a checkpoint continues the run."""
    lightning = pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_of("Lightning"), names)  # noqa: S102

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = make()

        def training_step(self, batch, index):
            loss = torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = torch.utils.data.DataLoader(data, 8)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    for epochs, checkpoint in ((2, None), (3, "last.ckpt")):
        model = Model()
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", callbacks=[names["TrackFilters"]()], **quiet
        )
        trainer.fit(model, loader, loader, ckpt_path=checkpoint)
        trainer.save_checkpoint("last.ckpt")
        run = Run("runs/exp1")
        assert run.moment(run.steps[-1]).epoch == epochs
        np.testing.assert_array_equal(
            run.snapshot(run.steps[-1]).arrays["net/0/weight"],
            model.net[0].weight.detach().numpy(),
        )
    assert run.steps == [*LOG_STEPS, 10, 12]
    assert {"loss", "val_loss"} <= run.moment(4).metrics.keys()
    assert run.moment(5).metrics.keys() == {"loss"}
    assert not [step for step in run.steps if run.moment(step).note]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_hugging_face(data, tmp_path, monkeypatch):
    """A ResNet that is made here, with its loss."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_of("Hugging Face Trainer"), names)  # noqa: S102
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=2, layer_type="basic"
    )
    model = transformers.ResNetForImageClassification(config)
    rows = [{"pixel_values": x, "labels": n % 2} for n, (x, _) in enumerate(data)]
    for resume, epochs in ((False, 2), (True, 3)):
        options = transformers.TrainingArguments(
            *("out",),
            num_train_epochs=epochs,
            per_device_train_batch_size=8,
            use_cpu=True,
            report_to=[],
            save_strategy="epoch",
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(
            model, options, train_dataset=rows, callbacks=[names["TrackFilters"]()]
        )
        trainer.train(resume_from_checkpoint=resume or None)
    run = Run("runs/exp1")
    assert run.steps == [*LOG_STEPS, 10, 12]
    assert run.moment(12).epoch == 3
    (first,) = (
        module
        for name, module in model.named_modules()
        if name.endswith("embedder.embedder.convolution")
    )
    name = next(iter(run.layers))
    np.testing.assert_array_equal(
        run.snapshot(12).arrays[f"{name}/weight"], first.weight.detach().numpy()
    )
