"""A trunk's checkpoint beside a prior on whole images: simulated coding, or files.

    PYTHONPATH=. python checkpoints/trunk/evaluate.py CHECKPOINT PRIOR FOLDER [--images 6] [--levels 24 40 56] [--files]

CHECKPOINT is what ``pack.py`` wrote, PRIOR a prior file of the pyramid family, FOLDER has the images.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
from pack import unpacked

from combiner_cli.families.pyramid.encoder import ImageSimulation
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.families.pyramid.trunk.model import TrunkModel, TrunkShape
from combiner_cli.families.pyramid.trunk.prior import TrunkPrior, problem
from combiner_cli.media import files as media
from combiner_cli.priors import store


def trunk_prior(checkpoint: Path, like: PyramidPrior) -> TrunkPrior:
    """The prior of a checkpoint's networks in whole numbers; all else is that of a prior."""
    state = unpacked(checkpoint)
    shape = {name: tuple(value) if isinstance(value, list) else value for name, value in state["shape"].items()}
    model = TrunkModel(TrunkShape(**shape))
    model.load_state_dict(state["averaged"])
    prior = TrunkPrior(
        "trunk", "image", like.noise_codes, like.rates, like.errors, like.size, model.stored(), like.parts_from
    )
    reason = problem(prior)
    if reason is not None:
        raise SystemExit(reason)
    return prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("prior", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--levels", type=int, nargs="+", default=[24, 40, 56])
    arguments = parser.parse_args()
    photo = store.load(arguments.prior)
    assert isinstance(photo, PyramidPrior)
    trunk = trunk_prior(arguments.checkpoint, photo)
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix in (".png", ".webp"))[: arguments.images]
    print(
        "level: bits per pixel and dB of the prior, of the trunk; the trunk's cost less the prior's; processor seconds"
    )
    for level in arguments.levels:
        rates, errors, costs, seconds = np.zeros((4, 2, len(paths)))
        for number, path in enumerate(paths):
            signal = media.read_signal(path)
            pixels = signal.shape[0] * signal.shape[1] if hasattr(signal, "shape") else signal.points
            for place, prior in enumerate((photo, trunk)):
                begun = time.process_time()
                simulation = ImageSimulation(prior, signal)
                expected = simulation.cost(level)
                seconds[place, number] = time.process_time() - begun
                rates[place, number] = (expected.bits + expected.class_bits) / pixels
                errors[place, number] = expected.squared_error / (3 * pixels)
                noise = simulation.noise_variance(level)
                costs[place, number] = rates[place, number] + expected.squared_error / (
                    2 * noise * math.log(2) * pixels
                )
        decibels = 10 * np.log10(4 / errors).mean(axis=1)
        rate, cost = rates.mean(axis=1), costs.mean(axis=1)
        print(
            f"{level}: {rate[0]:.4f} {decibels[0]:.3f}, {rate[1]:.4f} {decibels[1]:.3f}; "
            f"rate {100 * (rate[1] / rate[0] - 1):+.2f} %, "
            f"{decibels[1] - decibels[0]:+.3f} dB, cost {100 * (cost[1] / cost[0] - 1):+.2f} %; "
            f"{seconds[0].mean():.2f} and {seconds[1].mean():.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
