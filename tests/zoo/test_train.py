import json

import pytest
import torch
from safetensors.torch import load_file

from seewhy.scenes import Shortcut, render, sample
from seewhy.zoo.network import SceneNet
from seewhy.zoo.train import Settings, card, main, train, training_pictures, write

TINY = Settings(
    "tiny",
    "A test.",
    Shortcut("mug", 0.9),
    pictures=96,
    epochs=2,
    batch=16,
    widths=(8, 8, 8),
    held_out=20,
)


def test_training_pictures_are_the_rendered_scenes():
    pictures, classes = training_pictures(TINY)
    factors = sample(96, TINY.seed, shortcut=TINY.shortcut)
    assert torch.equal(classes, factors.shape)
    assert (pictures / 255 - render(factors, 64).pixels).abs().max() <= 0.5 / 255 + 1e-6


def test_training_lowers_the_loss_and_gives_the_same_network_twice(capsys):
    first, second = train(TINY), train(TINY)
    assert not first.training
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert losses[1] < losses[0]


def test_weights_and_card_are_written_whole(tmp_path):
    net = SceneNet(10, TINY.widths).eval()
    facts = card(TINY, net, seconds=1.0)
    write(tmp_path, "tiny", net, facts)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.json", "tiny.safetensors"]
    stored = load_file(tmp_path / "tiny.safetensors")
    assert all(torch.equal(stored[k], v) for k, v in net.state_dict().items())
    read = json.loads((tmp_path / "tiny.json").read_text())
    assert read["accuracy"]["count"] == 20 and read["training"]["shortcut"]["cls"] == "mug"


def test_a_bad_argument_ends_with_status_2(capsys, tmp_path):
    for arguments in (["--epochs", "none"], ["--out", str(tmp_path / "missing")]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert "missing" in capsys.readouterr().err.splitlines()[-1]
