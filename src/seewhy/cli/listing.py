"""`seewhy methods`, `seewhy models`, `seewhy layers`: what there is."""

import json
from typing import Annotated, Any

from cyclopts import Parameter

from seewhy.attribution.method import Method, as_method
from seewhy.cli.options import MODEL, ModelOptions
from seewhy.cli.settings import describe
from seewhy.errors import Unknown
from seewhy.explaining import methods as all_methods
from seewhy.sources import available

AsJson = Annotated[bool, Parameter(name="--json", negative=())]


def methods(name: str | None = None, /, *, as_json: AsJson = False) -> None:
    """List the attribution methods, or describe one.

    Parameters
    ----------
    name
        A method; without it all are listed.
    as_json
        Print JSON.
    """
    found = all_methods()
    if name is not None:
        found = {name: type(as_method(name))}
    if as_json:
        print(json.dumps([_described(m) for m in found.values()], indent=2, ensure_ascii=False))
    elif name is not None:
        _print_method(found[name])
    else:
        width = max(len(n) for n in found)
        for method in found.values():
            print(f"{method.name:<{width}}  {method.question}")


def models(prefix: str | None = None, /, *, as_json: AsJson = False) -> None:
    """List the models that can be opened by name.

    Parameters
    ----------
    prefix
        Only names that start with this, such as torchvision/ or timm/vit.
    as_json
        Print JSON.
    """
    source, slash, _ = (prefix or "").partition("/")
    names = available(source) if slash else available()
    names = [n for n in names if n.startswith(prefix or "")]
    if prefix and not names:
        raise Unknown("model", prefix, available(), hint="`seewhy models` lists all")
    print(json.dumps(names, indent=2) if as_json else "\n".join(names))


def layers(*, model: ModelOptions = MODEL, as_json: AsJson = False) -> None:
    """List a model's layers in the order they finish; a star marks the one found for CAMs.

    Parameters
    ----------
    as_json
        Print JSON.
    """
    opened = model.open()
    anatomy = opened.anatomy()
    rows: list[dict[str, Any]] = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output": list(layer.shape),
            "grid": str(layer.grid) if layer.grid else None,
            "calls": layer.calls,
            "chosen": layer.name == anatomy.spatial,
        }
        for layer in anatomy.layers.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    width = max(len(row["name"]) for row in rows)
    kind = max(len(row["kind"]) for row in rows)
    for row in rows:
        shape = "x".join(map(str, row["output"]))
        calls = f"  {row['calls']} calls" if row["calls"] > 1 else ""
        grid = f"  grid {row['grid']}" if row["grid"] else ""
        star = "*" if row["chosen"] else " "
        print(f"{star} {row['name']:<{width}}  {row['kind']:<{kind}}  {shape}{grid}{calls}")


def _described(method: type[Method]) -> dict[str, Any]:
    return {
        "name": method.name,
        "question": method.question,
        "source": method.source,
        "parameters": dict(describe(method)),
    }


def _print_method(method: type[Method]) -> None:
    print(f"{method.name}: {method.question}")
    print(f"{method.summary()}")
    print(f"Source: {method.source}")
    for name, default in describe(method):
        print(f"  --set {name}={default}")
