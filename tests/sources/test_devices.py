"""Finding devices by name."""

import pytest
import torch

from seewhy.errors import SeewhyError, Unknown
from seewhy.sources import as_device, open_model


def test_the_cpu_is_always_there():
    assert as_device("cpu") == as_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_said(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SeewhyError, match=f"no device {name}: torch finds no CUDA GPU"):
        open_model("torchvision/squeezenet1_1", "random", device=name)


def test_a_gpu_number_beyond_the_last_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert as_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(SeewhyError, match="the last one here is cuda:1"):
        as_device("cuda:2")


def test_apple_gpus(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SeewhyError, match="no Apple GPU"):
        as_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert as_device("mps") == torch.device("mps")


@pytest.mark.parametrize("name", ["cude", "gpu", "cuda:x", "", "cuda:-1"])
def test_an_unknown_device_offers_what_there_is(name):
    with pytest.raises(Unknown) as error:
        as_device(name)
    assert "did you mean" in str(error.value) or "expected cpu" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU")
def test_a_model_moves_to_the_gpu():
    model = open_model("torchvision/squeezenet1_1", "random", device="cuda")
    assert model.device.type == "cuda"
    assert model(model.prepare(torch.rand(3, 64, 64)).pixels).device.type == "cuda"
