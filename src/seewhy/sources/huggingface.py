"""Image classifiers of transformers: "hf/microsoft/resnet-18", or "hf/" and a local folder.

Only code from the transformers package is run, never code from the hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from seewhy.errors import SeewhyError, nearest
from seewhy.models.records import Record, from_processor
from seewhy.sources.architecture import Architecture

PREFIX = "hf"


def names() -> list[str]:
    """Return an empty list, because the hub has too many models to list."""
    return []


def architecture(name: str) -> Architecture:
    """Return a classifier with the preprocessing and class names that are saved with it."""
    full, location = f"{PREFIX}/{name}", _locate(name)
    transformers = _transformers()
    config = _read(transformers.AutoConfig, location, full, "configuration")
    labels = dict(config.id2label)
    record = _preprocessing(transformers, location, full)
    return Architecture(
        full,
        build=lambda count: _build(transformers, config, full, count),
        trained=lambda: _trained(transformers, location, full),
        preparation=record.preparation,
        mean=record.mean,
        std=record.std,
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


def _preprocessing(transformers: Any, location: str, full: str) -> Record:
    processor = _read(transformers.AutoImageProcessor, location, full, "image processor")
    try:
        return from_processor(processor)
    except SeewhyError as error:
        raise SeewhyError(f"{full}: {error}") from None
