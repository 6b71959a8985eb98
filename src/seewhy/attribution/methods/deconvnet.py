"""Deconvnet: what in the picture could have made these features?

Pulls the logit back with R = relu(cotangent) at every rectifier, whatever the forward was.
Matthew Zeiler, Rob Fergus: Visualizing and Understanding Convolutional Networks, 2013,
arXiv 1311.2901. The map hardly depends on the class: it shows the network's features, not the
reasons for a decision (Mahendran and Vedaldi, Salient Deconvolutional Networks, 2016).

    seewhy.explain(model, "dog.jpg", "deconvnet")
"""

from dataclasses import dataclass

from seewhy.attribution.methods.rectified import Rectified
from seewhy.autodiff.rules import DECONVNET


@dataclass(frozen=True)
class Deconvnet(Rectified):
    """Features pulled back through rectified cotangents; hardly specific to the class."""

    name = "deconvnet"
    question = "What in the picture could have made these features?"
    source = "Zeiler, Fergus 2013, arXiv 1311.2901"
    rules = DECONVNET
