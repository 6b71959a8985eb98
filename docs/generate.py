"""Write docs/methods.md from the registry: `python docs/generate.py`.

A test compares the page with the registry, so a new method cannot be forgotten in it.
"""

import inspect
from pathlib import Path

import seewhy
from seewhy.attribution.method import Method
from seewhy.cli.hyperparameters import describe

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
    fields = describe(method)
    if fields:
        parts.append("\n| hyperparameter | default |\n|---|---|")
        parts += [f"| `{name}` | `{default}` |" for name, default in fields]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
