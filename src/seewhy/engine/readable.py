"""Find out why a network cannot be differentiated, after an error."""

import torch
from torch import Tensor

from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.batching import out_of_memory

FORWARD_ONLY = "methods that need no gradient still work: occlusion, rise, lime, kernel-shap"


def why_unreadable(model: Model, pixels: Tensor) -> str | None:
    """Return why no gradient reaches the pixels, in one line; None if a gradient does.

    It costs a forward and a backward pass, so it is called only after a failure.
    """
    why = _why(model, pixels)
    return None if why is None else f"{model.name} cannot be differentiated: {why}; {FORWARD_ONLY}"


def _why(model: Model, pixels: Tensor) -> str | None:
    with borrowed(model.net), torch.enable_grad():
        probe = pixels.detach().to(model.device, model.dtype).clone().requires_grad_()
        try:
            logits = model.forward(probe)
        except Exception:
            return None  # the network fails by itself
        if logits.is_inference():
            return "it runs inside torch.inference_mode()"
        if not logits.requires_grad:
            return _cut_off(model, "it runs inside torch.no_grad(), or detaches its output")
        try:
            (gradient,) = torch.autograd.grad(logits.sum(), probe, allow_unused=True)
        except RuntimeError as error:
            if "use_reentrant" in str(error):
                return (
                    "it uses activation checkpointing with use_reentrant=True; turn it off, or "
                    "pass use_reentrant=False"
                )
            return " ".join(str(error).split())
        if gradient is None:
            reason = "a part of it runs inside torch.no_grad(), or detaches its input"
            return _cut_off(model, reason)
    try:
        with borrowed(model.net), torch.no_grad():
            model.forward(pixels[:1].detach().repeat(len(pixels) + 1, 1, 1, 1))
    except Exception as error:
        if out_of_memory(error):
            return None
        return f"it takes batches of {len(pixels)} only; export it with a dynamic batch dimension"
    return None


def _cut_off(model: Model, otherwise: str) -> str:
    """Return why there is no gradient although torch raised no error."""
    if any("quantized" in type(module).__module__ for module in model.net.modules()):
        return "it has quantised layers, which torch does not differentiate"
    return otherwise
