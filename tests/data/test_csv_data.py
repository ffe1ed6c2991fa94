"""CSV files of the user's: what is made of good ones, and what is said about bad ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from initlab import data
from initlab._base.errors import DataError, InitlabError, UnknownNameError
from initlab.data import Dataset

Write = Callable[[str | bytes], str]
ROWS = 40


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write ``my.csv`` into the current folder and return its name."""
    monkeypatch.chdir(tmp_path)

    def write_it(content: str | bytes) -> str:
        Path("my.csv").write_bytes(content.encode() if isinstance(content, str) else content)
        return "my.csv"

    return write_it


def _table(header: str, row: Callable[[int], tuple[object, ...]], rows: int = ROWS) -> str:
    """Write a header and a row for 0, 1, 2, ..."""
    return "\n".join([header, *(",".join(map(str, row(i))) for i in range(rows))]) + "\n"


def _by_row(loaded: Dataset, values: np.ndarray) -> np.ndarray:
    """Put training and test values back in the file's order; feature 0 must be rising there."""
    return values[np.argsort(np.concatenate([loaded.train_x[:, 0], loaded.test_x[:, 0]]))]


def _labels(loaded: Dataset) -> list[str]:
    """Return the class names in the file's order."""
    codes = _by_row(loaded, np.concatenate([loaded.train_y, loaded.test_y]))
    return [loaded.classes[code] for code in codes]


def _notes(loaded: Dataset) -> str:
    assert all("\n" not in note for note in loaded.notes)
    return " | ".join(loaded.notes)


def test_text_labels_make_classes_in_sorted_order(write: Write):
    names = ("pear", "apple", "fig")
    loaded = data.load(write(_table("row,size,label", lambda i: (i, i % 7, names[i % 3]))))
    assert loaded.task == "multiclass"
    assert loaded.classes == ("apple", "fig", "pear")
    assert _labels(loaded) == [names[i % 3] for i in range(ROWS)]
    assert loaded.feature_names == ("row", "size")
    assert loaded.name == "my.csv"
    assert loaded.train_y.dtype == np.int64
    notes = _notes(loaded)
    assert "classification, because the target holds text" in loaded.notes[0]
    for part in ("'apple' (13)", "column 'label'", "stratified", "30 training", "standardised"):
        assert part in notes


def test_two_classes_make_a_binary_task(write: Write):
    loaded = data.load(write(_table("row,y", lambda i: (i, i % 2 == 0))))
    assert loaded.task == "binary"
    assert loaded.classes == ("False", "True")
    assert _labels(loaded) == [str(i % 2 == 0) for i in range(ROWS)]


def test_whole_numbers_are_sorted_as_numbers(write: Write):
    loaded = data.load(write(_table("row,class", lambda i: (i, (10, 9, -1)[i % 3]))))
    assert loaded.classes == ("-1", "9", "10")
    assert _labels(loaded) == [str((10, 9, -1)[i % 3]) for i in range(ROWS)]


def test_fractions_make_a_regression_with_standardised_targets(write: Write):
    loaded = data.load(write(_table("row,price", lambda i: (i, 3.5 * i + 2.25))))
    assert loaded.task == "regression"
    assert loaded.classes == ()
    y = np.concatenate([loaded.train_y, loaded.test_y])
    # Price is linear in row, so after the same standardisation the two are equal.
    assert_allclose(y, np.concatenate([loaded.train_x[:, 0], loaded.test_x[:, 0]]), atol=1e-12)
    assert_allclose([loaded.train_y.mean(), loaded.train_y.std()], [0, 1], atol=1e-12)
    assert len(loaded.test_y) == 10
    assert "regression, because" in loaded.notes[0]
    assert "targets standardised" in _notes(loaded)


@pytest.mark.parametrize(
    ("distinct", "rows", "task"),
    [
        (20, 40, "multiclass"),
        (21, 42, "regression"),
        (20, 39, "regression"),  # less than two samples a value
        (2, 8, "binary"),
    ],
)
def test_few_whole_numbers_are_classes_and_many_are_quantities(
    write: Write, distinct: int, rows: int, task: str
):
    path = write(_table("row,y", lambda i: (i, float(i % distinct)), rows))
    assert data.load(path).task == task
    assert "overrides" in data.load(path).notes[0]


def test_the_task_can_be_overridden(write: Write):
    path = write(_table("row,y", lambda i: (i, i % 3)))
    assert data.load(path, task="regression").task == "regression"
    assert "as asked" in data.load(path, task="regression").notes[0]
    path = write(_table("row,y", lambda i: (i, (0.5, 1.5)[i % 2])))
    loaded = data.load(path, task="classification")
    assert loaded.classes == ("0.5", "1.5")
    assert _labels(loaded) == ["0.5", "1.5"] * (ROWS // 2)
    with pytest.raises(UnknownNameError, match="did you mean regression"):
        data.load(path, task="regresion")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("header", "target", "taken"),
    [
        ("target,a,b", None, "target"),
        ("a,Label,b", None, "Label"),
        ("CLASS,y,b", None, "CLASS"),
        ("label,b,target", None, "target"),
        ("a,b,c", None, "c"),
        ("target,a,b", "a", "a"),
        (" a , b , y ", "b", "b"),
        ("b,Label,label", None, "Label"),  # the first of two
    ],
)
def test_which_column_is_the_target(write: Write, header: str, target: str | None, taken: str):
    loaded = data.load(write(_table(header, lambda i: (i % 2, i % 2, i % 2))), target)
    names = [name.strip() for name in header.split(",")]
    assert loaded.feature_names == tuple(name for name in names if name != taken)
    assert f"target: column {taken!r}" in _notes(loaded)


def test_features_are_standardised_with_the_training_set_alone(write: Write):
    loaded = data.load(write(_table("row,b,y", lambda i: (i, (i % 11) ** 2, i % 2))))
    assert_allclose(loaded.train_x.mean(axis=0), 0, atol=1e-12)
    assert_allclose(loaded.train_x.std(axis=0), 1, rtol=1e-12)
    column = _by_row(loaded, np.concatenate([loaded.train_x[:, 1], loaded.test_x[:, 1]]))
    raw = (np.arange(ROWS) % 11) ** 2.0
    slope, shift = np.polyfit(raw, column, 1)
    assert_allclose(column, slope * raw + shift, atol=1e-9)  # one affine map for both sets
    assert slope > 0


def test_a_constant_feature_is_zero_and_noted(write: Write):
    loaded = data.load(write(_table("row,same,y", lambda i: (i, 0.1, i % 2))))
    assert_array_equal(loaded.train_x[:, 1], 0)
    assert_array_equal(loaded.test_x[:, 1], 0)
    assert "1 of 2 features (same)" in _notes(loaded)


def test_loading_twice_gives_the_same_split(write: Write):
    path = write(_table("row,y", lambda i: (i, i % 2)))
    assert_array_equal(data.load(path).test_x, data.load(path).test_x)


def test_a_nameless_row_count_as_pandas_writes_it_is_left_out(write: Write):
    frame = pd.DataFrame({"a": np.arange(8.0) ** 2, "y": [0, 1] * 4})
    loaded = data.load(write(frame.to_csv()))
    assert loaded.feature_names == ("a",)
    assert "nameless first column" in _notes(loaded)


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\n\n", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_marks_blank_lines_and_line_ends_do_not_matter(
    write: Write, prefix: bytes, end: bytes
):
    text = _table("größe,y", lambda i: (i, "ab"[i % 2])) + "\n\n"
    loaded = data.load(write(prefix + text.encode().replace(b"\n", end)))
    assert loaded.feature_names == ("größe",)
    assert _labels(loaded) == ["a", "b"] * (ROWS // 2)


def test_space_after_a_comma_is_no_part_of_a_label(write: Write):
    text = "row, label\n" + "".join(f"{i}, {'ab'[i % 2]}\n{i}.5,{'ab'[i % 2]}\n" for i in range(8))
    assert data.load(write(text)).classes == ("a", "b")


def test_whole_numbers_beyond_64_bits_are_numbers(write: Write):
    loaded = data.load(write(_table("row,big,y", lambda i: (i, i * 10**25, i * 10**23 + 0))))
    assert loaded.task == "regression"
    assert_allclose(loaded.train_x[:, 0], loaded.train_x[:, 1], atol=1e-12)
    assert_allclose(loaded.train_x[:, 0], loaded.train_y, atol=1e-12)


def test_boolean_features_become_numbers(write: Write):
    loaded = data.load(write(_table("row,flag,y", lambda i: (i, i % 3 == 0, i % 2))))
    flags = _by_row(loaded, np.concatenate([loaded.train_x[:, 1], loaded.test_x[:, 1]]))
    assert_array_equal(flags > 0, np.arange(ROWS) % 3 == 0)


def test_paths_may_be_objects_and_the_suffix_in_capitals(tmp_path: Path):
    path = tmp_path / "MY.CSV"
    path.write_text(_table("row,y", lambda i: (i, i % 2)))
    assert data.load(path).name == "MY.CSV"


def test_the_home_folder_may_be_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my.csv").write_text(_table("row,y", lambda i: (i, i % 2)))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert data.load("~/my.csv").features == 1


# A letter in front keeps a label from looking like a number, a boolean or a missing value.
_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map(lambda s: "c" + s)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(_NAMES, min_size=2, max_size=6, unique=True),
    picks=st.lists(st.integers(0, 5), max_size=40),
)
def test_any_text_labels_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], picks: list[int]
):
    labels = 4 * names + [names[pick % len(names)] for pick in picks]
    path = tmp_path_factory.mktemp("trip") / "trip.csv"
    pd.DataFrame({"row": range(len(labels)), "label": labels}).to_csv(path, index=False)
    loaded = data.load(path)
    assert loaded.classes == tuple(sorted(names))
    assert _labels(loaded) == labels
    assert loaded.task == ("binary" if len(names) == 2 else "multiclass")


BAD_FILES = {
    "empty": (b"", ["it is empty"]),
    "blank lines": ("\n \n\n", ["it is empty"]),
    "header only": ("a,b,c\n", ["a header line only"]),
    "one column": ("a\n" + "1\n" * 9, ["one column only, 'a'"]),
    "semicolons": (_table("a;b", lambda i: (f"{i};{i}",)), ["'a;b'", "separated by commas"]),
    "no header": (
        _table("0.5,1.5,2", lambda i: (i, i, i % 2)),
        ["first line holds numbers", "'0.5'"],
    ),
    "no header, whole": (_table("7,1,0", lambda i: (i, i, i % 2)), ["first line holds numbers"]),
    "same name twice": (_table("a,b,a", lambda i: (i, i, i % 2)), ["more than one", "'a'"]),
    "nameless column": (_table("a,,y", lambda i: (i, i, i % 2)), ["column 2 has no name"]),
    "nameless first": (_table(",b,y", lambda i: (7, i, i % 2)), ["column 1 has no name"]),
    "text feature": (
        _table("a,colour,y", lambda i: (i, ["red", "5"][i % 2], i % 2)),
        ["column 'colour' (row 1: 'red')", "one-hot"],
    ),
    "text in two features": (
        _table("a,b,y", lambda i: ("x" if i == 4 else i, "z" if i == 6 else i, i % 2)),
        ["column 'a' (row 5: 'x'), column 'b' (row 7: 'z')"],
    ),
    "decimal commas": (_table("a,b,y", lambda i: (i, f'"{i},5"', i % 2)), ["column 'b'", "'0,5'"]),
    "missing feature": (
        _table("a,b,y", lambda i: (i, "" if i in (6, 8) else i, i % 2)),
        ["column 'b', row 7", "missing", "1 more"],
    ),
    "nan": (_table("a,b,y", lambda i: (i, "nan" if i == 6 else i, i % 2)), ["column 'b', row 7"]),
    "infinity": (
        _table("a,b,y", lambda i: ("-inf" if i == 2 else i, 1, i % 2)),
        ["'a', row 3: -inf"],
    ),
    "overflow": (_table("a,y", lambda i: ("1e999" if i == 2 else i, i % 2)), ["'a', row 3: inf"]),
    "missing target": (
        _table("a,y", lambda i: (i, "" if i == 3 else i % 2)),
        ["'y', row 4", "missing"],
    ),
    "missing label": (
        _table("a,y", lambda i: (i, "NA" if i == 3 else "ok")),
        ["'y', row 4", "missing"],
    ),
    "infinite target": (_table("a,y", lambda i: (i, "inf" if i == 3 else i)), ["'y', row 4: inf"]),
    "short row": (_table("a,b,y", lambda i: (i, i, i % 2)) + "1,2\n", [f"'y', row {ROWS + 1}"]),
    "long first row": (_table("a,b,y", lambda i: (i, i, i % 2, 3)), ["row 1 has more cells"]),
    "long later row": (_table("a,b,y", lambda i: (i, i, 1)) + "1,2,3,4\n", ["Expected 3 fields"]),
    "open quote": ('a,y\n1,"2\n' * 3, ["as comma-separated text"]),
    "one class": (_table("a,y", lambda i: (i, "one")), ["'y' holds one class only, 'one'"]),
    "one number": (_table("a,y", lambda i: (i, 3)), ["'y' holds one class only, '3'"]),
    "one fraction": (_table("a,y", lambda i: (i, 3.5)), ["'y' is 3.5 in every"]),
    "lonely class": (
        _table("a,y", lambda i: (i, "odd" if i == 9 else "even")),
        ["class 'odd' of column 'y' has a single sample"],
    ),
    "lonely number": (_table("a,y", lambda i: (i, 3 if i else 2)), ["'2'", "task='regression'"]),
    "seven rows": (_table("a,y", lambda i: (i, i % 2), 7), ["7 samples", "at least 8"]),
    "nothing varies": (_table("a,y", lambda i: (5, i % 2)), ["every feature is constant", "'a'"]),
    "too large": (
        _table("a,y", lambda i: (i * 1e300, i % 2)),
        ["column 'a' cannot be standardised"],
    ),
    "binary": (bytes(range(256)) * 4, ["binary"]),
    "utf-16": (_table("a,y", lambda i: (i, i % 2)).encode("utf-16"), ["UTF-16"]),
    "latin-1": (_table("größe,y", lambda i: (i, i % 2)).encode("latin-1"), ["not UTF-8"]),
    "latin-1 below": (_table("a,y", lambda i: (i, "äö"[i % 2])).encode("latin-1"), ["not UTF-8"]),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_in_one_line(write: Write, content: str | bytes, said: list[str]):
    path = write(content)
    with pytest.raises(DataError) as caught:
        data.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "'my.csv'" in message
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("lable", "did you mean 'label'?"),
        ("LABEL", "did you mean 'label'?"),
        ("zzz", "it has 'row', 'size', 'label'"),
        ("", "it has 'row'"),
    ],
)
def test_a_target_that_is_not_there_is_answered_with_the_nearest(
    write: Write, target: str, said: str
):
    path = write(_table("row,size,label", lambda i: (i, i, i % 2)))
    with pytest.raises(DataError, match=r"'my.csv' has no column") as caught:
        data.load(path, target)
    assert said in str(caught.value)


def test_a_wide_file_without_the_target_lists_a_few_columns_only(write: Write):
    path = write(_table(",".join(f"c{i}" for i in range(500)), lambda i: (i,) * 500, 9))
    with pytest.raises(DataError, match="and 492 more"):
        data.load(path, "zzz")


def test_text_cannot_be_the_target_of_a_regression(write: Write):
    path = write(_table("a,y", lambda i: (i, "many" if i == 11 else i)))
    with pytest.raises(DataError, match="'y', row 12: 'many' is text"):
        data.load(path, task="regression")


def test_paths_that_cannot_be_read_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("folder.csv").mkdir()
    Path("loop.csv").symlink_to("loop.csv")
    os.mkfifo("pipe.csv")
    for path, said in {
        "none.csv": "No such file",
        "none/none.npz": "No such file",
        "folder.csv": "it is a folder",
        "folder.csv/x.csv": "No such file",
        "loop.csv": "symbolic links",
        "pipe.csv": "not a regular file",
        "zero\0byte.csv": "null byte",
        "~nobody-of-that-name/x.csv": "home directory",
        "x" * 300 + ".csv": "too long",
        "https://example.org/x.csv": "No such file",
    }.items():
        with pytest.raises(DataError, match="cannot read") as caught:
            data.load(path)
        message = str(caught.value)
        assert said in message
        assert repr(path) in message
        assert "\n" not in message


def test_a_file_that_may_not_be_read_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch):
    path = write(_table("a,y", lambda i: (i, i % 2)))

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # a superuser may read whatever the mode says
    with pytest.raises(DataError, match=r"cannot read 'my\.csv': Permission denied"):
        data.load(path)


@pytest.mark.parametrize("text", ["my.txt", "my.csv.gz", "some/folder", "./circles", "my.parquet"])
def test_what_looks_like_another_file_is_told_which_files_are_read(text: str):
    with pytest.raises(DataError, match=r"a data file ends in \.csv or \.npz"):
        data.load(text)


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 400),
    length=st.integers(0, 60),
    patch=st.one_of(st.binary(max_size=40), st.text(',"\n\r\t0.x- ', max_size=40).map(str.encode)),
)
def test_a_damaged_file_never_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, patch: bytes
):
    whole = _table("row,size,label", lambda i: (i, i * 0.5, "ab"[i % 2])).encode()
    path = tmp_path_factory.mktemp("damaged") / "damaged.csv"
    path.write_bytes(whole[:start] + patch + whole[start + length :])
    outcome = _load(path)
    if isinstance(outcome, str):
        assert "\n" not in outcome
    else:
        assert np.isfinite(outcome.train_x).all()
        assert np.isfinite(outcome.test_x).all()
        assert all("\n" not in note for note in outcome.notes)


def _load(path: Path) -> Dataset | str:
    """Return the data, or what is said about it."""
    try:
        return data.load(path)
    except InitlabError as error:
        return str(error)
