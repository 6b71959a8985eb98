import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.explanation_view import readable
from seewhy.errors import SeewhyError
from seewhy.show import load, save

ARCHIVES = [".npz", ".safetensors"]
SUFFIXES = [".png", ".html", ".json", *ARCHIVES]


def assert_same(got: Explanation, want: Explanation) -> None:
    for name in ("heatmap", "attribution", "target", "score", "logits", "residual"):
        a, b = getattr(got, name), getattr(want, name)
        assert (a is None) == (b is None)
        if b is not None:
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    for name in ("classes", "provenance", "signed", "cost", "notes", "labels"):
        assert getattr(got, name) == getattr(want, name)
    assert torch.equal(got.batch.pixels, want.batch.pixels)
    assert got.batch.views == want.batch.views
    for a, b in zip(got.batch.pictures, want.batch.pictures, strict=True):
        assert (a.source, a.notes) == (b.source, b.notes)
        assert torch.equal(a.pixels, b.pixels)


@pytest.mark.parametrize("suffix", ARCHIVES)
@pytest.mark.parametrize("kind", ["explanation", "unsigned", "broken", "questions"])
def test_what_is_loaded_is_what_was_saved(kind, suffix, tmp_path, request):
    want = request.getfixturevalue(kind)
    assert want.save(tmp_path / f"e{suffix}") == tmp_path / f"e{suffix}"
    assert_same(load(tmp_path / f"e{suffix}"), want)


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_a_panel_comes_back_with_its_reasons(panel, suffix, tmp_path):
    save(panel, tmp_path / f"p{suffix}")
    got = load(tmp_path / f"p{suffix}")
    assert got.skipped == panel.skipped
    for a, b in zip(got, panel, strict=True):
        assert_same(a, b)
    with pytest.raises(SeewhyError, match=r"Panel\.load"):
        Explanation.load(tmp_path / f"p{suffix}")


@pytest.mark.parametrize("suffix", ARCHIVES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_comes_back(explanation, suffix, dtype, tmp_path):
    want = dataclasses.replace(explanation, heatmap=explanation.heatmap.to(dtype))
    save(want, tmp_path / f"e{suffix}")
    assert_same(load(tmp_path / f"e{suffix}"), want)


def test_what_json_does_not_know_comes_back_as_text_or_numbers(explanation, tmp_path):
    parameters = {"device": torch.device("cpu"), "sizes": np.array([1, 2]), "x": np.float32(0.5)}
    made = dataclasses.replace(explanation.provenance, parameters=parameters)
    save(dataclasses.replace(explanation, provenance=made), tmp_path / "e.npz")
    got = load(tmp_path / "e.npz").provenance.parameters
    assert got == {"device": "cpu", "sizes": [1, 2], "x": 0.5}


def test_json_is_valid_and_counts_what_it_cannot_write(broken, tmp_path):
    save(broken, tmp_path / "e.json")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    data = json.loads((tmp_path / "e.json").read_text(), parse_constant=refuse)
    first, second = data["explanations"][0]["pictures"]
    assert first["statistics"]["not_finite"] == 13
    assert first["heatmap"][0][0] is None
    assert sum(value is None for row in first["heatmap"] for value in row) == 13
    assert second["statistics"]["peak"] is None
    want = broken.heatmap[0, 11, 15].item()
    assert first["heatmap"][11][15] == float(f"{want:.6g}")
    assert first["target"] == {"index": 0, "name": "tabby"}
    assert math.isclose(sum(row["probability"] for row in first["top"]), 1, abs_tol=1e-5)


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_a_picture_of_several_questions_is_kept_once(questions, suffix, tmp_path):
    got = load(questions.save(tmp_path / f"e{suffix}"))
    assert got.batch.pictures[0] is got.batch.pictures[1]
    assert got.target_names == questions.target_names


def test_json_of_what_is_no_class(questions, tmp_path):
    save(questions, tmp_path / "e.json")
    (data,) = json.loads((tmp_path / "e.json").read_text())["explanations"]
    dog, unit = data["pictures"]
    assert dog["target"]["index"] == 2 and 0 < dog["probability"] < 1 and dog["score"] == 0
    assert unit["target"] == {"index": None, "name": "layer3<b>:17"}
    assert unit["probability"] is None and unit["score"] == -5.25


def test_readable_is_short_unless_maps_are_asked_for(broken):
    text = json.dumps(readable(broken), allow_nan=False)
    assert "heatmap" not in text
    assert json.loads(text)["provenance"]["parameters"]["limit"] is None
    assert "heatmap" in readable(broken, maps=True)["pictures"][0]


def test_a_saved_report_says_which_question_is_answered(panel, tmp_path):
    save(panel, tmp_path / "p.html")
    assert "What if &lt;it&gt; were hidden?" in (tmp_path / "p.html").read_text()


def test_png_and_html_are_what_they_say(panel, tmp_path):
    panel.save(tmp_path / "p.PNG")
    with Image.open(tmp_path / "p.PNG") as image:
        assert image.format == "PNG"
    panel.save(tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["e.gif", "e", "e.npz.gz"])
def test_another_suffix_is_refused_with_the_valid_ones(explanation, name, tmp_path):
    with pytest.raises(SeewhyError, match=r"\.png, .*\.html, \.json, \.npz, \.safetensors"):
        save(explanation, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_folder_is_named(explanation, suffix, tmp_path):
    with pytest.raises(SeewhyError, match="no folder"):
        save(explanation, tmp_path / "missing" / f"e{suffix}")


@pytest.mark.parametrize("suffix", ARCHIVES)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x02\0\0\0\0\0\0\0{}", b"x" * 99])
def test_other_files_are_refused(suffix, content, tmp_path):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(SeewhyError, match="expected"):
        load(path)
    path.unlink()
    with pytest.raises(SeewhyError, match="cannot read"):
        load(path)


def test_arrays_of_others_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(SeewhyError, match="expected"):
        load(tmp_path / "a.npz")


def test_a_truncated_archive_is_refused(explanation, tmp_path):
    for suffix in ARCHIVES:
        path = tmp_path / f"e{suffix}"
        save(explanation, path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(SeewhyError, match="expected"):
            load(path)


def test_a_panel_of_nothing_is_not_written(tmp_path):
    with pytest.raises(SeewhyError, match="nothing to show"):
        save(Panel(()), tmp_path / "p.html")
    assert list(tmp_path.iterdir()) == []
