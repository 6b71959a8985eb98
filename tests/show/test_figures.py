import dataclasses
import io

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.attribution.explanation import Panel
from seewhy.attribution.figure import figure
from seewhy.errors import SeewhyError
from seewhy.show.rendering import image_bytes


def texts(drawn) -> str:
    axes = [text.get_text() for axis in drawn.axes for text in axis.texts]
    labels = [label.get_text() for axis in drawn.axes for label in axis.get_xticklabels()]
    return "\n".join(axes + labels + [text.get_text() for text in drawn.texts])


def test_a_figure_names_everything_a_reader_needs(panel):
    written = texts(figure(panel))
    for part in ("tabby 0.84", "predicted", "integrated-gradients", "features.3 (automatic)"):
        assert part in written
    assert "explained: <script>alert(1)</script> 0.24" in written
    assert "skipped attention-rollout: no <i>attention</i> layers" in written
    assert "small/net" in written


def test_a_figure_names_each_question(questions):
    written = texts(figure(questions))
    assert "explained: <script>alert(1)</script> 0.04" in written
    assert "explained: layer3<b>:17 = −5.25" in written
    assert "nan" not in written


def test_the_colour_bar_carries_real_values(unsigned):
    heatmap = unsigned.heatmap[:1]
    written = texts(figure(unsigned[0]))
    assert f"{np.percentile(heatmap.numpy(), 99.5):.3g}" in written


def test_the_image_in_the_figure_is_the_overlay(explanation):
    from seewhy.attribution.drawing import draw

    one = explanation[0]
    picture, overlaid = (axis.images[0].get_array() for axis in figure(one).axes[:2])
    assert np.array_equal(picture, one.batch.pixels[0].permute(1, 2, 0).numpy())
    assert np.array_equal(overlaid, draw(one).overlay.permute(1, 2, 0).numpy())


def test_a_long_name_does_not_push_out_the_probability(explanation):
    named = dataclasses.replace(explanation[0], classes=["tabby, " * 9, "b", "c"])
    assert "… 0.84" in texts(figure(named))


def test_broken_maps_say_so(broken):
    drawn = figure(broken)
    labels = "\n".join(axis.get_xlabel() for axis in drawn.axes)
    assert "13 values (6.8 %) are not finite" in labels
    assert "every value is zero" in texts(drawn)


def test_many_methods_wrap(explanation):
    drawn = figure(Panel((explanation[0],) * 5))
    columns = {round(axis.get_position().x0, 2) for axis in drawn.axes if axis.images}
    rows = {round(axis.get_position().y1, 2) for axis in drawn.axes if axis.images}
    assert len(rows) >= 2
    assert len(columns) <= 8  # a picture, three maps, and the colour bars


def test_matplotlib_is_left_as_it_was(panel):
    before = dict(matplotlib.rcParams)
    image_bytes(figure(panel), ".png")
    assert dict(matplotlib.rcParams) == before


def test_class_names_are_not_read_as_formulas(explanation):
    odd = explanation[1]  # its predicted class is "$x^2_cat"
    assert "$x^2_cat 0.67" in texts(figure(odd))
    image_bytes(figure(odd), ".png", dpi=40)


def test_names_in_other_scripts_are_drawn_without_a_warning(explanation):
    named = dataclasses.replace(explanation[0], classes=["猫", "b", "c"])
    assert image_bytes(figure(named), ".png", dpi=40)


def test_png_has_the_size_that_dpi_says(explanation, tmp_path):
    explanation[0].save(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        width, height = image.size
    inches = figure(explanation[0]).get_size_inches()
    assert (width, height) == pytest.approx(tuple(inches * 150), abs=1)


def test_a_panel_without_any_method_says_why():
    with pytest.raises(SeewhyError, match="cam: no convolution"):
        figure(Panel((), (("cam", "no convolution"),)))


def test_notebook_display_is_an_image_with_an_escaped_caption(panel):
    shown = panel._repr_html_()
    assert '<img src="data:image/png;base64,' in shown
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert panel._repr_html_() == shown


def test_maps_of_one_channel_pixels(explanation):
    batch = dataclasses.replace(explanation.batch, pixels=torch.rand(2, 1, 12, 16))
    content = image_bytes(figure(dataclasses.replace(explanation, batch=batch)), ".png", dpi=40)
    assert Image.open(io.BytesIO(content)).format == "PNG"
