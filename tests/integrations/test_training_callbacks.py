"""The callbacks for Lightning and for Hugging Face's Trainer, run by the real ones."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from initlab._base.errors import InitlabError, InvalidValueError
from initlab.integrations import lightning as for_lightning
from initlab.integrations import transformers as for_transformers
from initlab.integrations._training import StartsWrongError, StartsWrongWarning, first_batch, parts

# Lightning's own: of its settings, and of what it imports.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*(num_workers|logging interval|logger|GPU|pin_memory).*"),
]


def net(*, healthy: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    for layer in (layers[0], layers[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[2].weight, std=0.05)
    if not healthy:
        nn.init.constant_(layers[0].weight, 0.1)
    return layers


def data() -> TensorDataset:
    x = torch.randn(128, 32, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, torch.arange(128) % 4)


# What the callbacks share.


def test_what_shuffles_the_data_stays_where_it_was():
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(data(), batch_size=8, shuffle=True, generator=generator)
    torch.manual_seed(1)
    before = torch.get_rng_state(), generator.get_state()
    batch = first_batch(loader)
    assert [part.shape for part in batch] == [(8, 32), (8,)]
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.equal(before[1], generator.get_state())
    assert first_batch([]) is None


def test_a_batch_is_split_by_what_forward_takes():
    x, y = torch.ones(4, 3), torch.zeros(4)
    assert parts(x, lambda x: x) == (x, None)
    inputs, targets = parts((x, y), lambda x: x)
    assert len(inputs) == 1
    assert targets is y
    inputs, targets = parts([x, y], lambda x, y: x + y)
    assert len(inputs) == 2
    assert targets is None
    assert set(parts({"x": x, "id": y}, lambda x: x)[0]) == {"x"}
    assert set(parts({"x": x, "id": y}, lambda batch: batch)[0]) == {"x", "id"}
    assert set(parts({"x": x, "id": y}, lambda **all_of_it: all_of_it)[0]) == {"x", "id"}


@pytest.mark.parametrize("module", [for_lightning, for_transformers])
def test_the_choice_is_checked(module: Any):
    with pytest.raises(InvalidValueError, match="on_finding='stop'"):
        module.callback("stop")


# Lightning.


def lightning() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lightning.pytorch")


def module_of(kind: str, *, healthy: bool) -> Any:
    """Make a LightningModule, with or without a forward of its own."""
    base: Any = lightning().LightningModule

    class Stepped(base):
        def __init__(self) -> None:
            super().__init__()
            self.net = net(healthy=healthy)
            self.seen: list[float] = []

        def training_step(self, batch: Any, _index: int) -> Tensor:
            x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch
            self.seen.append(float(x.sum()))
            loss = functional.cross_entropy(self.net(x), y)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

        def train_dataloader(self) -> Any:
            return DataLoader(data(), batch_size=64, shuffle=True)

    class Forward(Stepped):
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    class Generates(Stepped):
        def forward(self, x: Tensor, temperature: Tensor) -> Tensor:
            raise RuntimeError(f"for inference only, {x.shape}, {temperature.shape}")

    return {"step": Stepped, "forward": Forward, "other": Generates}[kind]()


def fit(module: Any, *callbacks: Any, **given: Any) -> None:
    trainer = lightning().Trainer(
        fast_dev_run=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    torch.manual_seed(5)
    trainer.fit(module, **given)


@pytest.mark.parametrize("kind", ["step", "forward", "other"])
def test_lightning_trains_as_it_would_have_without(kind: str):
    plain, looked = module_of(kind, healthy=True), module_of(kind, healthy=True)
    fit(plain)
    callback = for_lightning.callback("raise", ignore=("SIG06",))
    assert callback.report is None
    fit(looked, callback)
    assert callback.report.verdict == "healthy", callback.report.text()
    assert callback.report.loss is not None
    assert callback.report.layers[0].parameter == "net.0.weight"
    assert looked.seen[-2:] == plain.seen
    for one, other in zip(plain.parameters(), looked.parameters(), strict=True):
        assert torch.equal(one, other)
    assert "forward" not in vars(looked)
    assert "log" not in vars(looked)


@pytest.mark.parametrize("kind", ["step", "forward"])
def test_lightning_stops_or_warns(kind: str):
    with pytest.raises(StartsWrongError, match="UNIT01"):
        fit(module_of(kind, healthy=False), for_lightning.callback("raise"))
    callback = for_lightning.callback()
    with pytest.warns(StartsWrongWarning, match="net.0.weight"):
        fit(module_of(kind, healthy=False), callback)
    assert "UNIT01" in callback.report.codes
    assert issubclass(StartsWrongError, InitlabError)


class Named(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x, y = data()[index]
        return {"x": x, "y": y}


@pytest.mark.parametrize("kind", ["step", "forward"])
def test_lightning_with_data_that_is_given_and_named(kind: str):
    callback = for_lightning.callback("raise", ignore=("SIG06",))
    fit(
        module_of(kind, healthy=True),
        callback,
        train_dataloaders=DataLoader(Named(), batch_size=64),
    )
    assert not callback.report.problem


def test_pytorch_lightning_is_taken_where_it_is_there(monkeypatch: Any):
    lightning()
    monkeypatch.delitem(for_lightning.sys.modules, "lightning.pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = pytest.importorskip("pytorch_lightning")
    assert isinstance(for_lightning.callback(), other.Callback)


# Hugging Face.


class Samples(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = torch.randint(50, (16,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": ids}


def train(model: Any, folder: Path, *callbacks: Any) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    settings = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=8,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        model=model, args=settings, train_dataset=Samples(), callbacks=list(callbacks)
    )
    trainer.train()


def language_model(*, healthy: bool = True) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=50,
        n_positions=16,
        n_embd=64,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    if not healthy:
        nn.init.constant_(model.transformer.h[0].mlp.c_fc.weight, 0.1)
    return model


def test_hugging_face_trains_as_it_would_have_without(tmp_path: Path):
    plain, looked = language_model(), language_model()
    train(plain, tmp_path)
    callback = for_transformers.callback()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StartsWrongWarning)
        train(looked, tmp_path, callback)
    assert not callback.report.problem
    assert callback.report.loss_kind == "cross_entropy"
    assert callback.report.loss == pytest.approx(3.9, abs=0.2)  # ln 50
    for one, other in zip(plain.parameters(), looked.parameters(), strict=True):
        assert torch.equal(one, other)


def test_hugging_face_stops(tmp_path: Path):
    with pytest.raises(StartsWrongError, match=r"h\.0\.mlp\.c_fc"):
        train(language_model(healthy=False), tmp_path, for_transformers.callback("raise"))
