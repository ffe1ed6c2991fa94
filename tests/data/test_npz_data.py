"""NumPy archives of the user's: what is made of good ones, and what is said about bad ones."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from initlab import data
from initlab._base.errors import DataError, InitlabError
from initlab.data import Dataset

N = 40
ROW = np.arange(float(N))
X = np.stack([ROW, (ROW * 7) % 11], axis=1)
Y = np.arange(N) % 3
Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Save arrays as ``my.npz`` in the current folder and return its name."""
    monkeypatch.chdir(tmp_path)

    def save_it(**arrays: Any) -> str:
        np.savez("my.npz", **arrays)
        return "my.npz"

    return save_it


def _labels(loaded: Dataset) -> list[str]:
    """Return the class names in the file's order; feature 0 must be rising there."""
    order = np.argsort(np.concatenate([loaded.train_x[:, 0], loaded.test_x[:, 0]]))
    codes = np.concatenate([loaded.train_y, loaded.test_y])[order]
    return [loaded.classes[code] for code in codes]


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (Y, "multiclass", ("0", "1", "2")),
        (Y.astype(np.uint8), "multiclass", ("0", "1", "2")),
        (Y.astype(np.float32) - 1, "multiclass", ("-1", "0", "1")),
        (Y == 0, "binary", ("False", "True")),
        (np.array(["b", "a", "é"])[Y], "multiclass", ("a", "b", "é")),
        (np.char.encode(np.array(["b", "a", "é"]), "utf-8")[Y], "multiclass", ("a", "b", "é")),
        (Y[:, None], "multiclass", ("0", "1", "2")),
    ],
)
def test_targets_of_every_kind_become_classes(
    save: Save, y: np.ndarray, task: str, classes: tuple[str, ...]
):
    loaded = data.load(save(x=X, y=y))
    assert loaded.task == task
    assert loaded.classes == classes
    flat = y.reshape(-1)
    texts = np.char.decode(flat, "utf-8") if flat.dtype.kind == "S" else flat
    assert _labels(loaded) == [str(int(v)) if flat.dtype.kind == "f" else str(v) for v in texts]
    assert loaded.feature_names == ("x1", "x2")
    assert_allclose(loaded.train_x.mean(axis=0), 0, atol=1e-12)
    assert_allclose(loaded.train_x.std(axis=0), 1, rtol=1e-12)


def test_fractions_make_a_regression(save: Save):
    loaded = data.load(save(X=X, Y=ROW / 3))
    assert loaded.task == "regression"
    assert_allclose(loaded.train_y, loaded.train_x[:, 0], atol=1e-12)
    assert_allclose(loaded.test_y, loaded.test_x[:, 0], atol=1e-12)


def test_the_target_may_have_any_name(save: Save):
    loaded = data.load(save(pixels=X, digit=Y), target="digit")
    assert loaded.feature_names == ("pixels1", "pixels2")
    assert "array 'digit', as asked" in " ".join(loaded.notes)
    loaded = data.load(save(x=X, y=Y, other=Y == 0), target="other")
    assert loaded.classes == ("False", "True")


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("x_train", "y_train")])
def test_a_test_set_of_the_files_own_is_used(save: Save, x: str, y: str):
    arrays = {x: X, y: Y, "x_test": X[:5] + 1, "y_test": Y[:5].astype(float)}
    loaded = data.load(save(**arrays))
    assert_array_equal(loaded.train_y, Y)
    assert_array_equal(loaded.test_y, Y[:5])
    mean, std = X.mean(axis=0), X.std(axis=0)
    assert_allclose(loaded.train_x, (X - mean) / std, atol=1e-12)
    assert_allclose(loaded.test_x, (X[:5] + 1 - mean) / std, atol=1e-12)
    assert "40 training and 5 test samples, divided as in the file" in loaded.notes


def test_a_test_set_of_a_regression_is_scaled_like_the_training_set(save: Save):
    loaded = data.load(save(x=X, y=ROW / 3, x_test=X[:5], y_test=ROW[:5] + 0.5))
    scaled = (ROW[:5] + 0.5 - (ROW / 3).mean()) / (ROW / 3).std()
    assert_allclose(loaded.test_y, scaled, rtol=1e-12)


def test_a_class_may_be_single_where_nothing_is_split(save: Save):
    y = np.where(ROW == 7, 1, 0)
    assert data.load(save(x=X, y=y, x_test=X, y_test=y)).train_y.sum() == 1


def test_images_are_flattened_and_a_single_feature_may_be_a_vector(save: Save):
    images = np.random.default_rng(0).integers(0, 255, (N, 4, 3)).astype(np.uint8)
    loaded = data.load(save(x=images, y=Y))
    flat = images.reshape(N, 12).astype(float)
    both = np.concatenate([loaded.train_x, loaded.test_x])
    assert loaded.features == 12
    assert_allclose(np.sort(np.corrcoef(both.T)), np.sort(np.corrcoef(flat.T)), atol=1e-9)
    assert "samples of 4 x 3 values flattened to 12 features" in loaded.notes
    assert data.load(save(x=ROW, y=Y)).train_x.shape == (30, 1)


def test_arrays_that_are_not_needed_are_not_read(save: Save):
    extra = np.array([{"a": 1}], dtype=object)
    assert data.load(save(x=X, y=Y, extra=extra)).outputs == 3


BAD_ARRAYS = {
    "no arrays": ({}, ["holds no array", "expected arrays x (samples, features) and y"]),
    "unknown names": ({"a": X, "b": Y}, ["holds 'a', 'b'", "target=..."]),
    "no targets": ({"x": X}, ["holds 'x'"]),
    "no features": ({"y": Y}, ["holds 'y'"]),
    "two of a kind": ({"x": X, "X": X, "y": Y}, ["both 'x' and 'X'"]),
    "half a test set": ({"x": X, "y": Y, "x_test": X}, ["holds 'x_test' alone"]),
    "the other half": ({"x": X, "y": Y, "y_test": Y}, ["holds 'y_test' alone"]),
    "objects": ({"x": X, "y": Y.astype(object)}, ["array 'y'", "Python objects"]),
    "object features": ({"x": X.astype(object), "y": Y}, ["array 'x'", "Python objects"]),
    "text features": ({"x": X.astype(str), "y": Y}, ["array 'x' holds <U", "numbers"]),
    "complex features": ({"x": X * 1j, "y": Y}, ["array 'x' holds complex128"]),
    "dates": ({"x": X, "y": Y.astype("M8[s]")}, ["array 'y' holds datetime64"]),
    "bytes": ({"x": X, "y": np.array([b"\xff", b"a"] * 20)}, ["array 'y'", "not UTF-8"]),
    "lengths": ({"x": X, "y": Y[:-1]}, ["array 'x' has 40 samples and array 'y' 39"]),
    "one-hot": ({"x": X, "y": np.eye(3)[Y]}, ["array 'y' has shape (40, 3)"]),
    "scalar": ({"x": np.float64(1), "y": Y}, ["array 'x' of shape ()"]),
    "scalar target": ({"x": X, "y": np.float64(1)}, ["array 'y' has shape ()"]),
    "no samples": ({"x": X[:0], "y": Y[:0]}, ["array 'x' of shape (0, 2) holds no samples"]),
    "no columns": ({"x": X[:, :0], "y": Y}, ["array 'x' of shape (40, 0)"]),
    "few": ({"x": X[:7], "y": Y[:7]}, ["7 samples", "at least 8"]),
    "nan": ({"x": np.where(X == 7, np.nan, X), "y": Y}, ["'x', column 2, row 2", "missing"]),
    "inf": ({"x": np.where(X == 39, np.inf, X), "y": Y}, ["'x', column 1, row 40: inf"]),
    "nan target": ({"x": X, "y": np.where(ROW == 4, np.nan, ROW)}, ["array 'y', row 5", "missing"]),
    "one class": ({"x": X, "y": Y * 0}, ["array 'y' holds one class only, '0'"]),
    "lonely": ({"x": X, "y": (ROW == 3).astype(str)}, ["class 'True' of array 'y' has a single"]),
    "constant": ({"x": X * 0 + 2, "y": Y}, ["every feature is constant", "array 'x', column 1"]),
    "test width": ({"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y}, ["'x_test' has 1 features"]),
    "test length": ({"x": X, "y": Y, "x_test": X, "y_test": Y[1:]}, ["array 'y_test' 39"]),
    "test class": (
        {"x": X, "y": Y, "x_test": X, "y_test": Y + 1},
        ["class '3'", "not in training"],
    ),
    "test nan": (
        {"x": X, "y": Y, "x_test": X * np.nan, "y_test": Y},
        ["'x_test', column 1, row 1"],
    ),
}


@pytest.mark.parametrize(("arrays", "said"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_are_refused_in_one_line(
    save: Save, arrays: dict[str, np.ndarray], said: list[str]
):
    path = save(**arrays)
    with pytest.raises(DataError) as caught:
        data.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count("'my.npz'") == 1
    assert "allow_pickle" not in message
    for part in said:
        assert part in message


def test_text_cannot_be_the_target_of_a_regression(save: Save):
    with pytest.raises(DataError, match="array 'y', row 1: '0' is text"):
        data.load(save(x=X, y=Y.astype(str)), task="regression")
    with pytest.raises(DataError, match="is text"):
        data.load(save(x=X, y=ROW / 3, x_test=X, y_test=np.array(["a"] * N)))


def test_a_target_that_is_not_there_is_answered_with_the_nearest(save: Save):
    with pytest.raises(DataError, match="has no array 'digits'; did you mean 'digit'"):
        data.load(save(pixels=X, digit=Y), target="digits")
    with pytest.raises(DataError, match="holds 'a', 'b', 'digit'"):
        data.load(save(a=X, b=X, digit=Y), target="digit")


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", _npy(X), b"PK\x03\x04 and no more", b"PK", bytes(range(256))],
    ids=["empty", "csv", "npy", "cut", "two bytes", "binary"],
)
def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "my.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"my\.npz") as caught:
        data.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (_npy(X).replace(b"False", b"Fa(se"), _npy(Y)),  # a header that is no Python literal
        (_npy(X).replace(b"(40, 2)", b"(40,-2)"), _npy(Y)),
        (_npy(X).replace(b"(40, 2), }       ", b"(40000000000, 2), }"), _npy(Y)),
        (_npy(X), _npy(np.array(["a", "b"] * 20)).replace(b"a\0\0\0", b"\xff" * 4)),  # no character
        (_npy(X), b"plain text"),
        (_npy(X), b""),
    ],
    ids=["header", "negative", "huge", "unicode", "text", "nothing"],
)
def test_an_archive_of_damaged_arrays_is_refused_in_one_line(tmp_path: Path, x: bytes, y: bytes):
    path = tmp_path / "my.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", y)
    with pytest.raises(DataError, match=r"my\.npz") as caught:
        data.load(path)
    assert "\n" not in str(caught.value)
    assert "array " in str(caught.value)


@settings(max_examples=80, deadline=None)
@given(start=st.integers(0, 1700), length=st.integers(0, 40), patch=st.binary(max_size=40))
@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_a_damaged_archive_never_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory,
    writer: Callable[..., None],
    start: int,
    length: int,
    patch: bytes,
):
    buffer = BytesIO()
    writer(buffer, x=X, y=Y)
    whole = buffer.getvalue()
    path = tmp_path_factory.mktemp("damaged") / "damaged.npz"
    path.write_bytes(whole[:start] + patch + whole[start + length :])
    outcome = _load(path)
    if isinstance(outcome, str):
        assert "\n" not in outcome
    else:
        assert np.isfinite(outcome.train_x).all()


def _load(path: Path) -> Dataset | str:
    """Return the data, or what is said about it."""
    try:
        return data.load(path)
    except InitlabError as error:
        return str(error)
