"""`seewhy explain` on one picture, several, and folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from terminal import files_in

import seewhy as library
from seewhy.show import load


def test_one_picture_goes_to_a_file_right_here(here, seewhy):
    out = seewhy("explain dog.jpg").fine()
    assert files_in(here) == ["dog.grad-cam.png", "dog.jpg"]
    for word in ("dog.jpg", "grad-cam at stages (automatic)", "written   dog.grad-cam.png"):
        assert word in out


@pytest.mark.parametrize(
    ("suffix", "begins"),
    [
        (".png", b"\x89PNG"),
        (".npz", b"PK"),
        (".safetensors", b""),
        (".json", b"{"),
        (".html", b"<!DOCTYPE html>"),
    ],
)
def test_the_suffix_says_what_is_written(suffix, begins, here, seewhy):
    seewhy(f"explain dog.jpg -o out{suffix}").fine()
    content = Path(f"out{suffix}").read_bytes()
    assert content.lower().startswith(begins.lower())
    assert files_in(here) == ["dog.jpg", f"out{suffix}"]
    if suffix == ".json":
        assert json.loads(content)["explanations"]


def test_it_is_what_the_same_call_in_python_gives(here, seewhy):
    seewhy(
        "explain dog.jpg --method smoothgrad --set samples=3 --set noise=0.2 --seed 7 "
        "--target mug -o out.npz"
    ).fine()
    here_too = library.explain(
        "scenes", "dog.jpg", "smoothgrad", target="mug", seed=7, samples=3, noise=0.2
    )
    assert torch.equal(load("out.npz").heatmap, here_too.heatmap)


def test_a_hidden_unit(here, seewhy):
    out = seewhy("explain dog.jpg --target stages.1:3 -o out.npz").fine()
    assert "target    stages.1:3, score" in out
    here_too = library.explain("scenes", "dog.jpg", target="stages.1:3")
    assert torch.equal(load("out.npz").heatmap, here_too.heatmap)
    assert load("out.npz").provenance.layer == "stages.1"


def test_why_one_class_rather_than_another(here, seewhy):
    out = seewhy("explain dog.jpg -t mug --against bottle --method gradient -o out.npz").fine()
    assert "target    mug − bottle, score" in out
    target = library.difference("mug", "bottle")
    here_too = library.explain("scenes", "dog.jpg", "gradient", target)
    assert torch.equal(load("out.npz").heatmap, here_too.heatmap)


def test_several_targets_of_several_pictures(photos, seewhy):
    out = seewhy("explain photos -o out --format npz -t mug -t 3 -t stages.1:3 --batch-size 2")
    assert out.fine().count("written") == 3
    for file in "ab":
        one = load(f"out/{file}.grad-cam.npz")
        assert one.target_names == ["mug", one.class_name(3), "stages.1:3"]
        assert {picture.source for picture in one.batch.pictures} == {
            f"photos/{file}.{'jpg' if file == 'a' else 'png'}"
        }
    against = seewhy("explain photos/a.jpg -t mug -t 3 --against bottle --json").fine()
    assert [p["target"]["index"] for p in json.loads(against)[0]["pictures"]] == [None, None]


def test_fast_precision_is_told_and_close(here, seewhy):
    seewhy("explain dog.jpg -o full.npz").fine()
    seewhy("explain dog.jpg -o fast.npz --precision fast").fine()
    full, fast = load("full.npz"), load("fast.npz")
    assert (full.provenance.precision, fast.provenance.precision) == ("full", "fast")
    assert not torch.equal(full.heatmap, fast.heatmap)
    assert (full.heatmap - fast.heatmap).abs().max() < 0.05 * full.heatmap.abs().max()


def test_the_layer_by_either_spelling(here, seewhy):
    seewhy("explain dog.jpg --layer stages.1 -o a.npz").fine()
    seewhy("explain dog.jpg --set layer=stages.1 -o b.npz").fine()
    a, b = load("a.npz"), load("b.npz")
    assert a.provenance.layer == b.provenance.layer == "stages.1"
    assert torch.equal(a.heatmap, b.heatmap)


def test_json_alone_writes_no_file(here, seewhy):
    (one,) = json.loads(seewhy("explain dog.jpg --json").fine())
    assert one["file"] is None
    assert one["provenance"]["layer"] == "stages"
    assert files_in(here) == ["dog.jpg"]


def test_json_with_an_output_names_the_file(here, seewhy):
    (one,) = json.loads(seewhy("explain dog.jpg --json -o dog.npz").fine())
    assert one["file"] == "dog.npz"
    assert Path("dog.npz").exists()


def test_quiet_says_nothing(here, seewhy):
    assert seewhy("explain dog.jpg -q").fine() == ""


def test_a_folder_becomes_a_folder(photos, seewhy):
    out = seewhy("explain photos -o out").fine()
    assert files_in(Path("out")) == ["a.grad-cam.png", "b.grad-cam.png", "c.grad-cam.png"]
    assert out.count("written") == 3


def test_batches_do_not_change_the_numbers(photos, seewhy):
    for size in (1, 2, 16):
        seewhy(f"explain photos -o out{size} --format npz --batch-size {size} -q").fine()
        for name in "abc":
            ours, alone = (load(f"{f}/{name}.grad-cam.npz") for f in (f"out{size}", "out1"))
            np.testing.assert_allclose(ours.heatmap, alone.heatmap, atol=1e-5)


def test_a_folder_with_one_bad_picture_does_the_others(photos, seewhy):
    (photos / "bad.jpg").write_text("not a picture")
    (photos / "empty.png").touch()
    result = seewhy("explain photos -o out -q --batch-size 2")
    assert result.status == 2
    assert files_in(Path("out")) == ["a.grad-cam.png", "b.grad-cam.png", "c.grad-cam.png"]
    assert len(result.lines) == 2
    assert all(line.startswith("seewhy: skipped: photos/") for line in result.lines)
    assert "bad.jpg is not a picture" in result.err and "empty.png is empty" in result.err


def test_a_bad_picture_leaves_json_sound(photos, seewhy):
    (photos / "bad.jpg").write_text("not a picture")
    result = seewhy("explain photos --json")
    assert result.status == 2
    assert len(json.loads(result.out)) == 3
    assert "bad.jpg" in result.err


def test_an_empty_file_among_several_does_not_stop_the_others(photos, seewhy):
    Path("empty.jpg").touch()
    result = seewhy("explain photos/a.jpg empty.jpg photos/b.png -o out -q")
    assert result.status == 2
    assert "empty.jpg is empty" in result.err
    assert files_in(Path("out")) == ["a.grad-cam.png", "b.grad-cam.png"]


def test_same_names_from_different_folders(photos, scene, seewhy):
    for folder in ("x/one", "y/one"):
        Path(folder).mkdir(parents=True)
        scene.save(f"{folder}/dog.jpg")
    scene.save("dog.png")
    seewhy("explain dog.jpg dog.png x y/one photos/a.jpg -o out -q").refused("x holds no picture")
    seewhy("explain dog.jpg dog.png x/one y/one photos/a.jpg -o out -q").fine()
    assert files_in(Path("out")) == [
        "a.grad-cam.png",
        "dog.png.grad-cam.png",
        f"{Path.cwd().name}-dog.jpg.grad-cam.png",
        "x-one-dog.jpg.grad-cam.png",
        "y-one-dog.jpg.grad-cam.png",
    ]


def test_a_picture_named_twice_is_explained_once(photos, seewhy):
    out = seewhy("explain photos photos/a.jpg ./photos/../photos/b.png -o out").fine()
    assert out.count("written") == 3


def test_earlier_explanations_in_a_folder_are_no_pictures(here, seewhy):
    seewhy("explain .").fine()
    assert files_in(here) == ["dog.grad-cam.png", "dog.jpg"]
    seewhy("explain . --method gradient").fine()
    assert files_in(here) == ["dog.grad-cam.png", "dog.gradient.png", "dog.jpg"]
    Path("dog.jpg").unlink()
    seewhy("explain .").refused("holds only explanations")


def test_a_folder_of_one_goes_to_a_folder(here, seewhy):
    Path("one").mkdir()
    Path("dog.jpg").rename("one/dog.jpg")
    seewhy("explain one -o out.png").refused("name a folder")
    seewhy("explain one -o out").fine()
    assert files_in(Path("out")) == ["dog.grad-cam.png"]


def test_one_picture_into_a_folder_that_is_there(here, seewhy):
    Path("out").mkdir()
    seewhy("explain dog.jpg -o out --format json").fine()
    assert files_in(Path("out")) == ["dog.grad-cam.json"]


def test_resume_does_only_what_is_missing(photos, seewhy):
    seewhy("explain photos -o out -q").fine()
    kept = Path("out/a.grad-cam.png").stat().st_mtime_ns
    Path("out/b.grad-cam.png").unlink()
    out = seewhy("explain photos -o out --resume").fine()
    assert out.startswith("2 of 3 pictures were done before")
    assert out.count("written") == 1
    assert Path("out/a.grad-cam.png").stat().st_mtime_ns == kept
    assert Path("out/b.grad-cam.png").exists()
    assert json.loads(seewhy("explain photos -o out --resume --json").fine()) == []


def test_pictures_of_many_sizes_for_a_network_that_takes_any(photos, scene, seewhy):
    scene.resize((80, 60)).save(photos / "d.png")
    Path("any_size.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), *pool, nn.Linear(4, 5))\n"
    )
    out = seewhy("explain photos -o out -m any_size:make").fine()
    assert out.count("written") == 4


def test_class_names_from_a_file(here, seewhy):
    names = "tabby, tabby cat\ntiger cat\nPersian cat\nred fox\ngoldfish\nape\nbee\ncow\ndoe\nelk\n"
    Path("names.txt").write_text(names)
    out = seewhy("explain dog.jpg --classes names.txt --target tabby").fine()
    assert "target    tabby, tabby cat" in out
    seewhy("explain dog.jpg --classes names.txt --target tiger").refused("did you mean tiger cat")


@pytest.mark.parametrize("interrupted_at", [0, 2])
def test_an_interrupted_run_keeps_what_is_finished(interrupted_at, photos, seewhy, monkeypatch):
    import seewhy.cli.explaining as command

    real, count = command.explain_pictures, 0

    def explain_or_stop(*args, **keywords):
        nonlocal count
        if count == interrupted_at:
            raise KeyboardInterrupt
        count += 1
        return real(*args, **keywords)

    monkeypatch.setattr(command, "explain_pictures", explain_or_stop)
    result = seewhy("explain photos -o out --batch-size 1 --json")
    assert result.status == 130
    assert len(json.loads(result.out)) == interrupted_at == len(files_in(Path("out")))
    (line,) = result.lines
    said = f"{interrupted_at} of 3 pictures are finished" if interrupted_at else "no picture was"
    assert line.startswith("seewhy: interrupted") and said in line
    monkeypatch.undo()
    seewhy(f"explain {photos} -o {photos.parent}/out --resume -q").fine()
    assert len(files_in(photos.parent / "out")) == 3
