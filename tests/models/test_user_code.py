"""Exceptions of the user's code are the user's, with their line; ours stay ours."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from seewhy.autodiff.rules import Rules
from seewhy.engine.recording import Request, recorded
from seewhy.errors import SeewhyError, UserCodeError
from seewhy.models.edits import edited, replace
from seewhy.support.settings import Settings

PIXELS = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Failing(nn.Module):
    """Fails in its forward pass, in the way that it is given."""

    def __init__(self, fail: Callable[[Tensor], Any]):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.fail = fail

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.body(x))
        self.fail(x)
        return x.mean((2, 3))


def raises_itself(x: Tensor) -> None:
    raise KeyError("no entry")


def calls_torch_wrongly(x: Tensor) -> Tensor:
    return F.linear(x, torch.zeros(3, 999))


def calls_numpy_wrongly(x: Tensor) -> Any:
    return np.ones(3).reshape(2, 2)


def leaves(x: Tensor) -> None:
    raise SystemExit(0)


class _Stuck(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        raise LookupError("no way back")


class StuckBackwards(Failing):
    def forward(self, x: Tensor) -> Tensor:
        return _Stuck.apply(self.body(x)).mean((2, 3))


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus", "occlusion", "grad-cam"])
@pytest.mark.parametrize("fail", [raises_itself, calls_torch_wrongly, calls_numpy_wrongly, leaves])
def test_an_error_in_the_network_names_its_line(
    fail: Callable, method: str, unchanged: Callable[[nn.Module], Any]
):
    net = Failing(fail).train()
    with unchanged(net), pytest.raises(UserCodeError) as caught:
        seewhy.explain(net, PIXELS, method)
    line = fail.__code__.co_firstlineno + 1
    assert f"in {fail.__name__} ({__file__}, line {line})" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_an_error_in_a_backward_pass_of_the_network_names_its_line():
    with pytest.raises(UserCodeError, match=r"LookupError: no way back in backward \(.*, line"):
        seewhy.explain(StuckBackwards(raises_itself), PIXELS, "gradient")


def test_an_error_in_layers_of_torch_names_the_network():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(UserCodeError, match=r"^Sequential raised RuntimeError: mat1 and mat2"):
        seewhy.explain(net, PIXELS, "lrp-epsilon-plus")


def test_an_error_in_an_edit_names_the_edit():
    model = seewhy.Model(Failing(lambda x: None), mean=0.0, std=1.0)
    with (
        edited(model, {"body:1": replace(torch.zeros(7, 7, 7))}),
        pytest.raises(UserCodeError, match="the edit at body:1 raised RuntimeError"),
    ):
        model(PIXELS)


def test_an_error_in_a_detector_names_its_line():
    def detect(pixels: Tensor) -> list:
        raise OSError("no\ncamera")

    scorer = seewhy.black_box(seewhy.detection_score(detect, [0, 0, 5, 5], 1))
    with pytest.raises(UserCodeError, match="detect raised OSError: no camera in detect"):
        seewhy.explain(scorer, PIXELS, "rise", masks=9)


def test_an_error_of_this_package_is_not_the_networks():
    model = seewhy.Model(Failing(lambda x: None), mean=0.0, std=1.0)
    requests = [Request(rules=Rules("broken", {"relu": F.relu}))]
    with (
        pytest.raises(RuntimeError, match="ambiguous"),  # not a rule
        recorded(model, PIXELS, requests, None, Settings()) as recording,
    ):
        recording.gradient(rules=requests[0].rules)


def test_an_error_of_a_tape_is_not_the_networks(monkeypatch: pytest.MonkeyPatch):
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("seewhy.autodiff.tape.Tape.__torch_function__", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        seewhy.explain(Failing(lambda x: None), PIXELS, "gradient")


def test_memory_and_interrupts_are_nobodys_errors():
    def interrupted(x: Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seewhy.explain(Failing(interrupted), PIXELS, "gradient")

    def full(x: Tensor) -> None:
        raise MemoryError

    with pytest.raises(SeewhyError, match="out of memory"):
        seewhy.explain(Failing(full), PIXELS, "gradient")
