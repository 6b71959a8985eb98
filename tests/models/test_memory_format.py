"""The trial that chooses a memory format, and finds networks that mix the pictures of a batch."""

import pytest
import torch
from torch import Tensor

from networks import NETWORKS, Body, as_model

CONTIGUOUS = {"view_head", "folded_channels"}  # `view` across channels


@pytest.mark.parametrize("name", NETWORKS)
def test_sound_networks_mix_nothing(name: str):
    model = NETWORKS[name].model()
    model.choose_memory_format(NETWORKS[name].pixels(1))
    assert not model.mixes_pictures
    expected = torch.contiguous_format if name in CONTIGUOUS else torch.channels_last
    assert model._memory_format is expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_rounding_is_that_of_the_type(dtype: torch.dtype):
    model = as_model(NETWORKS["batch_norm"].build().to(dtype))
    model.choose_memory_format(NETWORKS["batch_norm"].pixels(1))
    assert not model.mixes_pictures and model._memory_format is torch.channels_last


class Leaking(Body):
    """The value of the picture alone, and a gradient at the others' pixels."""

    def decide(self, x: Tensor) -> Tensor:
        others = x.mean(0, keepdim=True)
        return super().decide(x + others - others.detach())


def test_pictures_may_mix_in_the_gradient_alone():
    model = as_model(Leaking().eval())
    model.choose_memory_format(torch.rand(1, 3, 24, 24))
    assert model.mixes_pictures and model._memory_format is torch.channels_last


def test_a_failing_backward_pass_leaves_the_logits_to_compare():
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx, cotangent: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise RuntimeError("no backward pass")

    class Opaque(Body):
        def decide(self, x: Tensor) -> Tensor:
            return super().decide(Failing.apply(x))

    class OpaqueMixing(Opaque):
        def decide(self, x: Tensor) -> Tensor:
            return super().decide(x - x.mean(0, keepdim=True))

    for net, mixes in ((Opaque(), False), (OpaqueMixing(), True)):
        model = as_model(net.eval())
        model.choose_memory_format(torch.rand(1, 3, 24, 24))
        assert model.mixes_pictures is mixes
        assert model._memory_format is torch.channels_last
