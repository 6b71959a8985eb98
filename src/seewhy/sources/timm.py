"""Classifiers of timm: "timm/vit_small_patch16_224", "timm/resnet18.a1_in1k"."""

from types import ModuleType
from typing import Any

from torch import nn

from seewhy.errors import SeewhyError, Unknown
from seewhy.models.records import from_timm
from seewhy.sources.architecture import Architecture

PREFIX = "timm"


def names() -> list[str]:
    """Return the names of timm's models, without the prefix."""
    return _timm().list_models()


def architecture(name: str) -> Architecture:
    """Return a classifier, with timm's preprocessing and class names."""
    timm = _timm()
    full, bare = f"{PREFIX}/{name}", name.partition(".")[0]
    if not timm.is_model(bare):
        raise Unknown("model", full, [f"{PREFIX}/{known}" for known in names()])
    config = _config(name, bare, full)
    data = timm.data.resolve_data_config(pretrained_cfg=config)
    record = from_timm(data)
    count = config.get("num_classes", 1000)
    if not count:
        raise SeewhyError(f"{full} has no classifier; choose a model that was trained to classify")
    return Architecture(
        full,
        build=lambda other: _build(name, other),
        trained=lambda: _trained(name, full, bool(config)),
        preparation=record.preparation,
        mean=record.mean,
        std=record.std,
        classes=_class_names(config, count),
        count=count,
    )


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise SeewhyError("timm is not installed; run: pip install seewhy[timm]") from None
    return timm


def _config(name: str, bare: str, full: str) -> dict[str, Any]:
    """Return timm's configuration of the published weights; empty if there are none."""
    from timm.models import get_pretrained_cfg, list_pretrained

    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:
        tagged = [f"{PREFIX}/{known}" for known in list_pretrained(f"{bare}.*")]
        raise Unknown("model", full, tagged, hint=f"try {PREFIX}/{bare}") from None
    return {} if config is None else config.to_dict()


def _class_names(config: dict[str, Any], count: int) -> list[str] | None:
    if config.get("label_names"):
        return list(config["label_names"])
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": count})
    return list(ImageNetInfo(subset).label_descriptions()) if subset else None


def _build(name: str, count: int | None) -> nn.Module:
    options = {} if count is None else {"num_classes": count}
    return _timm().create_model(name, pretrained=False, **options)


def _trained(name: str, full: str, published: bool) -> nn.Module:
    advice = "pass --weights FILE, or weights='random' for an untrained network"
    if not published:
        raise SeewhyError(f"timm publishes no weights for {full}; {advice}")
    try:
        return _timm().create_model(name, pretrained=True)
    except Exception as error:  # hub, network and disk each raise their own errors
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise SeewhyError(f"the weights of {full} could not be loaded ({why}); {advice}") from None
