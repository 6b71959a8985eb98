"""Borrow a network and give it back exactly as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def borrowed(net: nn.Module) -> Iterator[None]:
    """Evaluation mode, frozen parameters, gradients on; undone afterwards, also on an exception.

    Works inside the caller's `no_grad`, `inference_mode` and `autocast`, none of which reach
    in. Parameters are frozen so that autograd keeps only what input gradients need; a layer
    that does not depend on the input then costs no graph at all.
    """
    modes = [(module, module.training) for module in net.modules()]
    thawed = [p for p in net.parameters() if p.requires_grad and p.is_leaf]
    device = next((p.device.type for p in net.parameters()), "cpu")
    try:
        # Not net.eval(): a network may override train() with side effects.
        for module, _ in modes:
            module.training = False
        for parameter in thawed:
            parameter.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device, enabled=False),
        ):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter in thawed:
            parameter.requires_grad_(True)
