import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("layer4.1", Address("layer4.1")),
        ("layer4.1:42", Address("layer4.1", channel=42)),
        ("features.12:42@3,5", Address("features.12", channel=42, position=(3, 5))),
        ("features@0,0", Address("features", position=(0, 0))),
        ("relu#0", Address("relu", call=0)),
        ("relu#2:7@1,10", Address("relu", 2, 7, (1, 10))),
        ("  fc:1 ", Address("fc", channel=1)),
    ],
)
def test_written_form(text: str, address: Address):
    assert Address.parse(text) == address
    assert str(address) == text.strip()


numbers = st.integers(0, 10**6)


@given(
    layer=st.from_regex(r"[a-z_][a-z0-9_]*(\.[a-z0-9_]+){0,3}", fullmatch=True),
    call=st.none() | numbers,
    channel=st.none() | numbers,
    position=st.none() | st.tuples(numbers, numbers),
)
def test_what_is_written_is_read(layer, call, channel, position):
    address = Address(layer, call, channel, position)
    assert Address.parse(str(address)) == address
    assert Address.parse(address) is address


@pytest.mark.parametrize(
    "text", ["", ":3", "a:b", "a@1", "a@1,2,3", "a:1:2", "a#x", "a:-1", "a@1;2"]
)
def test_what_cannot_be_read_is_quoted(text: str):
    with pytest.raises(SeewhyError, match="layer:channel") as caught:
        Address.parse(text)
    assert repr(text) in str(caught.value) and "\n" not in str(caught.value)
