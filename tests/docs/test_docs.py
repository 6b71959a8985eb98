"""The documentation says what the code does: pages are current and their examples run."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seewhy
from seewhy.cli import main
from seewhy.cli.hyperparameters import meanings

ROOT = Path(__file__).parents[2]


def _module(name: str):
    """A module of docs, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    return _module("generate")


def test_the_page_of_methods_tells_all_of_each_method(generate, tmp_path):
    page = generate.write_methods(tmp_path).read_text()
    for name, method in seewhy.methods().items():
        if method.__module__.startswith("seewhy."):
            assert f"[`{name}`](#" in page
            section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
            for field, meaning in meanings(method).items():
                row = re.search(rf"^\| `{field}` \|.*\| (.+) \|$", section, flags=re.MULTILINE)
                assert row and row[1] == meaning.replace("|", "\\|"), f"{name}: {field}"


def test_a_page_that_is_current_is_left_alone(generate, tmp_path):
    path = generate.write_methods(tmp_path)
    os.utime(path, (0, 0))  # sphinx reads a page again when its time changes
    assert generate.write_methods(tmp_path).stat().st_mtime == 0
    path.write_text("of yesterday")
    assert generate.write_methods(tmp_path).read_text() == generate.methods_page()


def test_the_table_of_parts_is_current(generate):
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert generate.TABLE.findall(page) == [generate.parts_table()], "run python docs/generate.py"


def test_every_public_name_is_in_the_reference_once():
    stub = ast.parse((ROOT / "src" / "seewhy" / "__init__.pyi").read_text())
    public = [a.name for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names]
    pages = [path.read_text() for path in sorted((ROOT / "docs" / "api").glob("*.md"))]
    listed = re.findall(r"^\.\. auto\w+:: seewhy\.(\w+)$", "\n".join(pages), flags=re.MULTILINE)
    assert sorted(listed) == sorted(set(public) - {"__version__"})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            ["- `a`: one. - `b`: two,", "goes on.", "- `c`: three", "", "Tail."],
            ["- `a`: one.", "", "- `b`: two, goes on.", "", "- `c`: three", "", "Tail.", ""],
        ),
        (["Sums:", "- `a`: 1 - `b` stays"], ["Sums:", "", "- `a`: 1 - `b` stays", ""]),
        (["Code::", "", "    a = 1"], ["Code::", "", "    a = 1", ""]),
    ],
)
def test_lists_of_docstrings_get_their_lines(written, expected):
    docstrings = _module("docstrings")
    lines = list(written)
    docstrings.lists(None, "function", "name", None, None, lines)
    assert lines == expected


def _examples(language: str) -> str:
    readme = (ROOT / "README.md").read_text()
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL))


def test_the_quick_start_in_python_runs(tmp_path):
    code = _examples("python")
    assert "seewhy.explain" in code and "seewhy.compare" in code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_readme_exist():
    commands = [line for line in _examples("sh").splitlines() if line.startswith("seewhy ")]
    assert len(commands) >= 4
    for command in {line.split()[1] for line in commands}:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command


@pytest.mark.parametrize("name", ["Model", "explain", "compare", "open_model", "methods"])
def test_public_names_are_documented(name):
    assert (getattr(seewhy, name).__doc__ or "").strip()
