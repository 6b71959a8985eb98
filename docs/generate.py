"""Write docs/methods.md from the registry: `python docs/generate.py`.

A test compares the page with the registry, so a new method cannot be forgotten in it.
"""

import dataclasses
import inspect
import re
from pathlib import Path

import seewhy
from seewhy.attribution.method import Method
from seewhy.cli.hyperparameters import describe, meanings

PAGE = Path(__file__).parent / "methods.md"

HEAD = """# Attribution methods

What is the model looking at? Every method below works on any classifier that `Model` takes, from
Python (`seewhy.explain(model, picture, "NAME", ...)`) and on the command line
(`seewhy explain PICTURE --method NAME --set name=value`). This page is made from the code by
`python docs/generate.py`. [Families of methods](attribution/README.md) has pictures, measurements,
and which family answers which question.

| method | the question it answers | source |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    methods = seewhy.methods().values()
    rows = [f"| [`{m.name}`](#{_anchor(m)}) | {m.question} | {m.source} |\n" for m in methods]
    return HEAD + "".join(rows) + "".join(_section(m) for m in methods)


def _anchor(method: type[Method]) -> str:
    """Page addresses have no plus sign."""
    return method.name.replace("+", "-plus")


def _section(method: type[Method]) -> str:
    parts = [
        f'\n<a id="{_anchor(method)}"></a>\n\n## {method.name}\n',
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


if __name__ == "__main__":
    PAGE.write_text(page())
