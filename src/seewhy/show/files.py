"""`save` and `load`: the suffix of the path says what is written.

`.png` a figure, `.html` a report, `.json` numbers for other programs, `.npz` and
`.safetensors` everything, bit for bit, for `load`.
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import torch

from seewhy.attribution.archive import pack, unpack
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.report import report_html
from seewhy.errors import SeewhyError
from seewhy.show.drawing import as_panel
from seewhy.show.figure import explanation_png_bytes
from seewhy.show.readable import readable
from seewhy.support.files import write_bytes

Coder = TypeVar("Coder")


def save(thing: Explanation | Panel, path: str | Path) -> Path:
    """Write an explanation or a panel, whole or not at all, and give back the path.

    The module lists the suffixes.

    Raises `SeewhyError` for another suffix, a missing folder, or a disk that refuses.
    """
    pages = {".html": lambda thing: report_html([thing]).encode()}
    encode = _by_suffix(path, pages | WRITERS)
    write_bytes(path, encode(thing))
    return Path(path)


def load(path: str | Path) -> Explanation:
    """The explanation that `save` wrote as `.npz` or `.safetensors`, on the CPU.

    Numbers, provenance and pictures are those that were saved. Of the parameters, what JSON
    does not know (a device, say) comes back as text.
    """
    thing = _read(path)
    if isinstance(thing, Panel):
        raise SeewhyError(
            f"{path}: expected one explanation, came a panel of {len(thing)}; use `load_panel`"
        )
    return thing


def load_panel(path: str | Path) -> Panel:
    """The panel that `save` wrote as `.npz` or `.safetensors`; one explanation is a panel too."""
    return as_panel(_read(path))


def _read(path: str | Path) -> Explanation | Panel:
    decode = _by_suffix(path, READERS)
    try:
        return decode(Path(path).read_bytes())
    except OSError as error:
        raise SeewhyError(f"cannot read {path}: {error.strerror or error}") from error
    except SeewhyError as error:
        raise SeewhyError(f"cannot read {path}: {error}") from error


def _by_suffix(path: str | Path, table: Mapping[str, Coder]) -> Coder:
    suffix = Path(path).suffix.lower()
    if suffix not in table:
        raise SeewhyError(
            f"{path}: expected a name that ends in {', '.join(table)}; "
            f"came {suffix or 'no suffix'!r}"
        )
    return table[suffix]


def _to_npz(thing: Explanation | Panel) -> bytes:
    tensors, metadata = pack(thing)
    dtypes = {name: str(t.dtype).removeprefix("torch.") for name, t in tensors.items()}
    # numpy has no bfloat16; as float32 it loses nothing, and `dtypes` leads back.
    numpy_ready = {n: t.float() if t.dtype == torch.bfloat16 else t for n, t in tensors.items()}
    arrays: dict[str, Any] = {n: t.numpy() for n, t in numpy_ready.items()}
    arrays |= {"metadata": np.array(metadata), "dtypes": np.array(json.dumps(dtypes))}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _from_npz(content: bytes) -> Explanation | Panel:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            values = dict(arrays)
        metadata, dtypes = str(values.pop("metadata")), json.loads(str(values.pop("dtypes")))
        tensors = {n: torch.from_numpy(a).to(getattr(torch, dtypes[n])) for n, a in values.items()}
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise SeewhyError(f"expected an .npz of a saved explanation ({error})") from error
    return unpack(tensors, metadata)


def _to_safetensors(thing: Explanation | Panel) -> bytes:
    from safetensors.torch import save as encode

    tensors, metadata = pack(thing)
    # The format refuses tensors that share memory, as views of one computation do.
    owned = {name: tensor.clone() for name, tensor in tensors.items()}
    return encode(owned, metadata={"seewhy": metadata})


def _from_safetensors(content: bytes) -> Explanation | Panel:
    from safetensors import SafetensorError
    from safetensors.torch import load as decode

    try:
        tensors = decode(content)
    except SafetensorError as error:
        raise SeewhyError(f"expected a .safetensors of a saved explanation ({error})") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return unpack(tensors, header.get("__metadata__", {}).get("seewhy", "{}"))


def _to_json(thing: Explanation | Panel) -> bytes:
    panel = as_panel(thing)
    explanations = [readable(e, maps=True) for e in panel.explanations]
    data = {"explanations": explanations, "skipped": dict(panel.skipped)}
    return json.dumps(data, allow_nan=False, ensure_ascii=False).encode()


WRITERS: dict[str, Callable[[Explanation | Panel], bytes]] = {
    ".png": explanation_png_bytes,
    ".json": _to_json,
    ".npz": _to_npz,
    ".safetensors": _to_safetensors,
}
READERS: dict[str, Callable[[bytes], Explanation | Panel]] = {
    ".npz": _from_npz,
    ".safetensors": _from_safetensors,
}
