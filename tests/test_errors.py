import pytest

from seewhy.errors import NotApplicable, SeewhyError, Unknown, nearest

METHODS = ["gradient", "grad-cam", "guided-backprop", "input-x-gradient", "cam"]


@pytest.mark.parametrize(
    ("name", "best"),
    [("gradcam", "grad-cam"), ("Gradient", "gradient"), ("guided", "guided-backprop")],
)
def test_the_nearest_name_comes_first(name: str, best: str):
    assert nearest(name, METHODS)[0] == best


def test_names_that_contain_the_name_come_after_close_ones():
    assert nearest("gradient", METHODS)[:2] == ["gradient", "input-x-gradient"]


def test_no_more_than_asked_for():
    assert len(nearest("a", [f"a{i}" for i in range(10)], most=2)) == 2


@pytest.mark.parametrize("name", ["", "zzzzzz"])
def test_nothing_is_near_to_nonsense(name: str):
    assert nearest(name, METHODS) == []


def test_unknown_offers_names_or_else_the_hint():
    offered = str(Unknown("method", "gradcam", METHODS, hint="see `seewhy methods`"))
    assert offered.startswith("unknown method 'gradcam'; did you mean grad-cam")
    assert "see" not in offered
    hinted = str(Unknown("method", "zzzzzz", METHODS, hint="see `seewhy methods`"))
    assert hinted == "unknown method 'zzzzzz'; see `seewhy methods`"
    assert str(Unknown("method", "zzzzzz", [])) == "unknown method 'zzzzzz'"


def test_every_error_is_one_that_a_user_can_mend():
    assert issubclass(Unknown, SeewhyError) and issubclass(NotApplicable, SeewhyError)
