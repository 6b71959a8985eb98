from collections.abc import Callable

import pytest
import torch
from torch import nn

from networks import NETWORKS
from seewhy.models.session import borrowed


@pytest.fixture
def net() -> nn.Module:
    """With mixed modes, some weights frozen, one gradient kept."""
    net = NETWORKS["dropout"].build()
    first, second, *_ = net.parameters()
    first.grad = torch.ones_like(first)
    second.requires_grad_(False)
    return net


def test_evaluation_mode_and_frozen_weights_inside(net: nn.Module, unchanged: Callable):
    with unchanged(net), borrowed(net):
        assert not any(module.training for module in net.modules())
        assert not any(p.requires_grad for p in net.parameters())
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_given_back_after_an_exception(net: nn.Module, unchanged: Callable, error: type):
    with unchanged(net), pytest.raises(error), borrowed(net):
        raise error


def test_borrowed_twice(net: nn.Module, unchanged: Callable):
    with unchanged(net), borrowed(net):
        with borrowed(net):
            pass
        assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_the_callers_mode_does_not_reach_in(net: nn.Module, mode: Callable):
    with mode(), borrowed(net):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        x = torch.rand(1, 3, 24, 24, requires_grad=True)
        assert net(x).dtype == torch.float32
        assert net(x).requires_grad


def test_train_and_eval_of_the_network_are_not_called(unchanged: Callable):
    """A network may do more there than set a flag."""

    class Particular(nn.Linear):
        def train(self, mode: bool = True) -> nn.Module:
            raise AssertionError("train was called")

    net = Particular(2, 2)
    with unchanged(net), borrowed(net):
        assert not net.training


def test_weights_that_are_computed_are_left_alone():
    """A weight that is not a leaf cannot be frozen, and need not be."""
    net = nn.Linear(2, 2)
    computed = (net.weight * 2).detach().requires_grad_() * 1.0
    del net.weight
    net.weight = computed
    with borrowed(net):
        pass
    assert net.weight is computed and computed.requires_grad
