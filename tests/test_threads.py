"""Several threads explain at once: the same model, networks that share modules, nested networks."""

import os
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import seewhy
from networks import NETWORKS
from seewhy.models.session import borrowed

METHODS = ("gradient", "grad-cam", "guided-backprop", "lrp-epsilon-plus", "deep-lift", "occlusion")


class Head(nn.Module):
    def __init__(self, backbone: nn.Module, classes: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.backbone, self.fc = backbone, nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(self.backbone(x).mean((2, 3)))


def heads() -> tuple[nn.Module, nn.Module]:
    """Two networks with one backbone, which has batch norms and is in training mode."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
    )
    return Head(backbone, 4, 1).train(), Head(backbone, 6, 2).train()


def explained(model: seewhy.Model, pixels: torch.Tensor, method: str) -> torch.Tensor:
    options = {"window": 8, "stride": 8} if method == "occlusion" else {}
    return seewhy.explain(model, pixels, method, 1, **options).attribution


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(20, marks=pytest.mark.full)], ids=["once", "many times"]
)
def test_networks_that_share_modules(rounds: int, unchanged: Callable):
    first, second = heads()
    models = [seewhy.Model(net, mean=0.5, std=0.25) for net in (first, second)]
    pixels = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(3))
    work = [(model, method) for method in METHODS for model in models] * rounds
    alone = [explained(model, pixels, method) for model, method in work[: 2 * len(METHODS)]]
    alone *= rounds
    with unchanged(first), unchanged(second), ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: explained(job[0], pixels, job[1]), work))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["batch_norm", "residual_in_place"])
def test_one_model_in_many_threads(name: str, unchanged: Callable):
    network = NETWORKS[name]
    model, pixels = network.model(), network.pixels(3)
    work = [(i % 3, method) for i, method in enumerate(METHODS * 2)]
    alone = [explained(model, pixels[i : i + 1], method) for i, method in work]
    with unchanged(model.net), ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda job: explained(model, pixels[job[0] : job[0] + 1], job[1]), work)
        )
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_weights_that_are_shared_without_a_module():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    entered = threading.Event()
    with borrowed(a):
        thread = threading.Thread(target=lambda: _enter(b, entered))
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(5)
    thread.join()
    assert a.weight.requires_grad


def test_separate_networks_do_not_wait():
    entered = threading.Event()
    with borrowed(nn.Linear(2, 2)):
        thread = threading.Thread(target=lambda: _enter(nn.Linear(2, 2), entered))
        thread.start()
        assert entered.wait(5)
    thread.join()


def _enter(net: nn.Module, entered: threading.Event) -> None:
    with borrowed(net):
        entered.set()


def test_threads_that_wait_for_each_other_are_told():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    meet, results = threading.Barrier(2), []

    def run(first: nn.Module, second: nn.Module) -> None:
        try:
            with borrowed(first):
                meet.wait(5)
                with borrowed(second):
                    results.append("entered")
        except seewhy.SeewhyError as error:
            results.append(str(error))

    threads = [threading.Thread(target=run, args=nets) for nets in ((a, b), (b, a))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(results) == 2 and "entered" in results
    assert any("wait for each other's networks" in result for result in results)
    assert a.weight.requires_grad and b.weight.requires_grad


def test_an_interrupt_is_heard_while_waiting():
    net, held, done = nn.Linear(2, 2), threading.Event(), threading.Event()

    def hold() -> None:
        with borrowed(net):
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), borrowed(net):
        pass
    done.set()
    thread.join()
    with borrowed(net):  # the one who gave up is forgotten
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_another_thread_explains(unchanged: Callable):
    """The child has no such thread: it sees a restored network, and can explain."""
    net = heads()[0]
    model = seewhy.Model(net, mean=0.5, std=0.25)
    pixels = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(3))
    expected = explained(model, pixels, "grad-cam")
    inside, leave = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            leave.wait(30)

    hook = net.backbone[2].register_forward_hook(wait)
    thread = threading.Thread(target=explained, args=(model, pixels, "grad-cam"))
    thread.start()
    assert inside.wait(20)
    assert not net.training
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a hang ends the child
        hooks = [m for m in net.modules() if len(m._forward_hooks) > (m is net.backbone[2])]
        right = net.training and net.fc.weight.requires_grad and not hooks
        torch.set_num_threads(1)
        os._exit(0 if right and torch.equal(explained(model, pixels, "grad-cam"), expected) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    leave.set()
    thread.join()
    hook.remove()
    assert status == 0
    assert net.training and net.fc.weight.requires_grad


def global_state() -> dict[str, object]:
    """Without that of Python's random, which the checks of shapes in these tests use."""
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "filters": list(warnings.filters),
        "signals": {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)},
        "environment": dict(os.environ),
        "folder": Path.cwd(),
    }


def test_no_global_state_is_left_changed(tmp_path):
    """By any method, by saving, or by an exception inside the network."""
    network = NETWORKS["dropout"]
    model, pixels = network.model(), network.pixels(1)
    seewhy.explain(model, pixels, "gradient", 1).save(tmp_path / "a.png")  # imports
    before = global_state()
    panel = seewhy.compare(model, pixels, "quick", 1)
    for suffix in (".png", ".html", ".npz", ".svg"):
        panel.save(tmp_path / f"panel{suffix}")

    def fails(*_: object) -> None:
        raise RuntimeError("in the network")

    hook = next(m for m in model.net.modules() if not list(m.children())).register_forward_hook(
        fails
    )
    for method in ("gradient", "lrp-epsilon-plus", "rise"):
        with pytest.raises(Exception, match="in the network"):
            seewhy.explain(model, pixels, method, 1)
    hook.remove()
    after = global_state()
    assert {name for name in before if before[name] != after[name]} == set()
