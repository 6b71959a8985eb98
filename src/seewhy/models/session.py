"""Use a network in evaluation mode and restore its state exactly afterwards."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from seewhy.models.exclusion import exclusion, restoring


@contextmanager
def borrowed(net: nn.Module) -> Iterator[None]:
    """Set evaluation mode, freeze parameters and enable gradients; restore all of it afterwards.

    The caller's `no_grad`, `inference_mode` and `autocast` have no effect inside. Parameters are
    frozen so that autograd keeps only what gradients of the input need; layers that do not depend
    on the input then record no graph. Buffers that the forward pass modifies are restored. Only one
    thread at a time can use a module or weight, whichever networks it belongs to; the same thread
    may enter again.
    """
    modules = list(net.modules())
    parameters = _unique(m._parameters for m in modules)
    buffers = _unique(m._buffers for m in modules)
    # `modules` keeps the parts alive, so that no other object gets their identities.
    with exclusion.of([*modules, *parameters, *buffers]), restoring() as undo:
        for module in modules:
            undo.callback(setattr, module, "training", module.training)
            if module._buffers:
                undo.callback(_buffers_kept(module))
        for parameter in parameters:
            if parameter.requires_grad and parameter.is_leaf:
                undo.callback(parameter.requires_grad_, True)
        # Not net.eval(): a network may override train() with side effects.
        for module in modules:
            module.training = False
        for parameter in parameters:
            if parameter.is_leaf:
                parameter.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device_of(net).type, enabled=False),
        ):
            yield


def _unique(tables: Iterable[Mapping[str, Tensor | None]]) -> list[Tensor]:
    """Return the tensors of some tables, each once."""
    tensors = (tensor for table in tables for tensor in table.values() if tensor is not None)
    return list({id(tensor): tensor for tensor in tensors}.values())


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
