"""Borrow a network and give it back exactly as it was."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from threading import RLock
from weakref import WeakKeyDictionary

import torch
from torch import nn

_locks: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()  # type: ignore[type-arg]


@contextmanager
def borrowed(net: nn.Module) -> Iterator[None]:
    """Evaluation mode, frozen parameters, gradients on; undone afterwards, also on an exception.

    Works inside the caller's `no_grad`, `inference_mode` and `autocast`, none of which reach
    in. Parameters are frozen so that autograd keeps only what input gradients need; a layer
    that does not depend on the input then costs no graph at all. Buffers that the network
    writes to in its forward are put back. One thread at a time; the same one may borrow again.
    """
    with ExitStack() as undo:
        undo.enter_context(_locks.setdefault(net, RLock()))
        for module in net.modules():
            undo.callback(setattr, module, "training", module.training)
            undo.callback(_buffers_kept(module))
        for parameter in net.parameters():
            if parameter.requires_grad and parameter.is_leaf:
                undo.callback(parameter.requires_grad_, True)
        # Not net.eval(): a network may override train() with side effects.
        for module in net.modules():
            module.training = False
        for parameter in net.parameters():
            if parameter.is_leaf:
                parameter.requires_grad_(False)
        undo.enter_context(torch.inference_mode(False))
        undo.enter_context(torch.enable_grad())
        undo.enter_context(torch.autocast(device_of(net).type, enabled=False))
        yield


def device_of(net: nn.Module) -> torch.device:
    """Where the network's parameters are, or its buffers if it has none."""
    tensors = chain(net.parameters(), net.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _buffers_kept(module: nn.Module) -> Callable[[], None]:
    """What puts the module's own buffers back, values and all."""
    kept = {
        name: (buffer, buffer.detach().clone(), buffer._version)
        for name, buffer in module._buffers.items()
        if buffer is not None and not buffer.is_inference()
    }

    def put_back() -> None:
        for name, (buffer, values, version) in kept.items():
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(values)
            if name not in module._buffers or module._buffers[name] is not buffer:
                module._buffers[name] = buffer

    return put_back
