"""Weights from files: read without running code, and checked against the network."""

import argparse
import os
import pickle
import warnings

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from seewhy.errors import SeewhyError
from seewhy.sources import open_model, read_weights

NAME = "torchvision/squeezenet1_1"


def squeezenet(classes: int = 1000) -> nn.Module:
    torch.manual_seed(1)
    return torchvision.models.squeezenet1_1(num_classes=classes)


def refused(file, name: str = NAME, **options) -> str:
    """Return the error message, which must be one line and name the file."""
    with pytest.raises(SeewhyError) as error:
        open_model(name, file, **options)
    text = str(error.value)
    assert "\n" not in text
    assert str(file) in text
    return text


def assert_same(net: nn.Module, state: dict[str, torch.Tensor]) -> None:
    for key, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, state[key].to(tensor.dtype), rtol=0, atol=0)


@pytest.fixture(scope="module")
def state():
    return squeezenet().state_dict()


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "bin", "legacy.pt"])
def test_every_format_is_read(tmp_path, state, suffix):
    file = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=not suffix.startswith("legacy"))
    assert_same(open_model(NAME, file).net, state)


def test_the_content_decides_not_the_suffix(tmp_path, state):
    torch.save(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.pt")
    assert read_weights(tmp_path / "a.safetensors").keys() == state.keys()
    assert read_weights(tmp_path / "b.pt").keys() == state.keys()


def test_a_safetensors_header_of_any_length_is_recognised(tmp_path):
    starts = set()
    for length in range(0, 260, 8):  # with one of these, the first byte is that of a pickle, 0x80
        file = tmp_path / "padded.safetensors"
        save_file({"weight": torch.ones(3)}, file, metadata={"note": "x" * length})
        starts.add(file.read_bytes()[:1])
        assert read_weights(file)["weight"].tolist() == [1, 1, 1]
    assert b"\x80" in starts


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_cast(tmp_path, state, dtype):
    cast = {key: tensor.to(dtype) for key, tensor in state.items()}
    save_file(cast, tmp_path / "cast.safetensors")
    model = open_model(NAME, tmp_path / "cast.safetensors")
    assert {p.dtype for p in model.net.parameters()} == {torch.float32}
    assert_same(model.net, cast)


@pytest.mark.parametrize(
    "wrapper", ["state_dict", "model_state_dict", "model", "net", "teacher", "ema"]
)
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "net.", "module.model."])
def test_wrapped_and_prefixed_weights_are_found(tmp_path, state, wrapper, prefix):
    prefixed = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    args = argparse.Namespace(lr=0.1)
    torch.save({"epoch": 3, wrapper: prefixed, "args": args}, tmp_path / "best.pt")
    assert_same(open_model(NAME, tmp_path / "best.pt").net, state)


def test_batch_norm_counters_may_be_missing(tmp_path):
    net = torchvision.models.resnet18()
    without = {k: v for k, v in net.state_dict().items() if "num_batches_tracked" not in k}
    torch.save(without, tmp_path / "old.pth")
    model = open_model("torchvision/resnet18", tmp_path / "old.pth")
    assert torch.equal(model.net.state_dict()["fc.weight"], without["fc.weight"])


def test_another_number_of_classes_rebuilds_the_head_without_names(tmp_path):
    net = squeezenet(7)
    save_file(net.state_dict(), tmp_path / "seven.safetensors")
    model = open_model(NAME, tmp_path / "seven.safetensors")
    assert model.classes is None
    assert_same(model.net, net.state_dict())
    with torch.no_grad():
        assert model(torch.rand(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(
    "kind", ["list", "mapping", "txt", "json-list", "json-names", "json-dicts"]
)
def test_class_names_come_in_many_forms(tmp_path, kind):
    import json

    names = [f"kind {i}" for i in range(11)]
    file = tmp_path / ("names.txt" if kind == "txt" else "names.json")
    given = {
        "list": names,
        "mapping": dict(enumerate(names)),
        "txt": "\n".join(names) + "\n\n",
        "json-list": json.dumps(names),
        "json-names": json.dumps({str(i): n for i, n in reversed(list(enumerate(names)))}),
        "json-dicts": json.dumps({str(i): {"name": n, "wnid": "x"} for i, n in enumerate(names)}),
    }[kind]
    if isinstance(given, str):
        file.write_text(given)
        given = file
    assert open_model(NAME, "random", classes=given).classes == names


@pytest.mark.parametrize(
    ("file_name", "content", "says"),
    [
        ("names.txt", "", "is empty"),
        ("names.txt", "\n\n", "holds no class names"),
        ("names.json", "[1, 2]", "class 0 of"),
        ("names.json", "{", "is not valid JSON"),
        ("names.json", '{"0": "cat", "2": "dog"}', "has no class 1"),
        ("names.json", "3", "holds no class names"),
        ("names.txt", b"\xff\xfe\xff", "is not UTF-8 text"),
    ],
)
def test_a_bad_file_of_class_names_is_named(tmp_path, file_name, content, says):
    file = tmp_path / file_name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SeewhyError) as error:
        open_model(NAME, "random", classes=file)
    assert says in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_of_class_names_offers_the_nearest(tmp_path):
    (tmp_path / "names.txt").write_text("cat")
    with pytest.raises(SeewhyError, match=r"did you mean names\.txt\?"):
        open_model(NAME, "random", classes=tmp_path / "name.txt")


def test_the_number_of_class_names_must_fit_the_weights(tmp_path):
    save_file(squeezenet(3).state_dict(), tmp_path / "three.safetensors")
    model = open_model(NAME, tmp_path / "three.safetensors", classes=["a", "b", "c"])
    assert model.classes == ["a", "b", "c"]
    with pytest.raises(SeewhyError, match="has 3 classes, but 2 class names were given"):
        open_model(NAME, tmp_path / "three.safetensors", classes=["a", "b"])


def test_another_architecture_is_counted_in_one_line(tmp_path):
    file = tmp_path / "resnet18.safetensors"
    save_file(torchvision.models.resnet18().state_dict(), file)
    text = refused(file, "torchvision/resnet50")
    assert "does not fit torchvision/resnet50" in text
    assert "missing (first: layer1.0.conv3.weight)" in text
    assert "of another shape (layer1.0.conv1.weight: file 64x64x3x3, network 64x64x1x1)" in text


def test_unexpected_tensors_are_not_ignored(tmp_path, state):
    save_file({**state, "extra.weight": torch.ones(3)}, tmp_path / "more.safetensors")
    text = refused(tmp_path / "more.safetensors")
    assert "1 tensor unexpected (first: extra.weight)" in text


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_name_the_tensor(tmp_path, state, value):
    broken = {key: tensor.clone() for key, tensor in state.items()}
    broken["features.3.squeeze.weight"][0, 0] = value
    save_file(broken, tmp_path / "diverged.safetensors")
    text = refused(tmp_path / "diverged.safetensors")
    assert "NaN or infinite values in features.3.squeeze.weight" in text


def test_quantised_weights_are_refused(tmp_path, state):
    small = {key: (tensor * 9).to(torch.int8) for key, tensor in state.items()}
    save_file(small, tmp_path / "int8.safetensors")
    assert "look quantised" in refused(tmp_path / "int8.safetensors")


class RunsCode:
    """Unpickling this creates a folder."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path, how):
    trace, file = tmp_path / "trace", tmp_path / "evil.pt"
    evil = {"state_dict": RunsCode(str(trace))}
    if how == "pickle":
        file.write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save(evil, file, _use_new_zipfile_serialization=how == "zip")
    text = refused(file)
    assert "would run code" in text
    assert ".safetensors" in text
    assert not trace.exists()


def test_a_whole_pickled_network_names_its_class(tmp_path):
    torch.save(squeezenet(3), tmp_path / "whole.pt")
    text = refused(tmp_path / "whole.pt")
    assert "would run code (it imports torchvision.models.squeezenet.SqueezeNet)" in text


def test_torchscript_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    assert "it is TorchScript" in refused(tmp_path / "script.pt")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["safetensors", "pt", "legacy.pt"])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    state, file = squeezenet(2).state_dict(), tmp_path / f"part.{suffix}"
    if suffix == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=suffix == "pt")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert "is truncated or" in refused(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"epoch": 3, "loss": 0.5}, "holds no state dict, but the keys epoch, loss"),
        ({}, "holds no state dict, but nothing"),
        ([1, 2], "holds no state dict, but a list"),
        (torch.ones(3), "holds no state dict, but a Tensor"),
    ],
)
def test_checkpoints_without_weights_say_what_they_hold(tmp_path, content, says):
    torch.save(content, tmp_path / "other.pt")
    assert says in refused(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, I am text", "holds no weights that can be read"),
        (pickle.dumps({"a": {1, 2}}, protocol=4), "pickle of something other than weights"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, content, says):
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    assert says in refused(file)


def test_a_missing_file_offers_the_nearest(tmp_path, state):
    save_file(state, tmp_path / "best.safetensors")
    text = refused(tmp_path / "bset.safetensors")
    assert "did you mean best.safetensors?" in text


def test_a_folder_is_not_a_file_of_weights(tmp_path):
    assert "is a folder; give a weights file" in refused(tmp_path)
