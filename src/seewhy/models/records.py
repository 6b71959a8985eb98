"""What a network, or the library it comes from, says about how its pictures are prepared.

timm's networks carry a record (`pretrained_cfg`), torchvision's weights have a preset
(`weights.transforms()`) and transformers has an image processor. All three are read by their
attributes, so none of these libraries is imported here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from seewhy.errors import SeewhyError
from seewhy.images import Preparation, as_picture
from seewhy.images.preparing import KERNELS

RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclass(frozen=True)
class Record:
    """What is recorded about a network; None where nothing is.

    - `preparation`, `mean`, `std`: size, crop and normalisation of its pictures.
    - `classes`: names in the order of the logits.
    - `outputs`: what the network puts out, one of `seewhy.models.outputs.OUTPUTS`.
    - `source`: where that stands, such as "timm's pretrained_cfg".
    """

    preparation: Preparation | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: Sequence[str] | None = None
    outputs: str | None = None
    source: str = ""


def recorded_in(net: nn.Module) -> Record:
    """Return what the network itself carries: timm's record, or transformers' configuration."""
    config = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None)
    if config and not isinstance(config, Mapping) and hasattr(config, "to_dict"):
        config = config.to_dict()
    if isinstance(config, Mapping) and {"mean", "std", "input_size"} <= set(config):
        return from_timm(config)
    config = getattr(net, "config", None)
    if hasattr(config, "id2label") and hasattr(config, "num_labels"):
        return _from_configuration(config)
    return Record()


def as_record(preparation: Any) -> Record:
    """Return what a `Preparation`, a timm configuration, a preset or a processor says.

    Raises SeewhyError for anything else.
    """
    if isinstance(preparation, Preparation):
        return Record(preparation)
    if isinstance(preparation, Mapping) and "input_size" in preparation:
        return from_timm(preparation)
    if hasattr(preparation, "crop_size") and hasattr(preparation, "resize_size"):
        return from_preset(preparation)
    if hasattr(preparation, "image_mean") and callable(preparation):
        return from_processor(preparation)
    raise SeewhyError(
        "preparation must be a seewhy.Preparation, weights.transforms() of torchvision, a data "
        "configuration of timm, or an image processor of transformers, not "
        f"{type(preparation).__name__}"
    )


def from_timm(config: Mapping[str, Any]) -> Record:
    """Return what timm's `pretrained_cfg` or resolved data configuration says.

    timm resizes to the crop divided by `crop_pct`; "squash" ignores the aspect ratio. Where a
    `crop_pct` above 1 makes timm pad the picture, the picture fills the crop instead.
    """
    channels, height, width = config["input_size"]
    ratio = min(config.get("crop_pct") or 0.875, 1.0)  # timm's default
    exact = math.floor(height / ratio), math.floor(width / ratio)
    squashed = config.get("crop_mode") == "squash" or height != width
    # timm also resizes with Lanczos and others; bicubic is the nearest to those.
    kernel = config.get("interpolation") or "bicubic"
    return Record(
        Preparation(
            (height, width),
            exact if squashed else exact[0],
            channels,
            kernel if kernel in KERNELS else "bicubic",
        ),
        tuple(config["mean"]),
        tuple(config["std"]),
        list(config["label_names"]) if config.get("label_names") else None,
        source="timm's pretrained_cfg",
    )


def from_preset(preset: Any) -> Record:
    """Return what a preset of torchvision says, such as `ResNet50_Weights.DEFAULT.transforms()`."""
    crop, resize = preset.crop_size[0], preset.resize_size
    short = resize[0] if len(resize) == 1 else tuple(resize)
    return Record(
        Preparation((crop, crop), short, interpolation=preset.interpolation.value),
        tuple(preset.mean),
        tuple(preset.std),
        source="torchvision's preset",
    )


def from_processor(processor: Any) -> Record:
    """Return what an image processor of transformers does.

    Processors differ in ways that no configuration names, so it is tried on one smooth picture.
    Raises SeewhyError where our preparation gives other pixels.
    """
    mean, std = _normalisation(processor)
    try:
        preparation = _processor_preparation(processor)
    except SeewhyError:  # a crop without a resize, or padding
        preparation = None
    if preparation is None or not _same(processor, preparation, mean, std):
        raise SeewhyError(
            f"{type(processor).__name__} prepares pictures in a way that seewhy does not know; "
            "give mean, std and size, and prepare the pictures yourself"
        )
    return Record(preparation, mean, std, source="transformers' image processor")


def _from_configuration(config: Any) -> Record:
    """transformers trains with the mean squared error where there is one label and no type."""
    labels = dict(config.id2label or {})
    names = [str(labels[index]) for index in sorted(labels)]
    generic = names == [f"LABEL_{index}" for index in range(len(names))]
    kinds = {"regression": "scores", "multi_label_classification": "multi-label"}
    alone = "regression" if config.num_labels == 1 else None
    return Record(
        classes=None if generic or not names else names,
        outputs=kinds.get(getattr(config, "problem_type", None) or alone or ""),
        source="transformers' configuration",
    )


def _processor_preparation(processor: Any) -> Preparation:
    size, crop = _sides(processor.size), _sides(getattr(processor, "crop_size", None))
    kernel = RESAMPLING.get(int(getattr(processor, "resample", None) or 2), "bicubic")
    if not getattr(processor, "do_center_crop", False):
        crop = None
    ratio = getattr(processor, "crop_pct", None)
    if ratio and isinstance(size, int):  # ConvNeXt: below 384 pixels resize more and crop
        crop, size = (size, size), int(size / ratio) if size < 384 else (size, size)
    if not getattr(processor, "do_resize", True):
        return Preparation()
    if crop is None and isinstance(size, int):
        return Preparation(None, size, interpolation=kernel)
    return Preparation(_pair(crop or size), size, interpolation=kernel)


def _sides(size: Any) -> int | tuple[int, int] | None:
    if size is None:
        return None
    if size["height"]:
        return int(size["height"]), int(size["width"])
    return int(size["shortest_edge"])


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size


def _normalisation(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std for pixels in [0, 1]; transformers rescales from 0 to 255 first."""
    rescaled = 255 * processor.rescale_factor if getattr(processor, "do_rescale", True) else 255
    shift = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    mean, std = np.zeros(3), np.ones(3)
    if getattr(processor, "do_normalize", False):
        mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    divisor = std * std if getattr(processor, "include_top", False) else std  # EfficientNet
    return tuple((mean + shift) / rescaled), tuple(divisor / rescaled)


def _same(
    processor: Any, preparation: Preparation, mean: tuple[float, ...], std: tuple[float, ...]
) -> bool:
    """Return whether both prepare a smooth picture alike."""
    y, x = np.mgrid[0:1:300j, 0:1:400j]
    smooth = (255 * np.stack([y, x, (x + y) / 2], -1)).astype("uint8")
    wanted = processor(Image.fromarray(smooth), return_tensors="pt")["pixel_values"][0]
    pixels, _ = preparation(as_picture(smooth))
    centre, scale = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))
    normal, tolerance = (pixels - centre) / scale, 3 / 255 / scale.min()
    return normal.shape == wanted.shape and bool((normal - wanted).abs().max() < tolerance)
