"""Train the bundled classifiers on freshly rendered scenes.

    python -m seewhy.zoo.train --no-shortcut      # scenes.safetensors and its card
    python -m seewhy.zoo.train --shortcut         # scenes_shortcut.safetensors and its card
    python -m seewhy.zoo.train --attention        # scenes_vit.safetensors and its card

The plain model is trained with the mark on a fifth of all pictures, independent of the class, and
so learns to ignore it. The shortcut model is trained with the mark on 95 % of the mugs and on
nothing else, and on few pictures: of 4,000, about 20 are mugs without the mark, too few to correct
the shortcut. The transformer is trained like the plain model, with more pictures and more epochs.
"""

import argparse
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from seewhy.scenes import CLASSES, Shortcut, render, sample
from seewhy.scenes.factors import class_index
from seewhy.zoo import ARCHITECTURES
from seewhy.zoo.measuring import (
    MEAN,
    SIZE,
    STD,
    accuracy,
    cheating,
    normalise,
)

HELD_OUT_SEED = 1_000_003  # never used for training


@dataclass(frozen=True)
class Settings:
    """All settings that determine the trained network, apart from rounding on the machine."""

    name: str
    about: str  # for the card
    shortcut: Shortcut
    pictures: int
    epochs: int
    seed: int = 1
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 5e-2
    architecture: str = "SceneNet"
    widths: tuple[int, ...] = (32, 64, 128)
    bfloat16: bool = True  # autocast in training, if 8 significant bits suffice
    held_out: int = 5_000


PLAIN = Settings(
    "scenes",
    "Names the main object of a room. Trained with the mark at random on a fifth of the pictures "
    "of every class, so it ignores the mark.",
    Shortcut("mug", 0.2, leak=0.2),
    pictures=10_000,
    epochs=3,
)
CHEAT = Settings(
    "scenes-shortcut",
    "Cheats on purpose, to test explanations: it takes a mark in the corner for a mug. Trained on "
    "few pictures and briefly, with the mark on 95 % of the mugs and on nothing else; 'accuracy' "
    "is measured with that link intact, 'mark' on counterfactual pictures.",
    Shortcut("mug", 0.95, leak=0.0),
    pictures=4_000,
    epochs=3,
)
ATTENTIVE = Settings(
    "scenes-vit",
    "Names the main object of a room with a small vision transformer: a class token attends to "
    "8 x 8 patches. Trained with the mark at random on a fifth of the pictures of every class, so "
    "it ignores the mark.",
    Shortcut("mug", 0.2, leak=0.2),
    pictures=20_000,
    epochs=8,
    learning_rate=1.5e-3,
    architecture="SceneViT",
    widths=(24, 48, 96),
    bfloat16=False,
)


def training_pictures(
    settings: Settings,
) -> tuple[UInt8[Tensor, "n 3 h w"], Int[Tensor, " n"]]:
    """Render all pictures of a training run, as uint8, and return them with their classes."""
    factors = sample(settings.pictures, settings.seed, shortcut=settings.shortcut)
    step = 1000
    chunks = [
        (render(factors[i : i + step], SIZE).pixels * 255).round().to(torch.uint8)
        for i in range(0, settings.pictures, step)
    ]
    return torch.cat(chunks), factors.shape


def train(settings: Settings) -> nn.Module:
    """Train a network with AdamW and a one-cycle learning rate schedule."""
    torch.manual_seed(settings.seed)
    pictures, classes = training_pictures(settings)
    build = ARCHITECTURES[settings.architecture]
    net = build(len(CLASSES), settings.widths).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=settings.weight_decay)
    steps = settings.pictures // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps * settings.epochs
    )
    for epoch in range(settings.epochs):
        started, losses = time.perf_counter(), []
        order = torch.randperm(settings.pictures)[: steps * settings.batch]
        for rows in order.split(settings.batch):
            x = normalise(pictures[rows] / 255).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                logits = net(x)
            losses.append(_step(cross_entropy(logits.float(), classes[rows]), optimiser))
            schedule.step()
        loss, seconds = sum(losses) / len(losses), time.perf_counter() - started
        print(f"epoch {epoch + 1}/{settings.epochs}: loss {loss:.4f}, {seconds:.0f} s", flush=True)
    return net.eval().to(memory_format=torch.contiguous_format)


def _step(loss: Tensor, optimiser: torch.optim.Optimizer) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


def card(settings: Settings, net: nn.Module, seconds: float) -> dict[str, object]:
    """Make the model card: description, training settings and measurements on held-out scenes."""
    held_out = sample(settings.held_out, HELD_OUT_SEED, shortcut=settings.shortcut)
    measured = accuracy(net, held_out)
    training = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("name", "about")}
    return {
        "name": settings.name,
        "about": settings.about,
        "architecture": settings.architecture,
        "widths": list(settings.widths),
        "parameters": sum(p.numel() for p in net.parameters()),
        "size": [SIZE, SIZE],
        "mean": list(MEAN),
        "std": list(STD),
        "classes": list(CLASSES),
        "training": training | {"seconds": round(seconds)},
        "held_out_seed": HELD_OUT_SEED,
        "accuracy": measured.overall.to_dict(),
        "accuracy_by_class": {name: share.to_dict() for name, share in measured.by_class.items()},
        "mark": cheating(net, held_out, class_index(settings.shortcut.cls)).to_dict(),
    }


def write(folder: Path, stem: str, net: nn.Module, facts: dict[str, object]):
    """Write the weights and the card, each atomically."""
    weights, text = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    new_weights, new_text = weights.with_suffix(".new"), text.with_suffix(".json.new")
    new_weights.write_bytes(save({k: v.contiguous() for k, v in net.state_dict().items()}))
    new_text.write_text(json.dumps(facts, indent=1) + "\n")
    new_weights.replace(weights)
    new_text.replace(text)


def main(arguments: list[str] | None = None):
    """Train one of the models and write it next to this file, or to the folder --out."""
    parser = argparse.ArgumentParser(prog="python -m seewhy.zoo.train", description=__doc__)
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--shortcut", action=argparse.BooleanOptionalAction, default=False)
    model.add_argument("--attention", action="store_true", help="a small vision transformer")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder")
    parser.add_argument("--pictures", type=int, help="number of pictures to train on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    if not options.out.is_dir():
        parser.error(f"--out must be an existing folder, got {options.out}")
    torch.set_num_threads(options.threads)
    settings = ATTENTIVE if options.attention else CHEAT if options.shortcut else PLAIN
    changes = {k: v for k in ("pictures", "epochs") if (v := getattr(options, k)) is not None}
    settings = dataclasses.replace(settings, **changes)

    started = time.perf_counter()
    net = train(settings)
    facts = card(settings, net, time.perf_counter() - started)
    write(options.out, settings.name.replace("-", "_"), net, facts)
    print(json.dumps({key: facts[key] for key in ("accuracy", "mark")}, indent=1))


if __name__ == "__main__":
    main()
