"""A network trained on ImageNet and photographs, from the command line."""

import json
import os
from pathlib import Path

import pytest
from terminal import files_in

REAL = os.environ.get("SEEWHY_REAL")
pytestmark = pytest.mark.skipif(not REAL, reason="SEEWHY_REAL names no folder of real models")
MODEL = f"-m torchvision/squeezenet1_1 -w {REAL}/models/squeezenet1_1_imagenet_fp16.safetensors"


@pytest.fixture
def photo() -> Path:
    return sorted(Path(f"{REAL}/images/imagenet").glob("*tench*.jpg"))[0]


def test_a_photograph_is_recognised_and_explained(photo, here, seewhy):
    out = seewhy(f"explain {photo} {MODEL} -o tench.png").fine()
    assert "target    tench" in out
    assert "features" in out and "(automatic)" in out
    assert Path("tench.png").stat().st_size > 10_000


def test_a_class_by_name_and_by_index_is_the_same(photo, here, seewhy):
    by_name, by_index = (
        json.loads(seewhy(f"explain {photo} {MODEL} --json -t {target}").fine())[0]["pictures"][0]
        for target in ("'tiger shark'", "3")
    )
    assert by_name["target"] == by_index["target"] == {"index": 3, "name": "tiger shark"}


def test_nearest_classes_are_offered(photo, here, seewhy):
    seewhy(f"explain {photo} {MODEL} -t tabbby").refused("unknown class 'tabbby'", "tabby")


def test_weights_of_another_network(photo, here, seewhy):
    other = f"{REAL}/models/resnet20_cifar10.safetensors"
    seewhy(f"explain {photo} -m torchvision/squeezenet1_1 -w {other}").refused(
        "resnet20_cifar10.safetensors does not fit torchvision/squeezenet1_1", "missing"
    )
    assert files_in(here) == ["dog.jpg"]
