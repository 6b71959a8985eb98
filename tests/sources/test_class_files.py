"""Files of class names from strangers: names, or one line that says what is wrong."""

from pathlib import Path

import pytest

import seewhy
from seewhy.errors import SeewhyError
from seewhy.sources import read_classes

BAD = {
    "brackets.json": ("[" * 100_000, "holds no class names"),
    "braces.json": ('{"a":' * 100_000, "holds no class names"),
    "digits.json": ("[" + "9" * 5000 + "]", "holds no class names"),
    "number.json": ("[1e400, NaN]", "class 0 of"),
    "surrogate.json": (r'["cat", "\ud800"]', "class 1 of .* not valid Unicode"),
    "twice.json": ('{"0": "cat", "0": "dog"}', "the key '0' twice"),
    "deep.json": ("[" + "[" * 900 + "]" * 900 + "]", r"class 0 of .* expected text, got \["),
    "null.json": ('["cat", null]', "class 1 of"),
    "long.json": (f'["{"x" * 2000}"]', "a name of 2000 characters"),
    "long.txt": ("x" * 2000, "a name of 2000 characters"),
    "huge.txt": ("x\n" * 2**23, "larger than 8 MiB"),
    "utf16.txt": ("cat\ndog".encode("utf-16"), "is not UTF-8"),
    "utf16-le.txt": ("cat\ndog".encode("utf-16-le"), "holds NUL bytes"),
    "latin.txt": ("caf\xe9".encode("latin-1"), "is not UTF-8"),
    "only_a_mark.txt": (b"\xef\xbb\xbf", "holds no class names"),
    "nul.txt": (b"cat\0\ndog", "holds NUL bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line(name: str, tmp_path: Path):
    content, says = BAD[name]
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SeewhyError, match=says) as caught:
        read_classes(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(file))


def test_marks_and_line_ends_of_other_systems_and_odd_characters_are_read(tmp_path: Path):
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeffcat\r\ndog\u2028gy\r\n\r\n\x1b[31mred\x0cder\n".encode())
    assert read_classes(file) == ["cat", "dog\u2028gy", "\x1b[31mred\x0cder"]


def test_indices_that_are_far_too_large_are_refused():
    import torch

    with pytest.raises(SeewhyError, match="far too large"):
        read_classes({10**5000: "cat"})
    with pytest.raises(SeewhyError, match="below 1000000"):
        seewhy.Model(torch.nn.Flatten(), classes={10**9: "cat"})
