"""Read class names from a list or a file."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.errors import SeewhyError
from seewhy.images.files import require_file

Classes = Sequence[str] | Mapping[int, str] | str | os.PathLike[str]


def read_classes(classes: Classes) -> list[str]:
    """Return class names in the order of the logits.

    `classes` is a list, a mapping index -> name, or a file: .txt with one name per line, or .json
    with a list, an object index -> name, or index -> {"name": ...}.

    Raises `SeewhyError` if a name is missing or the file cannot be read.
    """
    if isinstance(classes, str | os.PathLike):
        return _from_file(require_file(Path(classes), "class name"))
    return _names(classes, "classes")


def _from_file(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        content = json.loads(text) if file.suffix.lower() == ".json" else text.splitlines()
    except UnicodeDecodeError:
        raise SeewhyError(f"{file} is not UTF-8 text; give one class name per line") from None
    except json.JSONDecodeError as error:
        raise SeewhyError(f"{file} is not valid JSON: {error}; give a list of names") from None
    except OSError as error:
        raise SeewhyError(f"{file} could not be read: {error.strerror}") from None
    if file.suffix.lower() != ".json":
        content = [line.strip() for line in content if line.strip()]
    return _names(content, str(file))


def _names(content: Any, source: str) -> list[str]:
    if isinstance(content, Mapping):
        content = _in_order(content, source)
    if not isinstance(content, Sequence) or not content:
        raise SeewhyError(f"{source} holds no class names; give a list of names")
    return [_name(entry, index, source) for index, entry in enumerate(content)]


def _in_order(content: Mapping[Any, Any], source: str) -> list[Any]:
    by_index = {str(index): entry for index, entry in content.items()}
    absent = [i for i in range(len(by_index)) if str(i) not in by_index]
    if absent:
        raise SeewhyError(
            f"{source} has no class {absent[0]} among its {len(by_index)} entries; "
            "number the classes from 0 without gaps"
        )
    return [by_index[str(i)] for i in range(len(by_index))]


def _name(entry: Any, index: int, source: str) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else entry
    if not isinstance(name, str):
        raise SeewhyError(f"class {index} of {source} has no name; expected text, got {entry!r}")
    return name
