"""seewhy: see why your vision model decides as it does, and whether you can trust the answer.

    import seewhy

    model = seewhy.open_model("torchvision/resnet50")
    explanation = seewhy.explain(model, "dog.jpg", "grad-cam")
    explanation.save("dog.png")
    seewhy.compare(model, "dog.jpg").save("report.html")

The public names are listed in `__init__.pyi`. Each is loaded when it is first used, so that
importing costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
