"""The house rule: a part imports only from lower floors, parts of one floor never each other.

Late imports and imports for type checking count.
"""

import ast
import re
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "seewhy"
DOCUMENT = Path(__file__).parents[1] / "docs" / "architecture.md"

# Lowest first; as in docs/architecture.md.
FLOORS = [
    {"errors", "version"},
    {"support"},
    {"autodiff", "images"},
    {"results"},
    {"models", "scenes", "show"},
    {"data", "zoo"},
    {"sweeps"},
    {"activations", "sources", "targets"},
    {"engine"},
    {"perturbation"},
    {"attribution", "synthesis"},
    {"evaluation", "concepts"},
    {"circuits", "generators", "diagnosis", "games"},
    {"cli", "microscope", "studio"},
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop("", None)  # the public door names everything
    found.pop("__main__", None)
    return found


def imports() -> dict[str, set[str]]:
    """Module -> the modules of this package that it imports, wherever in the file."""
    known = modules()
    return {name: imported(path.read_text(), known) - {name} for name, path in known.items()}


def imported(source: str, known: Collection[str]) -> set[str]:
    """The modules of this package that a source imports; "" is the package itself."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: import by the full name"
            if (home := inside(node.module or "")) is not None:
                deep = [f"{home}.{alias.name}".lstrip(".") for alias in node.names]
                found |= {name if name in known else home for name in deep}
        elif isinstance(node, ast.Import):
            homes = (inside(alias.name) for alias in node.names)
            found |= {home for home in homes if home is not None}
    return found


def inside(module: str) -> str | None:
    """The module's name inside this package; None if it is not of this package."""
    head, _, rest = module.partition(".")
    return rest if head == "seewhy" else None


def test_every_part_has_a_floor():
    assert {name.partition(".")[0] for name in modules()} <= set(FLOOR)


def test_imports_go_down():
    wrong = set()
    for name, others in imports().items():
        part = name.partition(".")[0]
        for other in others:
            home = other.partition(".")[0]
            # The package itself names everything, so it lies above every part.
            if not home or (home != part and FLOOR[home] >= FLOOR[part]):
                wrong.add((name, other))
    assert not wrong


def test_the_document_has_the_same_floors():
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented: dict[int, set[str]] = {}
    for number, parts in rows:
        documented.setdefault(int(number), set()).update(re.findall(r"`(\w+)/?`", parts))
    here = {name.partition(".")[0] for name in modules()}
    floors = [parts & here for parts in FLOORS if parts & here]
    assert [documented[number] for number in sorted(documented)] == floors


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    from seewhy.models import model", {"models.model"}),
        ("def f():\n    import seewhy.models.model", {"models.model"}),
        ("from seewhy.models.model import Model", {"models.model"}),
        ("from seewhy import models, explain", {"models", ""}),
        ("import seewhy", {""}),
        ("import seewhyelse.models", set()),
    ],
)
def test_every_form_of_import_is_seen(source, expected):
    assert imported(source, {"models", "models.model"}) == expected


def test_relative_imports_are_refused():
    with pytest.raises(AssertionError, match="line 1"):
        imported("from ..models import model", set())


def test_there_are_no_circles():
    assert not circles(imports())


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that import one another, directly or through others."""

    def reached(start: str) -> set[str]:
        seen, todo = set(), list(graph.get(start, ()))
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())
        return seen

    reach = {name: reached(name) for name in graph}
    return {
        frozenset(o for o in reach[name] if name in reach.get(o, ())) | {name}
        for name in graph
        if name in reach[name]
    }


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, {frozenset("abc")}),
    ],
)
def test_circles_are_found(graph, expected):
    assert circles(graph) == expected
