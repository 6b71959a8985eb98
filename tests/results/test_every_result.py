"""What every result promises: a new kind of result is tested as soon as it is listed here."""

import dataclasses
import importlib
import json
import pkgutil
import re
from functools import cache

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seewhy
from seewhy.errors import SeewhyError
from seewhy.results import SUFFIXES, Result, load
from seewhy.results.base import ARCHIVES, IMAGES, view
from seewhy.scenes import examples, render
from seewhy.synthesis.generator_prior import GeneratorPrior

LAYER = "stages.1"


def decoder() -> GeneratorPrior:
    """An untrained decoder of small pictures."""
    net = nn.Sequential(nn.Linear(4, 3 * 8 * 8), nn.Unflatten(1, (3, 8, 8)), nn.Tanh())
    return GeneratorPrior(net, (4,))


@cache
def results() -> dict[str, Result]:
    """One small result of every kind, of two rendered rooms."""
    model = seewhy.open_model("scenes")
    pixels = torch.cat([render(factors, 64).pixels for _, factors in examples(2)])
    extremal = seewhy.explain(model, pixels, "extremal-perturbation", areas=(0.2, 0.5), steps=4)
    return {
        "Examples": seewhy.examples(model, f"{LAYER}:3", pixels),
        "Explanation": seewhy.explain(model, pixels, "grad-cam"),
        "Panel": seewhy.compare(model, pixels, ["gradient", "grad-cam", "attention-rollout"]),
        "SufficiencyCurve": seewhy.sufficiency_curve(model, extremal),
        "ChannelSelectivity": seewhy.channel_selectivity(
            model, pixels, layer=LAYER, methods=["gradient", "lrp-epsilon-plus"]
        ),
        "ChannelRelevance": seewhy.relevant_channels(model, pixels, layer=LAYER),
        "ExtremalChannels": seewhy.extremal_channels(model, pixels, layer=LAYER, steps=4),
        "Inversion": seewhy.invert(model, pixels[:1], [LAYER, "stages.2"], restarts=2, steps=3),
        "Posterior": seewhy.sample_posterior(
            model, pixels[:1], LAYER, decoder(), chains=2, samples=3, warm_up=4, every=1
        ),
        "Restoration": seewhy.denoise(torch.rand(3, 104, 104), steps=3),
        "SelfCheck": seewhy.selfcheck(model, pixels[0]),
        "Visualization": seewhy.visualize(
            model, [f"{LAYER}:3", "mug"], images=pixels, size=64, steps=3
        ),
    }


KINDS = [
    "ChannelRelevance",
    "ChannelSelectivity",
    "Examples",
    "Explanation",
    "ExtremalChannels",
    "Inversion",
    "Panel",
    "Posterior",
    "Restoration",
    "SelfCheck",
    "SufficiencyCurve",
    "Visualization",
]
each_kind = pytest.mark.parametrize("kind", KINDS)


def test_every_kind_of_result_is_tested():
    for module in pkgutil.walk_packages(seewhy.__path__, "seewhy."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = {
        cls.__name__ for cls in Result.__subclasses__() if cls.__module__.startswith("seewhy.")
    }
    assert sorted(kinds) == KINDS == sorted(results())


@each_kind
def test_the_view_has_what_a_result_calls(kind: str):
    for function in ("figure", "text", "data"):
        assert callable(getattr(view(results()[kind]), function))


@each_kind
def test_it_says_what_it_found(kind: str):
    result = results()[kind]
    assert len(result.summary().splitlines()) >= 2
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert len(repr(result)) < 400, "a result introduces itself on a screen"
    assert "\n" not in repr(result)
    shown = result._repr_html_()
    assert "data:image/" in shown
    assert "<b>result</b>" in shown
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", shown)


@each_kind
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_can_be_saved(kind: str, suffix: str, tmp_path):
    path = results()[kind].save(tmp_path / f"result{suffix}")
    content = path.read_bytes()
    starts = {".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert content.startswith(starts.get(suffix, b"")) and len(content) > 200
    if suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            assert min(image.size) > 100
    if suffix == ".html":
        assert content.lower().startswith(b"<!doctype html>")
    if suffix == ".json":
        assert json.loads(content) == results()[kind].to_dict()


@each_kind
def test_names_are_not_programs_for_tex(kind: str):
    """Also where a user's settings choose TeX for all texts: it could read files."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    with rc_context({"text.usetex": True}):
        texts = results()[kind].show().findobj(Text)
    written = [text for text in texts if re.search("[A-Za-z]", text.get_text())]
    assert written
    assert not [t.get_text() for t in written if t.get_usetex() or t.get_parse_math()]


@each_kind
@pytest.mark.parametrize("suffix", ARCHIVES)
def test_what_is_loaded_is_what_was_saved(kind: str, suffix: str, tmp_path):
    result = results()[kind]
    path = result.save(tmp_path / f"result{suffix}")
    again = load(path)
    assert type(again) is type(result)
    assert_same(again, result)
    assert again.summary() == result.summary()
    assert again.to_dict() == result.to_dict()
    again.save(tmp_path / "again.png")


def test_a_result_of_another_kind_is_refused_by_name(tmp_path):
    path = results()["Panel"].save(tmp_path / "panel.npz")
    with pytest.raises(SeewhyError, match=r"expected Explanation, got Panel; use Panel\.load"):
        seewhy.Explanation.load(path)


def test_an_archive_cannot_name_a_foreign_class(tmp_path):
    from seewhy.results.formats import to_npz

    tree = {"#class": ["subprocess", "Popen"], "fields": {"args": ["true"]}}
    path = tmp_path / "evil.npz"
    path.write_bytes(to_npz({}, json.dumps({"format": "seewhy-result-1", "result": tree})))
    with pytest.raises(SeewhyError, match="not a class of this package"):
        load(path)


def test_images_are_among_the_suffixes():
    assert set(IMAGES) | set(ARCHIVES) | {".html", ".json"} == set(SUFFIXES)


def assert_same(a: object, b: object) -> None:
    if isinstance(b, Tensor):
        assert isinstance(a, Tensor) and a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    elif dataclasses.is_dataclass(b):
        for field in dataclasses.fields(b):
            if not callable(getattr(b, field.name)):
                assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(b, tuple | list):
        assert len(a) == len(b)  # type: ignore[arg-type]
        for one, other in zip(a, b, strict=True):  # type: ignore[call-overload]
            assert_same(one, other)
    elif isinstance(b, float):
        assert a == pytest.approx(b, nan_ok=True, abs=0, rel=0)
