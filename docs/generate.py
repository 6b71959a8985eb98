"""Generate the pages and tables that are made from the code: `python docs/generate.py`.

- docs/methods.md, from the registry of methods; not kept in git, `make docs` makes it too;
- the table of parts in docs/architecture.md, from the floors of tests/test_import_contract.py and
  the docstrings of the parts. A test compares the table with the floors;
- docs/operations.md, measured by operations.py. A test compares it with what is measured.
"""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import seewhy
from seewhy.attribution.method import Method
from seewhy.cli.hyperparameters import describe, meanings

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "seewhy"
CONTRACT = DOCS.parent / "tests" / "test_import_contract.py"
TABLE = re.compile(r"(?<=<!-- parts -->\n).*?(?=<!-- end of parts -->)", re.DOTALL)

HEAD = """# Attribution methods

What is the model looking at? Every method below can be used in Python
(`seewhy.explain(model, picture, "NAME", ...)`) and on the command line
(`seewhy explain PICTURE --method NAME --set name=value`). [Families of
methods](attribution/README.md) has pictures, measurements, and which family answers which question.

| method | question it answers | source |
|---|---|---|
"""


def write_methods(folder: Path = DOCS) -> Path:
    """Write the page of methods unless it is up to date, and return its path."""
    path, text = folder / "methods.md", methods_page()
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return path


def methods_page() -> str:
    """Return the page of methods as Markdown."""
    methods = seewhy.methods().values()
    rows = [f"| [`{m.name}`](#{_anchor(m)}) | {m.question} | {m.source} |\n" for m in methods]
    return HEAD + "".join(rows) + "".join(_section(m) for m in methods)


def _anchor(method: type[Method]) -> str:
    """Return the anchor of a method; anchors cannot contain a plus sign."""
    return method.name.replace("+", "-plus")


def _section(method: type[Method]) -> str:
    parts = [
        f"\n({_anchor(method)})=\n\n## {method.name}\n",
        inspect.cleandoc(inspect.getmodule(method).__doc__ or ""),
    ]
    if docstring := _class_docstring(method):
        parts.append(f"\n{docstring}")
    fields = describe(method)
    if fields:
        types = {field.name: _type(field) for field in dataclasses.fields(method)}
        meaning = meanings(method)
        parts.append("\n| hyperparameter | type | default | meaning |\n|---|---|---|---|")
        parts += [
            f"| `{name}` | `{types[name]}` | `{default}` | {_cell(meaning[name])} |"
            for name, default in fields
        ]
    return "\n".join(parts) + "\n"


def _class_docstring(method: type[Method]) -> str:
    """Return the class docstring up to its hyperparameters, because methods may share a module."""
    return re.split(r"^- `", inspect.cleandoc(method.__doc__ or ""), flags=re.MULTILINE)[0].strip()


def _type(field: dataclasses.Field) -> str:
    name = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    return _cell(name.replace("typing.", ""))


def _cell(text: str) -> str:
    """Escape bars, which would end the table cell."""
    return text.replace("|", "\\|")


def write_parts() -> None:
    """Fill the table of parts in docs/architecture.md."""
    path = DOCS / "architecture.md"
    path.write_text(TABLE.sub(lambda _: parts_table(), path.read_text()))


def parts_table() -> str:
    """Return the table of parts by level, highest first, with the first line of each docstring."""
    rows = [
        f"| {number} | `{part}{'/' if (SOURCE / part).is_dir() else ''}` | {_purpose(part)} |\n"
        for number, parts in reversed(list(enumerate(_levels())))
        for part in sorted(parts)
    ]
    return "| level | part | purpose |\n|---|---|---|\n" + "".join(rows)


def _levels() -> list[set[str]]:
    """Return the levels of the import contract, lowest first, without parts that do not exist."""
    tree = ast.parse(CONTRACT.read_text())
    (levels,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    existing = ({part for part in parts if _module(part).is_file()} for parts in levels)
    return [parts for parts in existing if parts]


def _module(part: str) -> Path:
    folder = SOURCE / part
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _purpose(part: str) -> str:
    docstring = ast.get_docstring(ast.parse(_module(part).read_text())) or ""
    return _cell(docstring.partition("\n")[0])


if __name__ == "__main__":
    write_methods()
    write_parts()
    from operations import write_operations  # beside this file

    write_operations()
