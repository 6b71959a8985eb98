"""One network of each family of timm: the smallest variant, at the smallest size it takes.

A family is a module of timm.models ("resnet", "swin_transformer"). Its variants are built without
memory (on the device "meta"), counted, and tried from the smallest on, each at the `SIZES` from the
smallest on, until one puts out logits. So the choice follows timm's registry, and nobody's list.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

import seewhy

CLASSES = 7
CELLS = 3  # a side, at least, on the deepest map
# From three cells a side, at the usual stride of 32, to what a small network is made for.
SIZES = (96, 112, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)
MEAN, STD = 0.5, 0.25
SEED = 0


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with random weights, in evaluation mode, ready to be explained.

    - `parameters`: how many. - `size`: the side of its pictures in pixels. - `double`: whether it
    computes in float64; some networks compute a part in float32, whatever they are given.
    """

    family: str
    variant: str
    parameters: int
    size: int
    double: bool
    model: seewhy.Model

    def pixels(self, count: int) -> Tensor:
        """Pictures in [0, 1], [count, 3, size, size], float32, the same in every run."""
        return pictures(count, self.size, torch.Generator().manual_seed(SEED + 1))


def families() -> list[str]:
    """The modules of timm.models that hold networks, in alphabetical order."""
    import timm

    return timm.list_modules()


def variants(family: str) -> list[str]:
    """The networks of a family, the smallest first; of equals the first name."""
    import timm

    return sorted(timm.list_models(module=family), key=lambda name: (_count(name), name))


def chosen(family: str) -> Subject:
    """The smallest network of a family that classifies RGB pictures.

    Raises LookupError, with each variant's error, where none does.
    """
    errors = []
    for variant in variants(family):
        try:
            return built(variant, family)
        except LookupError as error:
            errors.append(str(error))
    raise LookupError("; ".join(errors))


def built(variant: str, family: str, sizes: Sequence[int] = SIZES, precise: bool = True) -> Subject:
    """A network by name, at the first of the sizes that it takes; LookupError where it takes none.

    - `precise`: in float64, if it can.
    """
    errors: dict[str, None] = {}
    for size in sizes:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's, about names that moved
            torch.manual_seed(SEED)
            for options in ({"img_size": size}, {}):
                try:
                    net = _prepared(variant, size, options)
                except Exception as error:  # each network has its own way to refuse a size
                    errors[f"{type(error).__name__}: {error}".splitlines()[0][:100]] = None
                    continue
                double = precise and _in_double(net, size)
                model = seewhy.Model(
                    net, mean=MEAN, std=STD, name=variant, preparation=seewhy.Preparation()
                )
                count = sum(p.numel() for p in net.parameters())
                return Subject(family, variant, count, size, double, model)
    raise LookupError(f"{variant} runs at no size ({next(reversed(errors))})")


def pictures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Blurred blobs and noise, [count, 3, size, size] in [0, 1]."""
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    blobs = F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return 0.7 * blobs + 0.3 * torch.rand(count, 3, size, size, generator=generator)


def _count(variant: str) -> float:
    """Its parameters; infinite where it cannot be built."""
    import timm

    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sum(p.numel() for p in timm.create_model(variant).parameters())
    except Exception:  # not made for "meta"
        return float("inf")


def _prepared(variant: str, size: int, options: dict[str, int]) -> nn.Module:
    """The network with weights and statistics that let each of its layers count."""
    import timm

    net = timm.create_model(variant, num_classes=CLASSES, **options).eval()
    if _cells(net, size) < CELLS:
        raise ValueError(f"{size} pixels leave it less than {CELLS} cells a side")
    with torch.no_grad():
        _enliven(net)
        _calibrate(net, size)
        logits = net(next(_normalised(size)))
    if logits.shape != (8, CLASSES) or not bool(logits.isfinite().all()):
        raise ValueError(
            f"it puts out {tuple(logits.shape)}, not finite logits of {CLASSES} classes"
        )
    return net


def _cells(net: nn.Module, size: int) -> int:
    """Cells a side, at least, of the network's last features.

    Of maps, which are [channels, rows, columns] in some order, as they are; of tokens, as timm
    says; many where neither tells.
    """
    with torch.no_grad():
        features = net.forward_features(torch.zeros(2, 3, size, size))  # type: ignore[operator]
    if isinstance(features, Tensor) and features.ndim == 4:
        return min(features.shape[1:])
    stages = getattr(net, "feature_info", None)
    return size // max(stage["reduction"] for stage in stages) if stages else CELLS


def _enliven(net: nn.Module) -> None:
    """Move what starts as a constant: layer scales near zero, tokens and biases of zero.

    Otherwise whole branches would add nothing, and what is wrong in them would not show.
    """
    for name, parameter in net.named_parameters():
        if bool((parameter == parameter.flatten()[0]).all()):
            spread = 0.05 if name.endswith("bias") else 0.2
            parameter += spread * torch.randn_like(parameter)


def _calibrate(net: nn.Module, size: int) -> None:
    """Give batch normalisations the statistics of pictures, as training does."""
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all passes
        norm.train()
    for normal in _normalised(size):
        net(normal)
    net.eval()


def _normalised(size: int, passes: int = 2) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(passes):
        yield (pictures(8, size, generator) - MEAN) / STD


def _in_double(net: nn.Module, size: int) -> bool:
    """Convert the network to float64, if it then runs and computes everything in it."""
    pixels = torch.zeros(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    try:
        with _Narrow() as narrow:
            net.double()(pixels)
    except Exception:  # mixed types
        narrow.seen = True
    if narrow.seen:
        net.float()
    return not narrow.seen


class _Narrow(TorchFunctionMode):
    """Notes whether a network computes a part of its answer in less than float64."""

    seen = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.requires_grad:
            self.seen |= result.is_floating_point() and result.dtype != torch.float64
        return result
