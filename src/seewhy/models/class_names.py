"""Display names of classes."""

from collections.abc import Sequence


def class_name(index: int, classes: Sequence[str] | None) -> str:
    """Return the name of class `index`, or text such as "class 7" if it has no name."""
    return classes[index] if classes is not None and index < len(classes) else f"class {index}"
