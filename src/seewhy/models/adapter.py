"""Adapts a network with several inputs or outputs to one picture in and one tensor out.

What else the network takes is held fixed, and one of its outputs is chosen. For everything that
runs the network (hooks, the tape, copies for speed) the adapter takes its place: it has the same
submodules, parameters and buffers under the same names.
"""

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.errors import SeewhyError, Unknown

OUTPUT = "output"  # the name of the layer that holds a map of classes
HF_PICTURE = "pixel_values"  # what networks of transformers call the picture

Choice = str | int | Callable[[Any], Tensor]


class Adapter(nn.Module):
    """A network from normalised pixels to one tensor.

    - `inputs`: further arguments, by name or in their order after the picture. A tensor whose first
      axis is 1 is repeated for each picture of a batch; everything else is passed as it is.
    - `picture`: the name of the argument that takes the picture; None: the first one.
    - `choice`: the output: a key, an attribute, an index, or a function of what the network
      returns; None: as the network returns it.
    - `dense`: the output is a map [batch, classes, h, w]. It is resized to the picture (bilinear);
      what is returned is its mean over rows and columns.
    - `named`: the output can be addressed as the layer "output"; always so where it is `dense`.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Mapping[str, Any] | Sequence[Any] = (),
        picture: str | None = None,
        choice: Choice | None = None,
        dense: bool = False,
        named: bool = False,
    ):
        super().__init__()
        self.network: nn.Module
        self.output: nn.Module
        own = {
            "network": network,
            "output": nn.Identity(),
        }  # not submodules: names stay as they are
        shared = {name: getattr(network, name) for name in ("_modules", "_parameters", "_buffers")}
        self.__dict__.update(own | shared)
        self.inputs, self.picture, self.choice = inputs, picture, choice
        self.dense, self.named = dense, named or dense

    def forward(self, normal: Tensor) -> Any:
        """Run the network; returns [batch, classes], or what the network returns."""
        output = self.network(*self._positional(normal), **self._named(normal))
        chosen = output if self.choice is None else chosen_from(output, self.choice)
        if not self.dense:
            return self.output(chosen)
        maps = map_of(chosen, len(normal))
        if maps.shape[-2:] != normal.shape[-2:]:
            maps = F.interpolate(maps, normal.shape[-2:], mode="bilinear", align_corners=False)
        return self.output(maps).mean((2, 3))

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Generator[tuple[str, nn.Module], None, None]:
        """The modules of the network, itself first, and the map of classes."""
        yield from self.network.named_modules(memo, prefix, remove_duplicate)
        if self.named:
            yield f"{prefix}.{OUTPUT}" if prefix else OUTPUT, self.output

    def _positional(self, normal: Tensor) -> list[Any]:
        others = [] if isinstance(self.inputs, Mapping) else self.inputs
        first = [] if self.picture else [normal]
        return [*first, *(_for_batch(value, normal) for value in others)]

    def _named(self, normal: Tensor) -> dict[str, Any]:
        others = self.inputs if isinstance(self.inputs, Mapping) else {}
        named = {name: _for_batch(value, normal) for name, value in others.items()}
        return named | ({self.picture: normal} if self.picture else {})


def adapted(
    net: nn.Module,
    inputs: Mapping[str, Any] | Sequence[Any] | None,
    picture: str | None,
    choice: Choice | None,
    *,
    dense: bool,
    named: bool,
) -> nn.Module:
    """Return the network, inside an `Adapter` if it needs one."""
    if inputs is not None and not isinstance(inputs, Mapping | tuple | list):
        raise SeewhyError(
            "inputs must be a mapping from names to further inputs, or a tuple of them, not "
            f"{type(inputs).__name__}"
        )
    picture = picture or _picture_argument(net)
    if inputs or picture or choice is not None or dense or named:
        return Adapter(net, inputs or (), picture, choice, dense, named)
    return net


def chosen_from(output: Any, choice: Choice) -> Any:
    """Return the part of a network's output that `choice` names.

    Raises SeewhyError where there is no such part, with those that there are.
    """
    if callable(choice):
        return choice(output)
    if isinstance(choice, int) and isinstance(output, tuple | list):
        if not -len(output) <= choice < len(output):
            raise SeewhyError(f"the network returns {len(output)} outputs; there is no {choice}")
        return output[choice]
    if isinstance(output, Mapping) and choice in output:
        return output[choice]
    if isinstance(choice, str) and getattr(output, choice, None) is not None:
        return getattr(output, choice)
    raise Unknown("output", choice, _parts(output), hint=f"the network returns {described(output)}")


def described(output: Any) -> str:
    """Say in a few words what a network returns."""
    parts = _parts(output)
    kind = type(output).__name__
    return f"a {kind}" + (f" with {', '.join(parts)}" if parts else "")


def map_of(output: Any, count: int) -> Tensor:
    """Return the map of classes for `count` pictures in the output of a segmentation network."""
    maps = getattr(output, "logits", output)
    if isinstance(maps, Mapping):
        maps = maps.get("logits", maps.get("out"))
    if not isinstance(maps, Tensor) or maps.ndim != 4 or len(maps) != count:
        got = tuple(maps.shape) if isinstance(maps, Tensor) else described(output)
        raise SeewhyError(
            f"a segmentation network returns [batch, classes, height, width], not {got}; "
            "choose the right one with output=, or leave out outputs='segmentation'"
        )
    return maps


def _parts(output: Any) -> list[str]:
    if isinstance(output, Mapping):
        return [str(key) for key in output]
    if isinstance(output, tuple | list) and not hasattr(output, "_fields"):
        return [str(index) for index in range(len(output))]
    return list(getattr(output, "_fields", getattr(output, "__dataclass_fields__", ())))


def _picture_argument(net: nn.Module) -> str | None:
    """The name of the picture's argument, where it is known and is not the first."""
    try:
        names = list(inspect.signature(net.forward).parameters)
    except (TypeError, ValueError):
        return None
    return HF_PICTURE if HF_PICTURE in names[1:] else None


def _for_batch(value: Any, normal: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.to(normal.device, normal.dtype if value.is_floating_point() else value.dtype)
    if value.ndim and len(value) == 1 and len(normal) > 1:
        return value.repeat(len(normal), *[1] * (value.ndim - 1))
    return value
