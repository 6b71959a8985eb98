"""The page on what users can rely on: each promise names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROWS = [
    line
    for line in PAGE.partition("## Long runs")[0].splitlines()
    if line.startswith("| ") and "---" not in line
]
PROMISES = [row for row in ROWS if row != "| promise | test |" and "tests/" in row]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda value: value)
def test_every_test_that_the_page_names_exists(file: str, test: str):
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test():
    assert len(PROMISES) > 25
    for row in PROMISES:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row), row


@pytest.mark.parametrize(
    "kind",
    [
        "Results stay in their folder", "`--resume` skips only", "A reader that leaves",
        "share modules", "fork", "PostScript", "small copy", "cannot be read is left out",
        "before it is decompressed", "Damaged pictures, weights, class files", "Read-only folders",
        "no terminal", "a billion masks", "deleted", "Any width",
    ],
)  # fmt: skip
def test_every_kind_of_fault_has_its_promise(kind: str):
    assert any(kind in row for row in PROMISES)
