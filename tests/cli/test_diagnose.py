"""``initlab diagnose``, as it is typed."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

Command = Callable[..., Any]

MODULE = """
import torch
from torch import nn


def mlp(depth, width=64, classes=4):
    layers = [nn.Linear(20, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def data(samples=128, classes=4):
    return torch.randn(samples, 20), torch.randint(classes, (samples,))


def healthy(width=64):
    model = mlp(2, width)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    with torch.no_grad():
        model[-1].weight *= 0.3
    return model, *data()


def constant():
    model, *rest = healthy()
    nn.init.constant_(model[2].weight, 0.1)
    return model, *rest


def chatty():
    print("made by me")
    return healthy()


def alone():
    return healthy()[0]


def raises():
    raise RuntimeError("no such disk\\nmore of it")


def nothing():
    pass


def needs(width):
    return mlp(2, width)


def no_parameters():
    return nn.ReLU()


def number():
    return 3


def wrong_shape():
    model = mlp(3)
    model[2] = nn.Linear(32, 64)
    return model, data()[0]


def empty():
    return mlp(2), torch.zeros(0, 20)


def with_nan():
    model = mlp(3)
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    return model, *data()


class Overwrites(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = torch.sigmoid(self.first(x))
        y = self.second(x)
        x += 1
        return x * y


def overwrites():
    return Overwrites(), torch.randn(16, 8)


class Answers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return self.layer(x).argmax(-1)


def answers():
    return Answers(), torch.randn(16, 8)
"""


@pytest.fixture(autouse=True)
def mine(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the user's module; it is forgotten at the end."""
    (empty_folder / "mine.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("mine", None)
    yield empty_folder
    sys.modules.pop("mine", None)


def document(answer: Any) -> dict[str, Any]:
    return json.loads(answer.out, parse_constant=pytest.fail)


def test_a_healthy_model(initlab: Command, empty_folder: Path):
    answer = initlab("diagnose", "mine:healthy")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines()[-2:] == ["Verdict: healthy", "Report: initlab-diagnosis.html"]
    assert "a uniform guess has ln 4 = 1.386" in answer.out
    assert "given, of shape (128, 20)" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 100
    assert "</html>" in (empty_folder / "initlab-diagnosis.html").read_text()


def test_a_model_with_a_fault(initlab: Command):
    answer = initlab("diagnose", "mine:constant")
    assert (answer.status, answer.err) == (1, "")
    assert "UNIT01" in answer.out
    assert "where    2.weight" in answer.out
    assert "Verdict: healthy" not in answer.out


def test_one_document(initlab: Command, empty_folder: Path):
    answer = initlab("diagnose", "mine:constant", "--json")
    found = document(answer)
    assert (answer.status, answer.err) == (1, "")
    assert found["verdict"] == "findings"
    assert found["findings"][0]["code"] == "UNIT01"
    assert {"title", "severity", "where", "evidence", "cause", "fix"} <= {*found["findings"][0]}
    assert [layer["name"] for layer in found["layers"]] == ["0", "1", "2", "3", "4"]
    assert found["not_applicable"]
    assert not list(empty_folder.glob("*.html"))
    assert initlab("diagnose", "mine:healthy", "--json").document["verdict"] == "healthy"


def test_a_document_and_a_page(initlab: Command, empty_folder: Path):
    answer = initlab("diagnose", "mine:healthy", "--json", "--out", "page.html")
    assert answer.document["verdict"] == "healthy"
    assert "</html>" in (empty_folder / "page.html").read_text()


def test_what_the_factory_prints_is_no_result(initlab: Command):
    answer = initlab("diagnose", "mine:chatty", "--json")
    assert document(answer)["verdict"] == "healthy"
    assert answer.err == "made by me\n"


def test_the_seed_decides(initlab: Command):
    first, again, other = (
        initlab("diagnose", "mine:healthy", "--json", "--seed", seed).out for seed in "112"
    )
    assert first == again != other


def test_random_states_are_left_alone(initlab: Command):
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - under test
    initlab("diagnose", "mine:healthy", "--json")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002 - the same


def test_inputs_are_made_up_where_none_are_given(initlab: Command):
    answer = initlab("diagnose", "mine:alone")
    assert "made up, as none were given: standard-normal numbers of shape" in answer.out
    assert answer.err == ""


def test_the_fix(initlab: Command):
    answer = initlab("diagnose", "mine:constant", "--fix")
    assert (answer.status, answer.err) == (0, "")
    _, _, after = answer.out.partition("After the fix")
    assert "cleared  UNIT01" in after
    assert "2: std" in after
    assert "nn.init" in after.partition("The change in plain PyTorch")[2]
    assert answer.out.splitlines()[-2].endswith("→  healthy")


def test_the_fix_as_a_document(initlab: Command):
    found = initlab("diagnose", "mine:constant", "--fix", "--json").document
    assert [*found] == ["before", "after", "code"]
    assert found["before"]["verdict"] == "findings"
    assert found["after"]["verdict"] == "healthy"
    setting: dict[str, Any] = {}
    exec(compile(found["code"], "fix", "exec"), setting)  # noqa: S102 - our own output
    assert "initialize" in setting


def test_a_fix_where_nothing_is_wrong(initlab: Command):
    answer = initlab("diagnose", "mine:healthy", "--fix")
    assert answer.status == 0
    assert "Nothing to fix." in answer.out
    assert initlab("diagnose", "mine:healthy", "--fix", "--json").document["code"] == ""


def test_a_learning_rate_is_fixed(initlab: Command):
    words = ["diagnose", "mine:healthy", "--optimizer", "sgd(lr=100)"]
    assert [one["code"] for one in document(initlab(*words, "--json"))["findings"]] == ["STEP01"]
    answer = initlab(*words, "--fix")
    assert answer.status == 0
    assert "cleared  STEP01" in answer.out
    assert "optimizer.param_groups" in answer.out
    assert "sgd(lr=100)" in answer.out


def test_widths(initlab: Command):
    words = ["diagnose", "mine:healthy", "--widths", "8,16"]
    assert "WIDTH01" not in document(initlab(*words, "--json"))["not_applicable"]
    without = document(initlab("diagnose", "mine:healthy", "--json"))
    assert "WIDTH01" in without["not_applicable"]


def test_widths_need_a_factory_of_the_width(initlab: Command):
    answer = initlab("diagnose", "mine:constant", "--widths", "32,64,128")
    assert answer.status == 2
    assert "width" in answer.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mine:helthy"], "'mine:helthy': module 'mine' has no attribute 'helthy'"),
        (["nine:healthy"], "there is no module 'nine'"),
        (["mine"], "'mine'; accepted: module:name"),
        (["mine:raises"], "raises() raises RuntimeError: no such disk"),
        (["mine:nothing"], "nothing() returns nothing; accepted: a model"),
        (["mine:needs"], "missing 1 required positional argument"),
        (["mine:number"], "number() returns int; accepted: a model"),
        (["mine:no_parameters"], "ReLU has no parameters"),
        (["mine:empty"], "(0, 20)"),
        (["mine:healthy", "--loss", "hinge"], "unknown loss 'hinge'"),
        (["mine:healthy", "--optimizer", "newton"], "unknown optimizer 'newton'"),
        (["mine:healthy", "--widths", "64"], "--widths '64'; accepted: two or more"),
        (["mine:healthy", "--widths", "a,b"], "--widths 'a,b'; accepted: two or more"),
        (["mine:healthy", "--out", "."], "this is a folder"),
        (["mine:healthy", "--out", "page.png"], "accepted: a file that ends in .html"),
        (["mine:healthy", "--out", "away/page.html"], "there is no folder away"),
        (["mine:healthy", "--weights", "away.pt"], "--weights away.pt: there is no such file"),
    ],
)
def test_bad_input_is_one_line(initlab: Command, words: list[str], told: str):
    answer = initlab("diagnose", *words)
    assert (answer.status, answer.out) == (2, "")
    assert told in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("factory", "told", "measured"),
    [
        ("wrong_shape", "at 2 (Linear)", 2),
        ("overwrites", "inplace operation", 2),
        ("answers", "floating-point", 1),
        ("with_nan", "2.weight", 1),
    ],
)
def test_what_could_be_measured_is_told(initlab: Command, factory: str, told: str, measured: int):
    answer = initlab("diagnose", f"mine:{factory}")
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert told in answer.err
    assert "! stopped" in answer.out
    assert "not measured to the end" in answer.out
    read = initlab("diagnose", f"mine:{factory}", "--json")
    assert (read.status, read.err) == (2, answer.err)
    found = document(read)
    assert found["verdict"] == "findings"
    assert told in found["problem"]
    assert len(found["layers"]) >= measured


def model() -> dict[str, torch.Tensor]:
    """Return a state of the user's model, drawn from another seed."""
    generator = torch.Generator().manual_seed(7)
    sizes = {"0": (64, 20), "2": (64, 64), "4": (4, 64)}
    weights = {f"{n}.weight": torch.randn(size, generator=generator) for n, size in sizes.items()}
    biases = {f"{n}.bias": torch.zeros(size[0]) for n, size in sizes.items()}
    return {name: value / 7 for name, value in (weights | biases).items()}


def std(found: dict[str, Any]) -> float:
    return found["layers"][2]["std"]


@pytest.mark.parametrize("form", ["safetensors", "plain", "nested", "wrapped"])
def test_weights_are_loaded(initlab: Command, form: str):
    state = model()
    name = "weights.safetensors" if form == "safetensors" else "weights.pt"
    if form == "safetensors":
        save_file(state, name)
    elif form == "nested":
        torch.save({"epoch": 3, "state_dict": state}, name)
    elif form == "wrapped":
        torch.save({f"module.{key}": value for key, value in state.items()}, name)
    else:
        torch.save(state, name)
    answer = initlab("diagnose", "mine:healthy", "--weights", name, "--json")
    found = document(answer)
    assert answer.err == ""
    assert std(found) == pytest.approx(float(state["2.weight"].square().mean().sqrt()), rel=1e-5)
    told = [note for note in found["notes"] if name in note]
    assert told == (
        ["the names in weights.pt were read without 'module.'"] if form == "wrapped" else []
    )


def test_what_is_missing_and_what_is_left_over_is_told(initlab: Command):
    state = model()
    del state["2.weight"], state["2.bias"]
    torch.save(state | {"head.weight": torch.zeros(3)}, "weights.pt")
    answer = initlab("diagnose", "mine:healthy", "--weights", "weights.pt")
    text = " ".join(answer.out.split())
    assert "2 of the model's 6 tensors are not in weights.pt and keep" in text
    assert "2.weight, 2.bias" in text
    assert "1 of the 5 tensors in weights.pt have no place in the model" in text
    assert "head.weight" in text


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("exploded").touch, ())


def test_a_checkpoint_is_never_run(initlab: Command, empty_folder: Path):
    torch.save({"state_dict": model(), "extra": Bomb()}, "weights.pt")
    Path("plain.pkl").write_bytes(pickle.dumps(Bomb()))
    for name in ("weights.pt", "plain.pkl"):
        answer = initlab("diagnose", "mine:healthy", "--weights", name)
        assert (answer.status, answer.out) == (2, "")
        assert f"--weights {name}: " in answer.err
        assert answer.err.count("\n") == 1
    assert not (empty_folder / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no checkpoint of PyTorch's"),
        (b"name,value\n", "is no checkpoint of PyTorch's"),
        (model()["0.weight"], "holds no tensors by name, but a Tensor"),
        ({"epoch": 3}, "holds no tensors by name, but only epoch"),
        ({"a.b": torch.zeros(2)}, "no tensor in it has a name of the model's: there is a.b"),
        (
            model() | {"2.weight": torch.zeros(64, 32)},
            "shapes differ: 2.weight is (64, 32) in the file and (64, 64) in the model",
        ),
    ],
    ids=["empty", "text", "tensor", "numbers", "strange", "shape"],
)
def test_a_checkpoint_that_does_not_fit(initlab: Command, content: object, told: str):
    if isinstance(content, bytes):
        Path("weights.pt").write_bytes(content)
    else:
        torch.save(content, "weights.pt")
    answer = initlab("diagnose", "mine:healthy", "--weights", "weights.pt")
    assert (answer.status, answer.out) == (2, "")
    assert told in answer.err
    assert answer.err.count("\n") == 1


def test_damaged_safetensors(initlab: Command):
    Path("weights.safetensors").write_bytes(b"\x10" * 20)
    answer = initlab("diagnose", "mine:healthy", "--weights", "weights.safetensors")
    assert (answer.status, answer.out) == (2, "")
    assert "cannot be read as safetensors" in answer.err


def test_a_folder_is_no_checkpoint(initlab: Command, empty_folder: Path):
    (empty_folder / "run").mkdir()
    answer = initlab("diagnose", "mine:healthy", "--weights", "run")
    assert "--weights run: this is a folder" in answer.err


@pytest.mark.parametrize("words", [["--help"], ["--widths", "3", "mine:healthy"], ["--sed", "1"]])
def test_help_and_slips_load_nothing_heavy(words: list[str]):
    code = (
        "import json, sys\nfrom initlab.cli import main\n"
        f"main(['diagnose', *{words}])\nprint('\\n' + json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert not loaded & {"torch", "numpy", "matplotlib", "pandas", "safetensors"}


def test_without_pytorch_there_is_a_remedy():
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom initlab.cli import main\n"
        "sys.exit(main(['diagnose', 'mine:healthy']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'initlab[torch]'" in done.stderr
