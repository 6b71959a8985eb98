"""`seewhy check`: the table, its files, and the exit status."""

import json
from pathlib import Path

import seewhy as package

MIXING = """
import torch
from seewhy import zoo

class Centred(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        logits = self.net(x)
        return logits - logits.mean()

def build():
    return Centred(zoo.load("scenes")[0])
"""


def test_a_sound_network(here, seewhy):
    out = seewhy("check dog.jpg").fine()
    assert "model     scenes: " in out and "differs" not in out.splitlines()[0]
    assert "dog.jpg, 64 x 64" in out and "gradient and finite differences" in out


def test_without_a_picture_and_as_json(here, seewhy):
    data = json.loads(seewhy("check --json -o check.npz").fine())
    assert data["ok"] and "rendered room" in data["picture"]
    saved = package.SelfCheck.load("check.npz")
    assert saved.to_dict() == data


def test_the_status_is_1_where_a_row_differs(here, seewhy, monkeypatch):
    Path("mixing.py").write_text(MIXING)
    monkeypatch.syspath_prepend(here)
    result = seewhy("check dog.jpg -m mixing:build --json")
    assert (result.status, result.err) == (1, "")
    differing = [r["name"] for r in json.loads(result.out)["checks"] if r["verdict"] == "differs"]
    assert "gradient in a batch" in differing
    assert seewhy("check dog.jpg -m mixing:build -q").out == ""


def test_a_file_that_cannot_be_written_is_refused_before_any_work(here, seewhy):
    seewhy("check dog.jpg -o check.doc").refused("check.doc", ".png")
    seewhy("check nobody.jpg").refused("nobody.jpg")
