"""Use a network in evaluation mode and restore its state exactly afterwards."""

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
    """Set evaluation mode, freeze parameters and enable gradients; restore all of it afterwards.

    The caller's `no_grad`, `inference_mode` and `autocast` have no effect inside. Parameters are
    frozen so that autograd keeps only what gradients of the input need; layers that do not depend
    on the input then record no graph. Buffers that the forward pass modifies are restored. Only one
    thread at a time can enter; the same thread may enter again.
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
    """Return the device of the network's parameters, or of its buffers if it has none."""
    tensors = chain(net.parameters(), net.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _buffers_kept(module: nn.Module) -> Callable[[], None]:
    """Return a function that restores the module's own buffers and their values."""
    saved = {
        name: (buffer, buffer.detach().clone(), buffer._version)
        for name, buffer in module._buffers.items()
        if buffer is not None and not buffer.is_inference()
    }

    def restore() -> None:
        for name, (buffer, values, version) in saved.items():
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(values)
            if name not in module._buffers or module._buffers[name] is not buffer:
                module._buffers[name] = buffer

    return restore
