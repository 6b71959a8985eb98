"""The documentation says what the code does: pages are current and their examples run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seewhy
from seewhy.cli.hyperparameters import meanings

ROOT = Path(__file__).parents[2]


def test_the_page_of_methods_is_current():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = generate.page()
    assert (ROOT / "docs" / "methods.md").read_text() == page, "run python docs/generate.py"
    for name, method in seewhy.methods().items():
        if method.__module__.startswith("seewhy."):
            section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
            for field, meaning in meanings(method).items():
                row = re.search(rf"^\| `{field}` \|.*\| (.+) \|$", section, flags=re.MULTILINE)
                assert row and row[1] == meaning.replace("|", "\\|"), f"{name}: {field}"


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
    program = Path(sys.executable).parent / "seewhy"
    for command in {line.split()[1] for line in commands}:
        done = subprocess.run([program, command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Model", "explain", "compare", "open_model", "methods"])
def test_public_names_are_documented(name):
    assert (getattr(seewhy, name).__doc__ or "").strip()
