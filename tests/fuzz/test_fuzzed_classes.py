"""Any text and any bytes are class names, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outcomes import outcome

from seewhy.sources import read_classes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 4).map(str), inner, max_size=4)
    ),
    max_leaves=12,
)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.text(alphabet='[]{}",:019e-. \\u\0', max_size=80).map(str.encode),
)


def check(content: bytes, suffix: str, folder: Path) -> None:
    file = folder / f"names{suffix}"
    file.write_bytes(content)

    def read() -> None:
        names = read_classes(file)
        assert names and all(isinstance(name, str) for name in names)
        "\n".join(names).encode()

    outcome(read)


UNLIMITED = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@given(content=FILES, suffix=st.sampled_from([".txt", ".json"]))
@settings(max_examples=50, derandomize=True, **UNLIMITED)  # type: ignore[arg-type]
def test_some_files_of_class_names(content: bytes, suffix: str, tmp_path: Path):
    check(content, suffix, tmp_path)


@pytest.mark.full
@given(content=FILES, suffix=st.sampled_from([".txt", ".json"]))
@settings(max_examples=20_000, **UNLIMITED)  # type: ignore[arg-type]
def test_many_files_of_class_names(content: bytes, suffix: str, tmp_path: Path):
    check(content, suffix, tmp_path)


@given(classes=JSON)
@settings(max_examples=20, derandomize=True, deadline=None)
def test_some_values_as_class_names(classes: Any):
    if not isinstance(classes, str):  # a file
        outcome(lambda: read_classes(classes))
