"""Read class names from a list or a file."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from seewhy.errors import SeewhyError
from seewhy.images.files import require_file

LARGEST_FILE, LONGEST_NAME = 2**23, 1_000  # bytes, characters; ImageNet-21k has 0.4 MB

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
        if file.stat().st_size > LARGEST_FILE:
            raise SeewhyError(f"{file} is larger than 8 MiB; give one class name per line")
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SeewhyError(f"{file} is not UTF-8 text; give one class name per line") from None
    except OSError as error:
        raise SeewhyError(f"{file} could not be read: {error.strerror}") from None
    if "\0" in text:  # as in UTF-16 without a mark of its byte order
        raise SeewhyError(f"{file} holds NUL bytes, so it is not UTF-8 text; save it as UTF-8")
    if file.suffix.lower() == ".json":
        return _names(_parsed(text, file), str(file))
    # Not splitlines(), which also splits at control characters within a name.
    return _names([line.strip() for line in text.split("\n") if line.strip()], str(file))


def _parsed(text: str, file: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
            raise SeewhyError(f"{file} has the key {short_repr(twice)} twice; remove one of them")
        return entries

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise SeewhyError(f"{file} is not valid JSON: {error}; give a list of names") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or nested too deeply
        raise SeewhyError(f"{file} holds no class names; give a list of names") from None


def _names(content: Any, source: str) -> list[str]:
    if isinstance(content, Mapping):
        content = _in_order(content, source)
    if not isinstance(content, Sequence) or not content:
        raise SeewhyError(f"{source} holds no class names; give a list of names")
    return [_name(entry, index, source) for index, entry in enumerate(content)]


def _in_order(content: Mapping[Any, Any], source: str) -> list[Any]:
    try:
        by_index = {str(index): entry for index, entry in content.items()}
    except ValueError:  # a number of thousands of digits
        raise SeewhyError(f"{source} has an index that is far too large") from None
    absent = [i for i in range(len(by_index)) if str(i) not in by_index]
    if absent:
        raise SeewhyError(
            f"{source} has no class {absent[0]} among its {len(by_index)} entries; "
            "number the classes from 0 without gaps"
        )
    return [by_index[str(i)] for i in range(len(by_index))]


def _name(entry: Any, index: int, source: str) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else entry
    what = f"class {index} of {source}"
    if not isinstance(name, str):
        raise SeewhyError(f"{what} has no name; expected text, got {short_repr(entry)}")
    if len(name) > LONGEST_NAME:
        raise SeewhyError(f"{what} has a name of {len(name)} characters; shorten it to 1,000")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise SeewhyError(f"{what} has a name that is not valid Unicode, {short_repr(name)}")
    return name
