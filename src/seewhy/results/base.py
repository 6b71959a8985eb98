"""`Result`: what every answer of the product can do; what it looks like is in its view.

A result that is defined in `x.py` has a module `x_view.py` beside it with these functions:

    figure(result)   a matplotlib figure
    text(result)     a few plain lines
    data(result)     numbers and text that JSON can hold
    image(result)    the figure as a Pillow image; without it, matplotlib paints it
    page(result)     an HTML page; without it, the figure and the text make one

They are found by the module's name when they are called, so that a result knows neither
matplotlib nor the pages, and adding a result is adding two files.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Self, TypeVar

from seewhy.errors import SeewhyError
from seewhy.results.archive import FORMAT, pack, unpack
from seewhy.results.formats import DECODERS, ENCODERS
from seewhy.support.files import write_by_suffix

IMAGES = (".png", ".jpg", ".svg", ".pdf")
PIXELS = (".png", ".jpg")
ARCHIVES = tuple(DECODERS)
SUFFIXES = (*IMAGES, ".html", ".json", *ARCHIVES)  # what every result can be saved as
# Who packs and unpacks an archive of each format; found by name, like the views.
FORMATS = {"seewhy-explanation-2": "seewhy.attribution.archive", FORMAT: "seewhy.results.archive"}
RENDERING = "seewhy.show.rendering"

Found = TypeVar("Found")


class Result:
    """An answer with everything that made it. `options` go to the functions of its view."""

    def __repr__(self) -> str:
        """One line; the numbers are in the fields."""
        first = self.summary().partition("\n")[0]
        return f"{type(self).__name__}({' '.join(first.split())})"

    def summary(self, **options: Any) -> str:
        """A few plain lines: what was asked, what was found, and what to know about it."""
        return view(self).text(self, **options)

    def show(self, **options: Any) -> Any:
        """A matplotlib figure."""
        return view(self).figure(self, **options)

    def to_dict(self, **options: Any) -> dict[str, Any]:
        """The numbers and texts for other programs; valid as JSON, NaN is None."""
        return view(self).data(self, **options)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write by suffix, whole or not at all; gives back the path.

        .png .jpg .svg .pdf (figure), .html (page), .json (numbers), .npz and .safetensors
        (everything, bit for bit; `load` reads them).

        Raises SeewhyError for another suffix, a missing folder, or a disk that refuses.
        """
        writers: dict[str, Callable[[], bytes]] = {
            suffix: lambda suffix=suffix: self._image(suffix, options) for suffix in IMAGES
        }
        writers[".html"] = lambda: self._page(options).encode()
        writers[".json"] = lambda: _json(self.to_dict(**options))
        for suffix, encode in ENCODERS.items():
            writers[suffix] = lambda encode=encode: encode(*_packed(self))
        return write_by_suffix(path, writers)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote as .npz or .safetensors.

        Raises SeewhyError for a file that cannot be read or holds another kind of result.
        """
        found = load(path)
        if not isinstance(found, cls):
            raise SeewhyError(
                f"{path}: expected {cls.__name__}, came {type(found).__name__}; "
                f"use {type(found).__name__}.load"
            )
        return found

    def _repr_html_(self) -> str:
        draw = getattr(view(self), "image", view(self).figure)
        return import_module(RENDERING).notebook(self, draw(self), self.summary())

    def _image(self, suffix: str, options: Mapping[str, Any]) -> bytes:
        paint = getattr(view(self), "image", None) if suffix in PIXELS else None
        drawn = paint(self, **options) if paint else self.show(**options)
        return import_module(RENDERING).image_bytes(drawn, suffix)

    def _page(self, options: Mapping[str, Any]) -> str:
        page = getattr(view(self), "page", None)
        if page is not None:
            return page(self, **options)
        name = type(self).__name__
        return import_module(RENDERING).page(name, self.show(**options), self.summary(**options))


def view(result: Result) -> ModuleType:
    """The module that says how a result of this kind is shown."""
    return import_module(f"{type(result).__module__}_view")


def load(path: str | Path) -> Result:
    """Any result that was saved as .npz or .safetensors, on the CPU, as it was.

    Raises SeewhyError for another suffix, a file that cannot be read, or other content.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in DECODERS:
        raise SeewhyError(
            f"{path}: expected a name that ends in {', '.join(DECODERS)}; "
            f"came {suffix or 'no suffix'!r}"
        )
    try:
        tensors, metadata = DECODERS[suffix](Path(path).read_bytes())
        return _unpacker(metadata)(tensors, metadata)
    except OSError as error:
        raise SeewhyError(f"cannot read {path}: {error.strerror or error}") from error
    except SeewhyError as error:
        raise SeewhyError(f"cannot read {path}: {error}") from error


def _unpacker(metadata: str) -> Callable[..., Result]:
    try:
        named = json.loads(metadata)["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SeewhyError(f"expected a saved result, came other data ({error!r})") from error
    if named not in FORMATS:
        raise SeewhyError(f"expected one of the formats {', '.join(FORMATS)}, came {named!r}")
    return import_module(FORMATS[named]).unpack if named != FORMAT else unpack


def _packed(result: Result) -> tuple[dict[str, Any], str]:
    return getattr(view(result), "pack", pack)(result)


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
