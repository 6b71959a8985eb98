"""`seewhy methods`, `seewhy models` and `seewhy layers`: list what is available."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from seewhy.attribution.explain import methods as all_methods
from seewhy.attribution.method import Method, as_method
from seewhy.cli.hyperparameters import describe, meanings
from seewhy.cli.options import MODEL, SWITCH, ModelOptions
from seewhy.cli.printing import say, say_json
from seewhy.errors import SeewhyError, Unknown
from seewhy.models.layers import LayerGraph
from seewhy.sources import available, find_architecture

AsJson = Annotated[bool, Parameter(name="--json"), SWITCH]


def methods(name: str | None = None, /, *, as_json: AsJson = False) -> None:
    """List the attribution methods, or describe one.

    Parameters
    ----------
    name
        A method to describe; by default all are listed.
    as_json
        Print JSON.
    """
    listed = all_methods()
    if name is not None:
        listed = {name: type(as_method(name))}
    if as_json:
        _print_json([_method_data(method) for method in listed.values()])
    elif name is not None:
        _print_method(listed[name])
    else:
        _print_table([[method.name, method.question] for method in listed.values()])
        say("\n`seewhy methods NAME` describes a method and its hyperparameters.")


def models(name: str | None = None, /, *, as_json: AsJson = False) -> None:
    """List the models that can be opened by name, or describe one and its classes.

    Parameters
    ----------
    name
        A model to describe, or the start of names, such as torchvision/ or timm/vit.
    as_json
        Print JSON.
    """
    source, slash, _ = (name or "").partition("/")
    valid = available(source) if slash else available()
    if name in valid:
        _print_model(name, as_json)
        return
    names = [known for known in valid if known.startswith(name or "")]
    if name and not names:
        raise Unknown("model", name, valid, hint="`seewhy models` lists all")
    if as_json:
        _print_json(names)
    else:
        say("\n".join(names))


def layers(
    name: str | None = None, /, *, model: ModelOptions = MODEL, as_json: AsJson = False
) -> None:
    """List a model's layers in execution order; an asterisk marks the default layer of CAMs.

    Parameters
    ----------
    name
        The model; the same as --model.
    as_json
        Print JSON.
    """
    if name is not None and model.model not in (name, MODEL.model):
        raise SeewhyError(f"two models are named, {name} and {model.model}; name one")
    opened = dataclasses.replace(model, model=name or model.model).open()
    rows = _layer_rows(opened.layer_graph())
    if as_json:
        _print_json(rows)
        return
    shown = [
        [
            f"{'*' if row['chosen'] else ' '} {row['name']}",
            row["kind"],
            "x".join(map(str, row["output"])),
            f"grid {row['grid']}" if row["grid"] else "",
            f"{row['calls']} calls" if row["calls"] > 1 else "",
        ]
        for row in rows
    ]
    _print_table(shown)


def _layer_rows(layer_graph: LayerGraph) -> list[dict[str, Any]]:
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output": list(layer.shape),
            "grid": str(layer.grid) if layer.grid else None,
            "calls": layer.calls,
            "chosen": layer.name == layer_graph.spatial,
        }
        for layer in layer_graph.layers.values()
    ]


def _method_data(method: type[Method]) -> dict[str, Any]:
    return {
        "name": method.name,
        "question": method.question,
        "source": method.source,
        "parameters": dict(describe(method)),
    }


def _print_method(method: type[Method]) -> None:
    say(f"{method.name}: {method.question}\n")
    say(method.summary())
    say(f"Source: {method.source}")
    explained = meanings(method)
    rows = [[name, default, explained.get(name, "")] for name, default in describe(method)]
    if rows:
        say("")
        _print_table([["--set", "default", ""], *rows])


def _print_model(name: str, as_json: bool) -> None:
    known = find_architecture(name)
    size = known.preparation.size if known.preparation else None
    classes = known.classes or []
    if as_json:
        data = {"name": name, "size": size, "mean": known.mean, "std": known.std}
        _print_json(data | {"class_count": known.count, "classes": classes})
        return
    pixels = f"{size[0]} x {size[1]} pixels" if size else "any size"
    say(f"{name}: {known.count or 'an unknown number of'} classes, {pixels}")
    if classes:
        say("")
        _print_table([[str(index), label] for index, label in enumerate(classes)])


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        say("  ".join(cells).rstrip())


def _print_json(data: Any) -> None:
    say_json(data)
