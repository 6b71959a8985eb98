"""Deconvnet: what in the picture could have produced these features?

Backpropagates the logit with R = relu(cotangent) at every ReLU, regardless of its input.
Matthew Zeiler, Rob Fergus: Visualizing and Understanding Convolutional Networks, 2013,
arXiv 1311.2901. The map hardly depends on the class: it shows the network's features, not the
reasons for a decision (Mahendran, Vedaldi: Salient Deconvolutional Networks, 2016).

    seewhy.explain(model, "dog.jpg", "deconvnet")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.rectified import Rectified
from seewhy.autodiff.rules import DECONVNET


@dataclass(frozen=True)
class Deconvnet(Rectified):
    """Features projected to the pixels with rectified cotangents; hardly class-specific."""

    name = "deconvnet"
    question = "What in the picture could have produced these features?"
    source = "Zeiler, Fergus 2013, arXiv 1311.2901"
    rules = DECONVNET
