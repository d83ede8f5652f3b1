"""Learn the networks of a trunk; ends after so many steps or minutes and goes on where it was when started again.

    PYTHONPATH=. python checkpoints/trunk/learn.py FOLDER --photos PHOTOS [--minutes 60] [--start CHECKPOINT]

PHOTOS has ``train``, ``train_large`` (if there is one) and ``val``. FOLDER gets ``state.pt`` (networks, their running
averages, what the optimiser keeps) and ``curve.jsonl`` (cost of held-out crops; see ``measure``). A checkpoint that
``pack.py`` wrote starts a new folder with the averages of an earlier learning.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import data
import numpy as np
import torch
from pack import unpacked

from combiner_cli.families.pyramid.encoder import PERCEPTUAL
from combiner_cli.families.pyramid.trunk.model import TrunkModel, TrunkShape, multiply_adds
from combiner_cli.families.pyramid.trunk.noise import NoiseShapes
from combiner_cli.families.pyramid.trunk.training import TrunkPass
from combiner_cli.stages.shape import FLAT_PICTURE

USUAL_LEVEL, WEIGHT_OCTAVES = 48, 0.7 / 16
LEVELS = 6  # of crops of 256
WARM_UP, BOUNDED = 100, 20  # steps
MOST_GRADIENT, USUAL_SHARE = 2.0, 0.02  # times the usual norm; of a step in what is usual
FINEST = 7 / 16  # of the finest level's positions along an axis


def weights_of(noise_levels: torch.Tensor) -> torch.Tensor:
    """Weights of pictures: the cost is about inverse to the noise's deviation."""
    return torch.exp2(-(noise_levels - USUAL_LEVEL) * WEIGHT_OCTAVES).clamp(0.1, 8.0)


def measure(
    model: TrunkModel, crops: np.ndarray, device: torch.device, shaped: bool, batch: int = 4
) -> dict[int, np.ndarray]:
    """Bits per pixel (KL, classes, squared error / (2 · s2)) by noise level: luma, luma classes, chroma, chroma
    classes of all levels from the finest on, ``(levels, 4)``."""
    results = {}
    for code in data.MEASURED_CODES:
        total = torch.zeros(LEVELS, 4)
        for first in range(0, len(crops), batch):
            some = torch.from_numpy(crops[first : first + batch]).to(device)
            generator = torch.Generator(device).manual_seed(1000 * code + first)
            shapes = NoiseShapes.same(len(some), PERCEPTUAL if shaped else FLAT_PICTURE, device)
            noise_levels = shapes.coarser(torch.full((len(some),), code))
            with torch.no_grad():
                way = TrunkPass(model, generator)
                total += way.run(some, noise_levels, shapes)[1].sum(dim=2).cpu()
        results[code] = total.numpy() / (len(crops) * crops.shape[2] * crops.shape[3])
    return results


def arguments_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="checkpoint to begin with")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--crops", type=int, default=6)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="of learning")
    parser.add_argument("--decay-from", type=int, default=1000, help="the rate falls as one over the root of the step")
    parser.add_argument("--cool", type=int, default=0, help="in so many last steps of --steps the rate falls to 0")
    parser.add_argument("--averaged", type=float, default=0.998)
    parser.add_argument("--every", type=int, default=250, help="steps between measurements")
    parser.add_argument("--measured", type=int, default=8, help="crops that are measured")
    parser.add_argument("--save-minutes", type=float, default=8)
    parser.add_argument("--shaped", type=float, default=0.6, help="share of noise that is not flat")
    parser.add_argument("--rounded", action="store_true", help="with the rounding of inference")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ahead", type=int, default=0, help="steps whose crops are prepared meanwhile, in threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", default="{}", help="sizes of the networks, as JSON")
    return parser.parse_args()


class Learning:
    """The networks, their averages, the optimiser, and how far they are."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.device = arguments, torch.device(arguments.device)
        self.path = arguments.folder / "state.pt"
        state = torch.load(self.path, map_location="cpu", weights_only=True) if self.path.exists() else None
        start = unpacked(arguments.start) if arguments.start and state is None else None
        shape = (state or start or {"shape": json.loads(arguments.shape)})["shape"]
        shape = TrunkShape(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in shape.items()}
        )
        self.model, self.averaged = TrunkModel(shape).to(self.device), TrunkModel(shape).to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), betas=(0.9, 0.98), eps=1e-10, fused=True)
        self._usual: dict[int, float] = {}  # logarithms of the norms of gradients
        self._threads = ThreadPoolExecutor(max(1, arguments.ahead))
        self._ahead: dict[int, Future[tuple[np.ndarray, np.ndarray]]] = {}
        self.done, self.seconds = 0, 0.0
        if start is not None:
            self.model.load_state_dict(start["averaged"])
            self.done, self.seconds = start["done"], start["seconds"]
        self.averaged.load_state_dict(self.model.state_dict())
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.done, self.seconds = state["done"], state["seconds"]
        self.begun = self.done if state is None else -WARM_UP  # what was resumed is warm
        self.model.rounded.on = self.averaged.rounded.on = arguments.rounded

    def save(self) -> None:
        """Write the state in place of the last one."""
        self.model.bound()
        self.averaged.bound()
        state = {
            "shape": asdict(self.model.shape),
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "done": self.done,
            "seconds": self.seconds,
        }
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def _drawn(self, pictures: list[np.ndarray], weights: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops of the next step and their noise levels; those of later steps are prepared meanwhile."""
        ahead = max(1, self.arguments.ahead)

        def drawn(step: int) -> tuple[np.ndarray, np.ndarray]:
            numbers = np.random.Generator(np.random.Philox([1, step]))
            crops = data.crops(pictures, weights, self.arguments.crops, numbers)
            return crops, numbers.integers(4, 89, self.arguments.crops)

        for step in range(self.done, self.done + ahead):
            if step not in self._ahead and self.arguments.ahead:
                self._ahead[step] = self._threads.submit(drawn, step)
        crops, noise_levels = self._ahead.pop(self.done).result() if self.arguments.ahead else drawn(self.done)
        return torch.from_numpy(crops).to(self.device), torch.from_numpy(noise_levels)

    def _clip(self) -> None:
        """Shrink gradients of each kind of level that are much larger than usual, all others not at all."""
        for number, kind in enumerate(self.model.kinds):
            usual = self._usual.get(number)
            most = math.inf if usual is None else MOST_GRADIENT * math.exp(usual)
            norm = float(torch.nn.utils.clip_grad_norm_(kind.parameters(), most))
            logarithm = math.log(max(norm, 1e-12))
            self._usual[number] = logarithm if usual is None else usual + (logarithm - usual) * USUAL_SHARE

    def step(self, pictures: list[np.ndarray], weights: np.ndarray) -> float:
        """One gradient step; its cost in bits per picture element, weighted."""
        arguments, count = self.arguments, self.arguments.crops
        crops, noise_levels = self._drawn(pictures, weights)
        drawing = np.random.Generator(np.random.Philox([2, self.done]))
        shapes = NoiseShapes.drawn(count, drawing, arguments.shaped, self.device)
        rate = min(1.0, (self.done - self.begun + 1) / WARM_UP)
        rate *= min(1.0, (arguments.decay_from / (self.done + 1)) ** 0.5)
        if arguments.cool:
            rate *= min(1.0, (arguments.steps - self.done) / arguments.cool)
        for group in self.optimiser.param_groups:
            group["lr"] = arguments.rate * rate
        generator = torch.Generator(self.device).manual_seed(self.done)
        objective, parts = TrunkPass(self.model, generator, FINEST).run(crops, shapes.coarser(noise_levels), shapes)
        scale = (weights_of(noise_levels) / (3 * data.CROP**2)).to(self.device)
        self.model.zero_grad()
        (objective * scale).mean().backward()
        self._clip()
        self.optimiser.step()
        self.done += 1
        if self.done % BOUNDED == 0:
            self.model.bound()
        share = min(arguments.averaged, (self.done + 1) / (self.done + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1 - share)
        return float((parts.sum(dim=(0, 1)) * scale).mean())


def main() -> None:
    arguments = arguments_of()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    learning = Learning(arguments)
    pictures, weights = data.training(arguments.photos)
    held_out = data.measured_crops(data.read(arguments.photos / "val"), arguments.measured)
    shape = learning.model.shape
    print(
        f"{shape}, {multiply_adds(shape):,.0f} multiply-adds per pixel, {len(pictures)} pictures, "
        f"from step {learning.done}",
        flush=True,
    )
    begun = saved = time.monotonic()
    before, costs = learning.seconds, []
    stopped: list[int] = []  # by a signal, after the step
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    while not stopped and learning.done < arguments.steps and time.monotonic() - begun < 60 * arguments.minutes:
        costs.append(learning.step(pictures, weights))
        learning.seconds = before + time.monotonic() - begun
        if learning.done % 20 == 0:
            print(f"{learning.done} {np.mean(costs[-20:]):.4f} {learning.seconds:.0f} s", flush=True)
        if learning.done % arguments.every == 0:
            flat = measure(learning.averaged, held_out, learning.device, False)
            shaped = measure(learning.averaged, held_out, learning.device, True)
            line = {
                "step": learning.done,
                "seconds": round(learning.seconds),
                "processor_seconds": round(time.process_time()),
                "training": round(float(np.mean(costs)), 5),
                "flat": {code: round(float(values.sum()), 4) for code, values in flat.items()},
                "shaped": {code: round(float(values.sum()), 4) for code, values in shaped.items()},
                "parts": {code: np.round(values, 5).tolist() for code, values in flat.items()},
            }
            with (arguments.folder / "curve.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(
                f"== {learning.done}: {line['flat']}, shaped {line['shaped']}, training {line['training']}", flush=True
            )
            costs = []
        if time.monotonic() - saved > 60 * arguments.save_minutes:
            learning.save()
            saved = time.monotonic()
    learning.save()


if __name__ == "__main__":
    main()
