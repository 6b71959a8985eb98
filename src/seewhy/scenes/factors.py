"""The factors that determine a scene: one tensor per factor, with one entry per picture.

A picture is a pure function of its factors, so changing one factor is an exact counterfactual.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seewhy.errors import SeewhyError, Unknown

CLASSES = (
    "ball", "box", "pyramid", "star", "heart", "cross", "ring", "moon", "mug", "bottle",
)  # fmt: skip
TEXTURES = ("plain", "stripes", "checks", "dots")
CLUTTER_MOST = 5

# Values of sampled factors: (low, high) for numbers, or names. Booleans have neither.
RANGES: dict[str, tuple[float, float]] = {
    "horizon": (0.52, 0.66),
    "viewpoint": (-1.0, 1.0),
    "window_x": (0.2, 0.8),
    "lamp_x": (0.08, 0.92),
    "light": (0.0, 1.0),
    "light_direction": (-1.0, 1.0),
    "object_hue": (0.0, 1.0),
    "wall_hue": (0.0, 1.0),
    "floor_hue": (0.08, 0.32),
    "decor_hue": (0.0, 1.0),
    "tint": (-1.0, 1.0),
    "object_scale": (0.22, 0.45),
    "object_x": (0.26, 0.74),
    "object_y": (0.74, 0.93),
}
NAMES: dict[str, Sequence[str]] = {"shape": CLASSES, "texture": TEXTURES}


@dataclass(frozen=True)
class Factors:
    """All factors of a batch of pictures.

    Lengths are fractions of the picture's shorter side, with (0, 0) the top left corner of its
    central square; hues are in turns, [0, 1), around the OKLCH circle. `factors[3]`,
    `factors[:10]`, `factors[mask]` select pictures and always return a batch; `a + b` concatenates.
    """

    # layout
    horizon: Float[Tensor, " batch"]  # y of the line between wall and floor
    viewpoint: Float[Tensor, " batch"]  # the viewer's position, from left (-1) to right (1)
    window_x: Float[Tensor, " batch"]
    lamp_x: Float[Tensor, " batch"]
    clutter_layout: Float[Tensor, "batch 5 4"]  # per item, in [0, 1]: x, y, turn, kind
    # presence
    window: Bool[Tensor, " batch"]
    tree: Bool[Tensor, " batch"]  # outside the window; not visible without a window
    lamp: Bool[Tensor, " batch"]
    rug: Bool[Tensor, " batch"]
    table: Bool[Tensor, " batch"]  # a low table under the object
    clutter: Bool[Tensor, " batch"]
    object: Bool[Tensor, " batch"]  # the main object, always present in sampled scenes
    # category
    shape: Int[Tensor, " batch"]  # index into CLASSES
    # attributes
    texture: Int[Tensor, " batch"]  # index into TEXTURES, of the main object
    light: Float[Tensor, " batch"]  # brightness of the room, from 0 (dim) to 1 (bright)
    light_direction: Float[Tensor, " batch"]  # -1 from the left, 1 from the right
    clutter_amount: Int[Tensor, " batch"]  # 1 to 5 items, if there is clutter
    # colour
    object_hue: Float[Tensor, " batch"]
    wall_hue: Float[Tensor, " batch"]
    floor_hue: Float[Tensor, " batch"]
    decor_hue: Float[Tensor, " batch"]  # rug, lamp shade and clutter
    tint: Float[Tensor, " batch"]  # of the whole picture, from -1 (cool) to 1 (warm)
    # position of the main object
    object_scale: Float[Tensor, " batch"]  # the larger of its height and width
    object_x: Float[Tensor, " batch"]  # x of its centre
    object_y: Float[Tensor, " batch"]  # y of its lowest point
    # the shortcut
    mark: Bool[Tensor, " batch"]  # a watermark in the bottom right corner of the picture

    def __len__(self) -> int:
        return self.shape.shape[0]

    def __getitem__(self, index: Any) -> "Factors":
        """Select pictures, as a batch, by an integer, slice, or tensor of indices or booleans."""
        if isinstance(index, int):
            i = range(len(self))[index]
            index = slice(i, i + 1)
        return Factors(**{name: value[index] for name, value in self.to_dict().items()})

    def __iter__(self) -> Iterator["Factors"]:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: "Factors") -> "Factors":
        return concatenate([self, other])

    def to_dict(self) -> dict[str, Tensor]:
        """Return the tensors by factor name, without copying them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def replace(self, **changes: Any) -> "Factors":
        """Return the same scenes with some factors changed.

        A new value is a tensor with one entry per picture, one value for all pictures, or a name
        for `shape` and `texture`. Raises a SeewhyError for an unknown factor or name, a wrong
        length, or a class or texture that does not exist.

        >>> factors.replace(light=0.9, shape="mug")
        """
        old = self.to_dict()
        new = {name: _fit(name, value, old) for name, value in changes.items()}
        return Factors(**{**old, **new})

    def to(self, device: torch.device | str) -> "Factors":
        """Return the same factors on another device."""
        return Factors(**{name: value.to(device) for name, value in self.to_dict().items()})


class Columns:
    """The factors with shape [batch, 1, 1], which broadcasts over the pixels of a picture."""

    def __init__(self, factors: Factors):
        self.factors = factors

    def __getattr__(self, name: str) -> Tensor:
        return getattr(self.factors, name)[:, None, None]


def concatenate(parts: Sequence[Factors]) -> Factors:
    """Concatenate several batches of factors; raises SeewhyError if there are none."""
    if not parts:
        raise SeewhyError("concatenate expected at least one Factors, got none")
    columns = [part.to_dict() for part in parts]
    return Factors(**{name: torch.cat([c[name] for c in columns]) for name in columns[0]})


def check_factor(name: str) -> None:
    """Raise Unknown, a SeewhyError, unless `name` is the name of a factor."""
    valid = [field.name for field in dataclasses.fields(Factors)]
    if name not in valid:
        raise Unknown("factor", name, valid, hint="factors are " + ", ".join(valid))


def class_index(cls: int | str) -> int:
    """Return the index of a class given by name or index; raises SeewhyError if there is none."""
    return _index("shape", cls)


def _index(factor: str, value: int | str) -> int:
    names = NAMES[factor]
    if isinstance(value, str):
        if value not in names:
            raise Unknown(factor, value, names, hint="it is one of " + ", ".join(names))
        return names.index(value)
    if not 0 <= value < len(names):
        raise SeewhyError(f"{factor} {value} does not exist; expected 0 to {len(names) - 1}")
    return value


def _fit(name: str, value: Any, old: dict[str, Tensor]) -> Tensor:
    """Convert `value` to a tensor with the dtype and shape of the factor `name`."""
    check_factor(name)
    like = old[name]
    if isinstance(value, str):
        if name not in NAMES:
            raise SeewhyError(f"{name} expected a number or a tensor, got {value!r}")
        value = _index(name, value)
    try:
        tensor = torch.as_tensor(value, device=like.device).to(like.dtype).expand_as(like)
    except (RuntimeError, TypeError, ValueError) as error:
        got = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
        expected = f"one value or a tensor of shape {tuple(like.shape)}"
        raise SeewhyError(f"{name} expected {expected}, got {got}") from error
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise SeewhyError(f"{name} expected finite numbers, got nan or inf")
    if name in NAMES and len(tensor):
        for extreme in (tensor.min(), tensor.max()):
            _index(name, int(extreme))
    return tensor.clone()
