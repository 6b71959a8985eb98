"""The network as fast as it runs when no one looks inside.

`prepare` makes a copy in which batch normalisations are folded into the convolutions they read,
and which computes in bfloat16 if that is asked for. Weights that stay as they are are shared with
the network, which is not touched. The copy is tried on a picture; one that does not say the same
(a network that reads its own modules, or cannot be copied) is not used.
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
    """A network that takes normalised pixels of one type, for use inside `session.borrowed`.

    - `folded`: batch normalisations that take no time any more. - `autocast`: whether bfloat16
    is left to autocast, as the network cannot be converted as a whole.
    """

    model: Model
    net: nn.Module
    dtype: torch.dtype
    folded: int = 0
    autocast: bool = False

    @property
    def rounding(self) -> float:
        """How much of the largest logit two ways to compute the same may differ by."""
        half = self.autocast or self.dtype == torch.bfloat16
        return HALF_ROUNDING if half else ROUNDING

    def normalised(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Pixels in [0, 1] as the network takes them. Affine, so pictures may be blended after."""
        return self.model.normalised(pixels).to(self.dtype)

    def logits(
        self, normal: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """In float32 at least; differentiable where gradients are on."""
        with torch.autocast(normal.device.type, torch.bfloat16, enabled=self.autocast):
            logits = self.model.logits(self.net, self.model.laid_out(normal), len(normal))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


def prepare(model: Model, pixels: Tensor, precision: str = "full") -> Inference:
    """The fastest equivalent of the model's network for pictures of this size.

    To be called and used while the network is borrowed.
    """
    model.choose_memory_format(pixels)
    plain = Inference(model, model.net, model.dtype)
    with torch.no_grad():
        probe = plain.normalised(pixels[:1].detach())
        expected = plain.logits(probe)
        full = _first_that_says(expected, probe, ROUNDING, _folded(plain, probe)) or plain
        if precision == "full":
            return full
        half = _in_bfloat16(full)
        return _first_that_says(expected, probe, HALF_ROUNDING, half) or Inference(
            model, model.net, model.dtype, autocast=True
        )


def _first_that_says(
    expected: Tensor, probe: Tensor, tolerance: float, inference: Inference | None
) -> Inference | None:
    """The network if it gives the probe its logits, but for rounding."""
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
    pairs = _pairs(plain, probe)
    net = _sharing_copy(plain.net) if pairs else None
    if net is None:
        return None
    for convolution, norm in pairs:
        _fold(net, convolution, norm)
    return Inference(plain.model, net, plain.dtype, folded=len(pairs))


def _pairs(plain: Inference, probe: Tensor) -> list[tuple[str, str]]:
    """The names of convolutions, and of the batch normalisations that alone read their output."""
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
    """Counts the calls that read the output of each convolution, and notes which normalise it."""

    def __init__(self, convolutions: dict[int, str], norms: dict[int, str]):
        super().__init__()
        self.pairs: list[tuple[str, str]] = []
        self.runs: Counter[str] = Counter()
        self.count: Counter[str] = Counter()
        self._convolutions, self._norms = convolutions, norms
        self._made: dict[int, tuple[str, Tensor]] = {}  # tensors are kept, so that ids stay theirs

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
                self.pairs += [(one, self._norms[id(tensor)]) for one in read]
            if id(tensor) in self._convolutions and isinstance(result, Tensor):
                name = self._convolutions[id(tensor)]
                self.runs[name] += 1
                self._made[id(result)] = name, result
        return result


def _sharing_copy(net: nn.Module) -> nn.Module | None:
    """A copy with the same tensors; None where the network cannot be copied."""
    tensors = chain(net.parameters(), net.buffers())
    try:
        return copy.deepcopy(net, {id(tensor): tensor for tensor in tensors})
    except Exception:
        return None


def _fold(net: nn.Module, convolution: str, norm: str) -> None:
    """Let the convolution do what the normalisation after it does."""
    one: Any = net.get_submodule(convolution)
    other: Any = net.get_submodule(norm)
    names = ("weight", "bias", "running_mean", "running_var", "eps")
    scale, shift = affine({name: getattr(other, name) for name in names})
    weight = one.weight * scale.view(-1, *[1] * (one.weight.ndim - 1))
    bias = shift if one.bias is None else one.bias * scale + shift
    one.weight = nn.Parameter(weight.detach(), requires_grad=False)
    one.bias = nn.Parameter(bias.detach(), requires_grad=False)
    after = [other.drop, other.act] if _has_activation(other) else []
    net.set_submodule(norm, nn.Sequential(*after) if after else nn.Identity())


def _has_activation(module: nn.Module) -> bool:
    """timm's normalisation that rectifies as well."""
    return type(module).__name__ == "BatchNormAct2d" and hasattr(module, "running_mean")


def _in_bfloat16(full: Inference) -> Inference | None:
    net = _sharing_copy(full.net)
    if net is None:
        return None
    for module in net.modules():
        kept: dict[str, Any]
        for kept in (module._parameters, module._buffers):
            for name, value in kept.items():
                if value is not None and value.is_floating_point():
                    half = value.detach().to(torch.bfloat16)
                    parameter = isinstance(value, nn.Parameter)
                    kept[name] = nn.Parameter(half, requires_grad=False) if parameter else half
    return Inference(full.model, net, torch.bfloat16, folded=full.folded)
