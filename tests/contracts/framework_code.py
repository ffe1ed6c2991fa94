"""Run the catalogue's code for PyTorch, Keras and JAX, in a process of its own.

Reads jobs from the JSON file named first, writes one array of draws for each to the NPZ file named
second. It stands alone: frameworks keep global generators and settings, which no test should share.
"""

import json
import math
import os
import sys
import warnings
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import torch
from keras import ops
from torch import nn


def names(framework: str, repeat: int) -> dict[str, Any]:
    """Return what the code may use, as the record promises."""
    common = {"math": math, "np": np}
    if framework == "pytorch":
        return {**common, "torch": torch, "nn": nn}
    if framework == "keras":
        return {**common, "keras": keras, "ops": ops}
    return {**common, "jax": jax, "jnp": jnp, "key": jax.random.key(repeat)}


def draw(code: str, framework: str, shape: tuple[int, ...], repeats: int) -> np.ndarray:
    """Run the code so often; return (repeats, *shape)."""
    draws: list[np.ndarray] = []
    for repeat in range(repeats):
        scope = {**names(framework, repeat), "shape": shape}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(code, scope)  # noqa: S102 - the catalogue's own lines are what is tested
        weight = scope["w"]
        expected = torch.Tensor if framework == "pytorch" else jax.Array
        if not isinstance(weight, expected):
            raise TypeError(f"{framework}: w is a {type(weight).__name__}")
        draws.append(np.asarray(weight))
    return np.stack(draws)


def outcome(job: dict[str, Any]) -> np.ndarray:
    """Return the draws of a job, or what went wrong as text: one wrong line spoils one test."""
    try:
        return draw(job["code"], job["framework"], tuple(job["shape"]), job["repeats"])
    except Exception as error:  # noqa: BLE001 - whatever the code of the catalogue raises
        return np.array(f"{type(error).__name__}: {error}")


def main(jobs_file: str, draws_file: str) -> None:
    """Run every job."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    with open(jobs_file, encoding="utf-8") as file:  # noqa: PTH123 - nothing but the standard library
        jobs = json.load(file)
    draws = {job["id"]: outcome(job) for job in jobs}
    np.savez(draws_file, **draws)


if __name__ == "__main__":
    main(*sys.argv[1:])
