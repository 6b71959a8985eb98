"""Names of classes."""

from collections.abc import Sequence


def class_name(index: int, classes: Sequence[str] | None) -> str:
    """The name of class `index`, or "class 7" where there is no name for it."""
    return classes[index] if classes is not None and index < len(classes) else f"class {index}"
