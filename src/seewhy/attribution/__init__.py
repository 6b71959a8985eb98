"""Attribution maps: which parts of a picture a model's output depends on."""
