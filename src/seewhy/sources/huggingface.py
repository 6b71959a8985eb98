"""Image classifiers of transformers: "hf/microsoft/resnet-18", or "hf/" and a local folder.

Only code from the transformers package is run, never code from the hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from seewhy.errors import SeewhyError, nearest
from seewhy.images import Preparation, as_picture
from seewhy.sources.architecture import Architecture

PREFIX = "hf"
RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def names() -> list[str]:
    """Return an empty list, because the hub has too many models to list."""
    return []


def architecture(name: str) -> Architecture:
    """Return a classifier with the preprocessing and class names that are saved with it."""
    full, location = f"{PREFIX}/{name}", _locate(name)
    transformers = _transformers()
    config = _read(transformers.AutoConfig, location, full, "configuration")
    labels = dict(config.id2label)
    preparation, mean, std = _preprocessing(transformers, location, full)
    return Architecture(
        full,
        build=lambda count: _build(transformers, config, full, count),
        trained=lambda: _trained(transformers, location, full),
        preparation=preparation,
        mean=mean,
        std=std,
        classes=[str(labels[index]) for index in sorted(labels)],
        count=len(labels),
    )


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise SeewhyError(
            "transformers is not installed; run: pip install seewhy[transformers]"
        ) from None
    return transformers


def _locate(name: str) -> str:
    """Return a folder on this machine, or an id on the hub: at most owner/name."""
    if not name:
        raise SeewhyError(f"{PREFIX}/ must be followed by an id on the hub or a folder")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    if name.count("/") > 1 or name.startswith((".", "~", "/")):
        siblings = [f.name for f in folder.parent.iterdir()] if folder.parent.is_dir() else []
        near = nearest(folder.name, siblings)
        advice = f"did you mean {', '.join(near)}?" if near else "check the path"
        raise SeewhyError(f"no model folder {name}; {advice}")
    return name


def _read(auto: Any, location: str, full: str, what: str, **options: Any) -> Any:
    try:
        with _quietly():
            return auto.from_pretrained(location, trust_remote_code=False, **options)
    except Exception as error:  # hub, network and files each raise their own errors
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise SeewhyError(
            f"the {what} of {full} could not be loaded ({why}); give the id of an image "
            "classifier on the hub, or a folder saved with save_pretrained"
        ) from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress progress bars, load reports and retry messages; the caller reports errors."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    bars, levels = logging.is_progress_bar_enabled(), (logging.get_verbosity(), hub.get_verbosity())
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    hub.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(levels[0])
        hub.set_verbosity(levels[1])
        if bars:
            logging.enable_progress_bar()


def _build(transformers: Any, config: Any, full: str, count: int | None) -> nn.Module:
    if count is not None:
        config = type(config).from_dict({**config.to_dict(), "id2label": None, "label2id": None})
        config.num_labels = count
    try:
        return transformers.AutoModelForImageClassification.from_config(config).float()
    except ValueError:
        raise SeewhyError(_no_classifier(full, f"it is a {config.model_type} model")) from None


def _trained(transformers: Any, location: str, full: str) -> nn.Module:
    auto = transformers.AutoModelForImageClassification
    net, report = _read(auto, location, full, "weights", output_loading_info=True)
    missing = sorted(report["missing_keys"])
    if missing:  # transformers has initialised them at random
        raise SeewhyError(
            _no_classifier(full, f"{len(missing)} tensors are missing, such as {missing[0]}")
        )
    return net.float()  # in whatever precision it was saved


def _no_classifier(full: str, why: str) -> str:
    return f"{full} has no trained image classifier: {why}; choose one that was fine-tuned"


def _preprocessing(
    transformers: Any, location: str, full: str
) -> tuple[Preparation, tuple[float, ...], tuple[float, ...]]:
    processor = _read(transformers.AutoImageProcessor, location, full, "image processor")
    mean, std = _normalisation(processor)
    try:
        preparation = _preparation(processor)
    except SeewhyError:  # for a crop without a resize, or padding
        preparation = None
    if preparation is None or not _agrees(processor, preparation, mean, std):
        raise SeewhyError(
            f"{full} uses preprocessing that seewhy does not support "
            f"({type(processor).__name__}); wrap the network in seewhy.Model yourself"
        )
    return preparation, mean, std


def _preparation(processor: Any) -> Preparation:
    size, crop = _sides(processor.size), _sides(getattr(processor, "crop_size", None))
    kernel = RESAMPLING.get(int(getattr(processor, "resample", None) or 2), "bicubic")
    if not getattr(processor, "do_center_crop", False):
        crop = None
    ratio = getattr(processor, "crop_pct", None)
    if ratio and isinstance(size, int):  # ConvNeXt: below 384 px, resize to more and crop
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
    """Return mean and std for pixels in [0, 1]; transformers first rescales from 0 to 255."""
    rescaled = 255 * processor.rescale_factor if getattr(processor, "do_rescale", True) else 255
    shift = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    mean, std = np.zeros(3), np.ones(3)
    if getattr(processor, "do_normalize", False):
        mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    divisor = std * std if getattr(processor, "include_top", False) else std  # EfficientNet
    return tuple((mean + shift) / rescaled), tuple(divisor / rescaled)


def _agrees(
    processor: Any, preparation: Preparation, mean: tuple[float, ...], std: tuple[float, ...]
) -> bool:
    """Compare both on a smooth picture, because configurations do not show all differences."""
    y, x = np.mgrid[0:1:300j, 0:1:400j]
    smooth = (255 * np.stack([y, x, (x + y) / 2], -1)).astype("uint8")
    expected = processor(Image.fromarray(smooth), return_tensors="pt")["pixel_values"][0]
    pixels, _ = preparation(as_picture(smooth))
    centre, scale = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))
    normal, tolerance = (pixels - centre) / scale, 3 / 255 / scale.min()
    return normal.shape == expected.shape and bool((normal - expected).abs().max() < tolerance)
