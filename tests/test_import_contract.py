"""The house rule: a part imports only from lower floors, parts of one floor never each other.

Late imports and imports for type checking count.
"""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "seewhy"

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
    known, found = modules(), defaultdict(set)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seewhy"):
                home = (node.module or "").removeprefix("seewhy").lstrip(".")
                for alias in node.names:
                    deep = f"{home}.{alias.name}".lstrip(".")
                    found[name].add(deep if deep in known else home)
            elif isinstance(node, ast.Import):
                found[name] |= {
                    a.name.removeprefix("seewhy.")
                    for a in node.names
                    if a.name.startswith("seewhy.")
                }
        found[name] -= {name, ""}
    return found


def test_every_part_has_a_floor():
    assert {name.partition(".")[0] for name in modules()} <= set(FLOOR)


def test_imports_go_down():
    wrong = set()
    for name, others in imports().items():
        part = name.partition(".")[0]
        for other in others:
            home = other.partition(".")[0]
            if home != part and FLOOR[home] >= FLOOR[part]:
                wrong.add((name, other))
    assert not wrong


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
