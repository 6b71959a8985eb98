"""The page on scenes says what the code does."""

import re
from pathlib import Path

import pytest

from seewhy.scenes.sampling import PRESENCE, RANGES, sample

PAGE = (Path(__file__).parents[2] / "docs" / "scenes.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_examples_run(code, capsys):
    exec(code, {})


def test_every_factor_is_in_the_table():
    listed = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\|.*", PAGE, flags=re.MULTILINE))))
    assert set(sample(0, 0).to_dict()) <= listed


def test_the_ranges_of_the_table_are_those_of_the_code():
    for name, (low, high) in RANGES.items():
        (row,) = (line for line in PAGE.splitlines() if re.match(rf"\|.*`{name}`.*\|", line))
        assert f"{low:g} to {high:g}" in row
    row = next(line for line in PAGE.splitlines() if line.startswith("| `window`, `lamp`"))
    names = re.findall(r"`(\w+)`", row)
    assert ", ".join(f"{PRESENCE[name]:g}" for name in names) in row
