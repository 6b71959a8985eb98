"""Write what the pages take from the code: `python docs/generate.py`.

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

What is the model looking at? Every method below works on any classifier that `Model` takes, from
Python (`seewhy.explain(model, picture, "NAME", ...)`) and on the command line
(`seewhy explain PICTURE --method NAME --set name=value`). [Families of
methods](attribution/README.md) has pictures, measurements, and which family answers which question.

| method | the question it answers | source |
|---|---|---|
"""


def write_methods(folder: Path = DOCS) -> Path:
    """Write the page of methods, unless it is there as it should be, and return its path."""
    path, text = folder / "methods.md", methods_page()
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return path


def methods_page() -> str:
    """The page of methods."""
    methods = seewhy.methods().values()
    rows = [f"| [`{m.name}`](#{_anchor(m)}) | {m.question} | {m.source} |\n" for m in methods]
    return HEAD + "".join(rows) + "".join(_section(m) for m in methods)


def _anchor(method: type[Method]) -> str:
    """Page addresses have no plus sign."""
    return method.name.replace("+", "-plus")


def _section(method: type[Method]) -> str:
    parts = [
        f"\n({_anchor(method)})=\n\n## {method.name}\n",
        inspect.cleandoc(inspect.getmodule(method).__doc__ or ""),
    ]
    if own := _own(method):
        parts.append(f"\n{own}")
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


def _own(method: type[Method]) -> str:
    """What the class itself says before its hyperparameters: methods may share a module."""
    return re.split(r"^- `", inspect.cleandoc(method.__doc__ or ""), flags=re.MULTILINE)[0].strip()


def _type(field: dataclasses.Field) -> str:
    name = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    return _cell(name.replace("typing.", ""))


def _cell(text: str) -> str:
    """A bar would end the cell."""
    return text.replace("|", "\\|")


def write_parts() -> None:
    """Fill the table of parts in docs/architecture.md."""
    path = DOCS / "architecture.md"
    path.write_text(TABLE.sub(lambda _: parts_table(), path.read_text()))


def parts_table() -> str:
    """The parts by floor, the highest first, each with the first line of its docstring."""
    rows = [
        f"| {number} | `{part}{'/' if (SOURCE / part).is_dir() else ''}` | {_purpose(part)} |\n"
        for number, parts in reversed(list(enumerate(_floors())))
        for part in sorted(parts)
    ]
    return "| floor | part | purpose |\n|---|---|---|\n" + "".join(rows)


def _floors() -> list[set[str]]:
    """The floors of the import contract, the lowest first, without parts that do not exist yet."""
    tree = ast.parse(CONTRACT.read_text())
    (floors,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    there = ({part for part in parts if _module(part).is_file()} for parts in floors)
    return [parts for parts in there if parts]


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
