"""Tries shapes of the noise of music by ViSQOL of real files, which takes long: a few clips at some rates.

    python benchmarks/shapes_music.py music_more/ --first 6 --try 28 2 14 --try 40 2 14 --try 48 2 14

Take clips that nothing is measured on later. results/shapes_music.csv says what every shape comes to.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import perceptual
import torch
from common import write_csv

from combiner_cli.bench import measures
from combiner_cli.families.lapped import encoder
from combiner_cli.stages.shape import SoundShape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--first", type=int, default=6, help="take only so many, spread over all")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a recording, from its beginning")
    parser.add_argument("--rates", type=float, nargs="+", default=[48.0], help="kbit/s")
    parser.add_argument("--try", dest="shapes", type=int, nargs=3, action="append", required=True, help="a shape")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = argparse.Namespace(**vars(arguments), names=(), side=None)
    signals = [signal for _, signal in perceptual.chosen(chosen)]
    rows = []
    for numbers in arguments.shapes:
        encoder.PERCEPTUAL_MUSIC = SoundShape.of([*numbers, encoder.PERCEPTUAL_MUSIC.fill])
        for rate in arguments.rates:
            way = perceptual.OwnWay("combiner", f"{rate:g}", rate, "perceptual", None)
            found = []
            for signal in signals:
                size, _, decoded = way.code(signal)
                found.append((8e-3 * size / perceptual.seconds_of(signal), measures.VISQOL.of(signal, decoded)))
            means = np.nanmean(np.array(found, dtype=float), axis=0)
            of_each = " ".join(f"{value or math.nan:.2f}" for _, value in found)
            shape = " ".join(map(str, numbers))
            rows.append({"shape": shape, "kbit/s": f"{means[0]:.2f}", "visqol": f"{means[1]:.3f}", "of each": of_each})
            write_csv("shapes_music.csv", rows)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
