"""`save` and `load`: the suffix of the path says what is written.

`.png` a figure, `.html` a report, `.json` numbers for other programs, `.npz` and
`.safetensors` everything, bit for bit, for `load`.
"""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.explanation import Explanation, Panel
from seewhy.show.archive import pack, unpack
from seewhy.show.drawing import as_panel
from seewhy.show.figure import explanation_png_bytes
from seewhy.show.report import report_html
from seewhy.show.statistics import statistics
from seewhy.writing import write_bytes

Coder = TypeVar("Coder")


def save(thing: Explanation | Panel, path: str | Path) -> Path:
    """Write an explanation or a panel, whole or not at all, and give back the path.

    The module lists the suffixes.

    Raises `SeewhyError` for another suffix, a missing folder, or a disk that refuses.
    """
    encode = _by_suffix(path, WRITERS)
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
    return encode(tensors, metadata={"seewhy": metadata})


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
    data: dict[str, Any] = {
        "explanations": [_readable(e) for e in panel.explanations],
        "skipped": dict(panel.skipped),
    }
    return json.dumps(_jsonable(data), allow_nan=False, ensure_ascii=False).encode()


def _readable(explanation: Explanation) -> dict[str, Any]:
    """Provenance, and per picture its predictions, the map's statistics and the map."""
    pictures = [
        {
            "source": explanation.batch.pictures[i].source,
            "target": {"index": int(explanation.target[i]), "name": one.target_names[0]},
            "probability": float(one.probabilities[0]),
            "top": [{"name": n, "probability": p} for n, p in one.top()[0]],
            "residual": None if one.residual is None else float(one.residual[0]),
            "view": vars(explanation.batch.views[i]),
            "statistics": vars(statistics(one.heatmap[0])),
            "heatmap": one.heatmap[0].tolist(),
        }
        for i, one in enumerate(explanation)
    ]
    return {
        "provenance": vars(explanation.provenance),
        "signed": explanation.signed,
        "cost": vars(explanation.cost),
        "notes": explanation.notes,
        "pictures": pictures,
    }


def _jsonable(value: Any) -> Any:
    """Valid JSON: six significant digits; null for NaN and infinities, which JSON has not."""
    match value:
        case float():
            return float(f"{value:.6g}") if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case list() | tuple():
            return [_jsonable(v) for v in value]
        case Mapping():
            return {str(k): _jsonable(v) for k, v in value.items()}
        case Tensor():
            return _jsonable(value.tolist())
    return str(value)


WRITERS: dict[str, Callable[[Explanation | Panel], bytes]] = {
    ".png": explanation_png_bytes,
    ".html": lambda thing: report_html([thing]).encode(),
    ".json": _to_json,
    ".npz": _to_npz,
    ".safetensors": _to_safetensors,
}
READERS: dict[str, Callable[[bytes], Explanation | Panel]] = {
    ".npz": _from_npz,
    ".safetensors": _from_safetensors,
}
