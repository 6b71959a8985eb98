"""Fast inference for when only the logits are needed.

`prepare` makes a copy in which batch normalisations are folded into the convolutions before them,
and which computes in bfloat16 if requested. Unchanged weights are shared with the network, which is
not modified. The copy is tested on one picture and is used only if its logits agree; they may not
if the network reads its own modules.
"""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seewhy.autodiff.operations.norms import affine
from seewhy.models.model import Model

ROUNDING, HALF_ROUNDING = 1e-3, 0.1

_CONVOLUTIONS = {nn.Conv1d, nn.Conv2d, nn.Conv3d}
_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}


@dataclass(frozen=True)
class Inference:
    """A network that takes normalised pixels of one dtype, for use inside `session.borrowed`.

    - `folded`: the number of folded batch normalisations. - `autocast`: whether autocast provides
    bfloat16, because the network as a whole cannot be converted.
    """

    model: Model
    net: nn.Module
    dtype: torch.dtype
    folded: int = 0
    autocast: bool = False

    @property
    def rounding(self) -> float:
        """The largest rounding error of a logit, as a share of the largest logit."""
        half = self.autocast or self.dtype == torch.bfloat16
        return HALF_ROUNDING if half else ROUNDING

    def normalised(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return normalised pixels from [0, 1]. Affine, so pictures can be blended afterwards."""
        return self.model.normalised(pixels).to(self.dtype)

    def logits(
        self, normal: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits in at least float32; differentiable if gradients are enabled."""
        with torch.autocast(normal.device.type, torch.bfloat16, enabled=self.autocast):
            logits = self.model.logits(self.net, self.model.laid_out(normal), len(normal))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


def prepare(model: Model, pixels: Tensor, precision: str = "full") -> Inference:
    """Return the fastest equivalent of the model's network for pictures of this size.

    Call this, and use the result, while the network is borrowed.
    """
    model.choose_memory_format(pixels)
    plain = Inference(model, model.net, model.dtype)
    with torch.no_grad():
        probe = plain.normalised(pixels[:1].detach())
        expected = plain.logits(probe)
        full = _if_equal(expected, probe, ROUNDING, _folded(plain, probe)) or plain
        if precision == "full":
            return full
        half = _in_bfloat16(full)
        return _if_equal(expected, probe, HALF_ROUNDING, half) or Inference(
            model, model.net, model.dtype, autocast=True
        )


def _if_equal(
    expected: Tensor, probe: Tensor, tolerance: float, inference: Inference | None
) -> Inference | None:
    """Return the network if its logits on the probe are as expected up to rounding, else None."""
    if inference is None:
        return None
    try:
        logits = inference.logits(probe.to(inference.dtype))
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return None
    difference = (logits - expected).abs().amax()
    return inference if bool(difference <= tolerance * expected.abs().amax()) else None


def _folded(plain: Inference, probe: Tensor) -> Inference | None:
    """Return a copy with folded batch normalisations; None if nothing can be folded."""
    pairs = _pairs(plain, probe)
    net = _sharing_copy(plain.net) if pairs else None
    if net is None:
        return None
    for convolution, norm in pairs:
        _fold(net, convolution, norm)
    return Inference(plain.model, net, plain.dtype, folded=len(pairs))


def _pairs(plain: Inference, probe: Tensor) -> list[tuple[str, str]]:
    """Return the names of (convolution, batch normalisation) pairs that can be folded.

    The normalisation must be the only reader of the convolution's output, and each must run once.
    """
    modules = dict(plain.net.named_modules())
    convolutions = {id(m.weight): name for name, m in modules.items() if type(m) in _CONVOLUTIONS}
    norms = {id(m.running_mean): name for name, m in modules.items()
             if m.__class__ in _NORMS or _has_activation(m)}  # fmt: skip
    reads = _Reads(convolutions, norms)
    with reads:
        plain.logits(probe)
    return [
        (convolution, norm)
        for convolution, norm in reads.pairs
        if reads.runs[convolution] == reads.runs[norm] == 1
        and reads.count[convolution] == 1
        and not any(modules[name]._forward_hooks for name in (convolution, norm))
    ]


class _Reads(TorchFunctionMode):
    """Counts the calls that read each convolution's output; records those that normalise it."""

    def __init__(self, convolutions: dict[int, str], norms: dict[int, str]):
        super().__init__()
        self.pairs: list[tuple[str, str]] = []
        self.runs: Counter[str] = Counter()
        self.count: Counter[str] = Counter()
        self._convolutions, self._norms = convolutions, norms
        self._made: dict[int, tuple[str, Tensor]] = {}  # keeps tensors alive: ids stay unique

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor | tuple | list):
            return result  # a shape, a number
        values = [*args, *(kwargs or {}).values()]
        listed = chain.from_iterable(v for v in values if isinstance(v, tuple | list))
        tensors = [v for v in chain(values, listed) if isinstance(v, Tensor)]
        read = [self._made[id(t)][0] for t in tensors if id(t) in self._made]
        self.count.update(read)
        for tensor in tensors:
            if id(tensor) in self._norms and func is F.batch_norm:
                self.runs[self._norms[id(tensor)]] += 1
                self.pairs += [(name, self._norms[id(tensor)]) for name in read]
            if id(tensor) in self._convolutions and isinstance(result, Tensor):
                name = self._convolutions[id(tensor)]
                self.runs[name] += 1
                self._made[id(result)] = name, result
        return result


def _sharing_copy(net: nn.Module) -> nn.Module | None:
    """Return a copy that shares all tensors; None if the network cannot be copied."""
    tensors = chain(net.parameters(), net.buffers())
    try:
        return copy.deepcopy(net, {id(tensor): tensor for tensor in tensors})
    except Exception:
        return None


def _fold(net: nn.Module, convolution: str, norm: str) -> None:
    """Fold the normalisation into the weights of the convolution before it."""
    conv: Any = net.get_submodule(convolution)
    batch_norm: Any = net.get_submodule(norm)
    names = ("weight", "bias", "running_mean", "running_var", "eps")
    scale, shift = affine({name: getattr(batch_norm, name) for name in names})
    weight = conv.weight * scale.view(-1, *[1] * (conv.weight.ndim - 1))
    bias = shift if conv.bias is None else conv.bias * scale + shift
    conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach(), requires_grad=False)
    after = [batch_norm.drop, batch_norm.act] if _has_activation(batch_norm) else []
    net.set_submodule(norm, nn.Sequential(*after) if after else nn.Identity())


def _has_activation(module: nn.Module) -> bool:
    """Return whether the module is timm's batch normalisation with an activation."""
    return type(module).__name__ == "BatchNormAct2d" and hasattr(module, "running_mean")


def _in_bfloat16(full: Inference) -> Inference | None:
    """Return a copy that computes in bfloat16; None if the network cannot be copied."""
    net = _sharing_copy(full.net)
    if net is None:
        return None
    for module in net.modules():
        tensors: dict[str, Any]
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                if value is not None and value.is_floating_point():
                    half = value.detach().to(torch.bfloat16)
                    parameter = isinstance(value, nn.Parameter)
                    tensors[name] = nn.Parameter(half, requires_grad=False) if parameter else half
    return Inference(full.model, net, torch.bfloat16, folded=full.folded)
