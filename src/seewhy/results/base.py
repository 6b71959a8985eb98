"""`Result`: the methods that all results share; how a result is displayed is in its view module.

A result that is defined in `x.py` has a module `x_view.py` beside it with these functions:

    figure(result)   a matplotlib figure
    text(result)     a few lines of plain text
    data(result)     numbers and strings that JSON can represent
    image(result)    the figure as a Pillow image; optional, the default is drawn by matplotlib
    page(result)     an HTML page; optional, the default shows the figure and the text

The view is imported by name when it is needed, so that results depend neither on matplotlib nor
on HTML templates. Adding a kind of result means adding these two files.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from reprlib import repr as short_repr
from types import ModuleType
from typing import Any, Self, TypeVar

from seewhy.errors import SeewhyError
from seewhy.results.archive import FORMAT, other_data, pack, unpack
from seewhy.results.fields import require_fields
from seewhy.results.formats import DECODERS, ENCODERS
from seewhy.support.files import write_by_suffix

IMAGES = (".png", ".jpg", ".svg", ".pdf")
PIXELS = (".png", ".jpg")
ARCHIVES = tuple(DECODERS)
SUFFIXES = (*IMAGES, ".html", ".json", *ARCHIVES)  # every result can be saved as these
# The module that packs and unpacks each archive format; imported by name, like the views.
FORMATS = {"seewhy-explanation-2": "seewhy.attribution.archive", FORMAT: "seewhy.results.archive"}
RENDERING = "seewhy.show.rendering"

Found = TypeVar("Found")


class Result:
    """A result with the settings that produced it; `options` are passed on to its view."""

    def __repr__(self) -> str:
        """The class name and the first line of the summary; tensors are not printed."""
        first_line = self.summary().partition("\n")[0]
        return f"{type(self).__name__}({' '.join(first_line.split())})"

    def summary(self, **options: Any) -> str:
        """Return a few lines of plain text: the settings, the main findings and any notes."""
        return view(self).text(self, **options)

    def show(self, **options: Any) -> Any:
        """Draw the result as a matplotlib figure."""
        return view(self).figure(self, **options)

    def to_dict(self, **options: Any) -> dict[str, Any]:
        """Return the numbers and strings as a dictionary that is valid JSON; NaN becomes None."""
        return view(self).data(self, **options)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Save in the format that the suffix names and return the path; never a partial file.

        .png .jpg .svg .pdf (figure), .html (page), .json (numbers), .npz and .safetensors
        (everything, bit for bit; `load` reads them).

        Raises SeewhyError for another suffix, a missing folder, or a failed write.
        """
        writers: dict[str, Callable[[], bytes]] = {
            suffix: lambda suffix=suffix: self._image(suffix, options) for suffix in IMAGES
        }
        writers[".html"] = lambda: _utf8(self._page(options))
        writers[".json"] = lambda: _json(self.to_dict(**options))
        for suffix, encode in ENCODERS.items():
            writers[suffix] = lambda encode=encode: encode(*_packed(self))
        return write_by_suffix(path, writers)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result that `save` wrote as .npz or .safetensors.

        Raises SeewhyError for a file that cannot be read or holds another kind of result.
        """
        result = load(path)
        if not isinstance(result, cls):
            raise SeewhyError(
                f"{path}: expected {cls.__name__}, got {type(result).__name__}; "
                f"use {type(result).__name__}.load"
            )
        return result

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
    """Import the view module of a result: the one that draws and describes it."""
    return import_module(f"{type(result).__module__}_view")


def load(path: str | Path) -> Result:
    """Load any result that was saved as .npz or .safetensors; its tensors are on the CPU.

    Raises SeewhyError for another suffix, a file that cannot be read, or other content.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in DECODERS:
        raise SeewhyError(
            f"{path}: expected a file name that ends in {', '.join(DECODERS)}; "
            f"got {suffix or 'no suffix'!r}"
        )
    try:
        tensors, metadata = DECODERS[suffix](Path(path).read_bytes())
        result = _unpacker(metadata)(tensors, metadata)
        if not isinstance(result, Result):
            raise SeewhyError(f"expected a saved result, got a {type(result).__name__}")
        require_fields(result)
        return result
    except OSError as error:
        raise SeewhyError(f"cannot read {path}: {error.strerror or error}") from error
    except SeewhyError as error:
        raise SeewhyError(f"cannot read {path}: {error}") from error


def _unpacker(metadata: str) -> Callable[..., Result]:
    try:
        format_name = json.loads(metadata)["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise other_data(error) from error
    if not isinstance(format_name, str) or format_name not in FORMATS:
        got = short_repr(format_name)
        raise SeewhyError(f"expected one of the formats {', '.join(FORMATS)}, got {got}")
    return import_module(FORMATS[format_name]).unpack if format_name != FORMAT else unpack


def _packed(result: Result) -> tuple[dict[str, Any], str]:
    return getattr(view(result), "pack", pack)(result)


def _json(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values, allow_nan=False, ensure_ascii=False)
    # Characters that a terminal would obey, or that UTF-8 cannot encode, are escaped.
    return (text if text.isprintable() else json.dumps(values, allow_nan=False)).encode()


def _utf8(text: str) -> bytes:
    r"""Encode as UTF-8; a lone surrogate, as in some file names, becomes \udXXX, as JSON has it."""
    return text.encode(errors="backslashreplace")
