"""Two processes on this machine, with gloo; each holds a part of every parameter."""

import os
import socket
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor

from initlab._base.errors import InvalidValueError
from initlab.models import initialize, preview, shards

HOW = ["normal(std=0.02)", "he_normal", "orthogonal"]


def network():
    # 7 and 5 rows over two processes: uneven shards; 1 row: one process has none.
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 1))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(rank: int, size: int, port: int):
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", str(port)
    init_process_group("gloo", rank=rank, world_size=size)


def distributed(model: nn.Module, mesh: Any, placements: Any):
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            place = [
                Shard(min(p.dim, parameter.dim() - 1)) if isinstance(p, Shard) else p
                for p in placements
            ]
            value = distribute_tensor(parameter.detach(), mesh, place)
            setattr(module, name, nn.Parameter(value))
    return model


def equal_to_whole(model: nn.Module, how: str):
    """Return the parameters that differ from the same model in one piece."""
    whole = network()
    initialize(whole, how, seed=4)
    wrong = []
    for name, expected in whole.named_parameters():
        found = model.get_parameter(name)
        if not torch.equal(found.full_tensor(), expected):
            wrong.append(name)
    return wrong


def check_placements(mesh: Any, square: Any):
    wrong = []
    for how in HOW:
        for grid, placements in (
            (mesh, [Shard(0)]),
            (mesh, [Shard(1)]),
            (mesh, [Replicate()]),
            (square, [Shard(0), Shard(0)]),
        ):
            model = distributed(network(), grid, placements)
            before = {n: p.to_local().clone() for n, p in model.named_parameters()}
            planned = str(preview(model, how, seed=4))
            after = {n: p.to_local() for n, p in model.named_parameters()}
            if not planned or any(not torch.equal(before[n], after[n]) for n in before):
                wrong.append(f"the preview of {how} changed something")
            initialize(model, how, seed=4)
            wrong += [f"{how} {placements} {name}" for name in equal_to_whole(model, how)]
    return wrong


def check_fully_sharded(mesh: Any):
    model = network()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    initialize(model, "he_normal", seed=4)
    wrong = [f"fully_shard {name}" for name in equal_to_whole(model, "he_normal")]
    return wrong if model(torch.ones(2, 6)).shape == (2, 1) else [*wrong, "it does not run"]


def check_all(rank: int, port: int):
    torch.set_num_threads(1)
    start(rank, 2, port)
    try:
        mesh = init_device_mesh("cpu", (2,))
        wrong = check_placements(mesh, init_device_mesh("cpu", (1, 2)))
        return [*wrong, *check_fully_sharded(mesh)]
    finally:
        destroy_process_group()


def test_every_process_draws_its_own_part_of_the_whole():
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, rank, port], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in ("0", "1")
    ]
    for one in processes:
        out, err = one.communicate(timeout=240)
        assert (one.returncode, out.decode().strip()) == (0, "[]"), err.decode()[-2000:]


@pytest.fixture
def alone():
    start(0, 1, free_port())
    yield init_device_mesh("cpu", (1,))
    destroy_process_group()


def test_a_flattened_model_is_refused(alone: Any):
    assert alone is not None
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one process has nothing to shard
        wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    with pytest.raises(
        InvalidValueError, match="flattened with others by FullyShardedDataParallel"
    ):
        initialize(wrapped, "he_normal")
    with FullyShardedDataParallel.summon_full_params(wrapped):
        assert all(torch.equal(a, b) for a, b in zip(before, wrapped.parameters(), strict=True))


def test_a_partial_sum_is_refused_and_the_model_unchanged(alone: Any):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    value = distribute_tensor(torch.zeros(3, 3), alone, [Replicate()])
    partial = type(value).from_local(value.to_local(), alone, [Partial()], run_check=False)
    model[1].weight = nn.Parameter(partial)
    before = model[0].weight.detach().clone()
    with pytest.raises(InvalidValueError, match="accepted: Shard and Replicate"):
        initialize(model, "he_normal")
    assert torch.equal(before, model[0].weight)


def test_place_is_that_of_the_chunk(alone: Any):
    value = distribute_tensor(torch.zeros(5, 3), alone, [Shard(-1)])
    assert shards.is_sharded(value)
    assert shards.place(value) == ((0, 0), (5, 3))
    assert not shards.is_sharded(torch.zeros(3))


if __name__ == "__main__":
    print(check_all(int(sys.argv[1]), int(sys.argv[2])))  # noqa: T201 - read by the test
