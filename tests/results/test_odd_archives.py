"""Archives of results from strangers: read as they were saved, or refused in one line."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from seewhy.attribution.explanation import Explanation
from seewhy.errors import SeewhyError
from seewhy.results import load
from seewhy.results.fields import require_fields


def rewritten(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change one array of an .npz file."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members[f"{name}.npy"] = change(members.get(f"{name}.npy", b""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, content in members.items():
            archive.writestr(n, content)


def array(values: object) -> Callable[[bytes], bytes]:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return lambda before: buffer.getvalue()


def larger(before: bytes) -> bytes:
    """The same array, whose header declares an absurd shape."""
    return before.replace(b"(2, 3)", b"(2, 3000000000)").replace(b" " * 9 + b"\n", b"\n")


ODD = {
    "bomb": ("0.heatmap", lambda before: bytes(2**29), "expands to far more than its size"),
    "declared": ("0.logits", larger, "no array of numbers"),
    "objects": ("0.logits", array(np.array([{}], dtype=object)), "no array of numbers"),
    "dates": ("0.logits", array(np.array(["2020"], "datetime64[D]")), "no array of numbers"),
    "no array": ("0.logits", lambda before: b"\x93NUMPY", "saved as .npz"),
    "integers": ("0.logits", array(np.ones((2, 3), int)), "stands for other numbers"),
    "transposed": ("0.logits", array(np.ones((3, 2), np.float32)), "expected a saved result"),
    "fewer maps": ("0.heatmap", array(np.ones((1, 12, 16), np.float32)), "expected a saved result"),
    "text": ("0.logits", array("text"), "saved as .npz"),
    "deep": ("metadata", array("[" * 10**5), "other data"),
    "long number": ("metadata", array("9" * 5000), "other data"),
    "no format": ("metadata", array('{"format": [1]}'), "expected one of the formats"),
    "foreign format": ("metadata", array(json.dumps({"format": "x" * 10**5})), "expected one of"),
    "dtypes": ("dtypes", array('{"0.logits": "load"}'), "saved as .npz"),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_arrays_are_refused_in_one_line(kind: str, explanation: Explanation, tmp_path: Path):
    name, change, says = ODD[kind]
    path = explanation.save(tmp_path / "e.npz")
    rewritten(path, name, change)
    with pytest.raises(SeewhyError, match=says) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 400 + len(str(path))


@dataclass(frozen=True)
class Small:
    """Like a result, of a class that checks nothing itself."""

    maps: Float[Tensor, "pictures height width"] = field(
        default_factory=lambda: torch.ones(2, 3, 4)
    )
    score: Float[Tensor, " pictures"] | None = None
    name: str = "small"
    sizes: tuple[int, int] = (3, 4)
    by: Literal["max", "mean"] = "max"
    inner: tuple["Small", ...] = ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": torch.ones(3, 2)},
        {"score": torch.ones(2, dtype=torch.int64)},
        {"maps": torch.ones(2, 3)},
        {"maps": None},
        {"name": 3},
        {"sizes": (3, 4, 5)},
        {"sizes": (3, 4.0)},
        {"by": "sum"},
        {"inner": [Small()]},
        {"inner": (Small(), Small(name=b"x"))},  # type: ignore[arg-type]
    ],
)
def test_fields_of_another_type_or_shape_are_refused(wrong: dict[str, Any]):
    require_fields([Small(score=torch.ones(2), inner=(Small(),))])
    with pytest.raises(SeewhyError, match="a Small with another kind of"):
        require_fields({"small": Small(**wrong)})


@pytest.mark.parametrize(
    "result",
    [
        {"#class": ["seewhy.__main__", "main"], "fields": {}},
        {"#class": ["seewhy.attribution.explanation", "Cost"], "fields": {"seconds": 1.0}},
        {"#class": ["seewhy.evaluation.selfcheck", "SelfCheck"], "fields": {"model": 1}},
        {"#class": ["seewhy.support.settings", "Settings"], "fields": {}},
        {"#class": ["os", "system"], "fields": {}},
        {"#tensor": "w"},
        {"#float": "dog"},
        {"#map": [[[], 1]]},
        7,
    ],
)
def test_what_is_no_result_is_refused(result: object, tmp_path: Path):
    tree = json.dumps({"format": "seewhy-result-1", "result": result})
    path = tmp_path / "r.safetensors"
    save_file({"w": torch.ones(3)}, path, metadata={"seewhy": tree})
    with pytest.raises(SeewhyError, match="expected a saved result"):
        load(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_characters_that_do_not_exist_are_refused(tmp_path, order):
    """NumPy makes a string of any numbers; what is done with it later fails in odd ways."""
    numbers = np.array([97, 98, 0x110000, 99], f"{order}u4")
    text = np.frombuffer(numbers.tobytes(), f"{order}U4").reshape(())
    np.savez(tmp_path / "a.npz", metadata=text, dtypes=np.array("{}"))
    with pytest.raises(SeewhyError, match="characters that do not exist"):
        load(tmp_path / "a.npz")
