"""Load pictures from any source, prepare them for a model, and map heatmaps back to them.

picture = load_picture("dog.jpg")                    # upright RGB in [0, 1]
batch = prepare([picture, "cat.png"], Preparation(size=(224, 224), resize=256))
batch.views[0].to_original(heatmap)                  # at the resolution of dog.jpg
"""

from seewhy.images.batching import each_of, in_batches
from seewhy.images.coercing import as_picture
from seewhy.images.files import find_pictures, nearby
from seewhy.images.loading import load_picture, picture_from_bytes
from seewhy.images.picture import Picture
from seewhy.images.preparing import Batch, Preparation, prepare, reduced
from seewhy.images.view import View

__all__ = [
    "Batch",
    "Picture",
    "Preparation",
    "View",
    "as_picture",
    "each_of",
    "find_pictures",
    "in_batches",
    "load_picture",
    "nearby",
    "picture_from_bytes",
    "prepare",
    "reduced",
]
