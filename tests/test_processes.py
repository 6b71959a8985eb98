"""Other processes: forked, spawned, and the workers of a DataLoader."""

import copy
import multiprocessing
import os
import pickle
import signal
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import seewhy
from networks import NETWORKS

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
PIXELS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def heatmap(model: seewhy.Model, pixels: torch.Tensor) -> torch.Tensor:
    return seewhy.explain(model, pixels, "lrp-epsilon-plus", 1).heatmap


class Explained(Dataset):
    """A data set whose items are maps, made by the worker that loads them."""

    def __init__(self, model: seewhy.Model):
        self.model = model

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> torch.Tensor:
        return heatmap(self.model, PIXELS[index : index + 1])[0]


@needs_fork
def test_a_forked_process_explains_after_its_parent_has():
    """Where several threads have computed before the fork."""
    model, before = seewhy.open_model("scenes"), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = heatmap(model, PIXELS)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a hang ends the child
            same = torch.allclose(heatmap(model, PIXELS), expected, rtol=1e-4, atol=1e-6)
            os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(before)


@needs_fork
def test_workers_of_a_data_loader():
    model = seewhy.open_model("scenes")
    expected = [heatmap(model, PIXELS[i : i + 1])[0] for i in range(len(PIXELS))]
    loader = DataLoader(
        Explained(model), batch_size=None, num_workers=2, multiprocessing_context="fork"
    )
    for found, right in zip(loader, expected, strict=True):
        torch.testing.assert_close(found, right)


def test_a_spawned_process():
    model = seewhy.open_model("scenes")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(heatmap, (model, PIXELS)).get(timeout=120)
    torch.testing.assert_close(found, heatmap(model, PIXELS))


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def test_everything_can_be_pickled():
    network = NETWORKS["residual"]
    model, pixels = network.model(), network.pixels(2)
    for method in seewhy.methods().values():
        assert pickled(method()) == method()
    target = seewhy.logit(1) - 0.5 * seewhy.logit(2)
    assert str(pickled(target)) == str(target)
    for result in (
        seewhy.explain(model, pixels, "grad-cam"),
        seewhy.compare(model, pixels, "gradient,grad-cam"),
        seewhy.relevant_channels(model, pixels),
        seewhy.extremal_channels(model, pixels, steps=2),
        seewhy.channel_selectivity(model, pixels, "gradient"),
    ):
        assert pickled(result).summary() == result.summary()


def test_copies_of_a_model_explain_alike():
    model = seewhy.open_model("scenes")
    expected = heatmap(model, PIXELS)
    for other in (pickled(model), copy.copy(model), copy.deepcopy(model)):
        assert torch.equal(heatmap(other, PIXELS), expected)
