import numpy as np
import pytest
import torch

import seewhy
from networks import Body
from seewhy.errors import SeewhyError, Unknown
from seewhy.targets import resolve

LOGITS = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
MODEL = seewhy.Model(Body(), classes=["cat, tabby", "Dog", "snow_leopard"])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [1, 0]),
        (2, [2, 2]),
        ("2", [2, 2]),
        ("dog", [1, 1]),
        ("tabby", [0, 0]),
        ("Snow leopard", [2, 2]),
        ([0, 2], [0, 2]),
        (("dog", 0), [1, 0]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor(1), [1, 1]),
        (np.int64(1), [1, 1]),
        (np.array([2, 1]), [2, 1]),
        (range(2), [0, 1]),
    ],
    ids=str,
)
def test_resolved(target, expected: list[int]):
    found = resolve(target, LOGITS, MODEL)
    assert found.tolist() == expected and found.dtype == torch.int64


@pytest.mark.parametrize("target", [3, -1, "3", "-1", [0, 3]])
def test_out_of_range(target):
    with pytest.raises(SeewhyError, match="3 classes, 0 to 2"):
        resolve(target, LOGITS, MODEL)


@pytest.mark.parametrize("target", [[0], [0, 1, 2], torch.tensor([1]), []])
def test_one_for_each_picture(target):
    with pytest.raises(SeewhyError, match="for 2 pictures"):
        resolve(target, LOGITS, MODEL)


def test_the_nearest_class_names_are_offered():
    with pytest.raises(Unknown, match="did you mean Dog"):
        resolve("dogs", LOGITS, MODEL)


def test_names_need_names():
    with pytest.raises(SeewhyError, match="has no class names; give class 'dog' by index"):
        resolve("dog", LOGITS, seewhy.Model(Body()))


@pytest.mark.parametrize("target", [1.5, "--2", "²", {"dog": 1}, [None, 1], b"dog"], ids=str)
def test_what_is_no_class_is_refused_in_one_line(target):
    with pytest.raises(SeewhyError) as caught:
        resolve(target, LOGITS, MODEL)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_a_number_is_a_name_first():
    """Digits as classes, in an order of their own."""
    model = seewhy.Model(Body(), classes=["7", "8", "9"])
    assert resolve("8", LOGITS, model).tolist() == [1, 1]
