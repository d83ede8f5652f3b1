"""The searches for candidates on a unit Gaussian source: bits over the rate-distortion bound, and time and memory.

python benchmarks/search.py
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
from common import write_csv, write_table

from combiner_cli.rec import candidates, groups, sampler, search
from combiner_cli.rec.candidates import Chaining

KEY = 2024
RATES = (0.25, 0.5, 1.0, 2.0)  # bits per dimension
LONG = candidates.chaining_of(1, long=True)
METHODS = {
    "A*, 16 bits": (Chaining(16), "astar"),
    "best, 16 bits": (Chaining(16), "best"),
    "A*, 8 bits chained": (Chaining(8), "astar"),
    "best, 8 bits chained": (Chaining(8), "best"),
    "Viterbi, 8 bits chained": (Chaining(8), "viterbi"),
    "Viterbi, 8 bits, long memory": (LONG, "viterbi"),
}
GROUPS_OF_LONG, RUNS_OF_LONG = 400, 5  # files with a long memory are small
SIZES = (10, 100, 400)  # kbit
SIZE_OF_LONG = 3.48  # kbit
CHAINS = (1, 4, 16, 64)
TURNS = ((1, 0), (8, 0), (64, 0), (64, 4), (64, 12))  # and groups of each chain that a turn looks ahead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilobits", type=int, default=48, help="spent on the source by each method")
    parser.add_argument("--size", type=float, help="time the coding of this many kilobits, once, and print the figures")
    parser.add_argument("--long", action="store_true", help="with --size: with a long memory")
    arguments = parser.parse_args()
    if arguments.size is not None:
        print(*coding_time(arguments.size, arguments.long))
        return
    speeds()  # first: a process's peak memory counts that of the one that started it
    overheads(arguments.kilobits)
    chain_overheads(arguments.kilobits)


def overheads(kilobits: int) -> None:
    """Write the table of methods and rates."""
    rows = []
    for rate in RATES:
        for name, (chaining, method) in METHODS.items():
            count, runs = 1000 * kilobits // chaining.bits, 1
            if chaining.long:
                count, runs = GROUPS_OF_LONG, RUNS_OF_LONG
            coded = [code(rate, count, chaining, method, seed=seed) for seed in range(1, runs + 1)]
            error, spent = (sum(figures) / runs for figures in zip(*coded, strict=True))
            rows.append(
                {
                    "rate": rate,
                    "search": name,
                    "groups": count * runs,
                    "squared_error": round(error, 5),
                    "bound": round(bound(error), 4),
                    "spent": round(spent, 4),
                    "overhead": round(spent / bound(error) - 1, 4),
                }
            )
    write_csv("search.csv", rows)
    table = [
        {"search": name} | {f"{row['rate']:g}": f"{row['overhead']:.1%}" for row in rows if row["search"] == name}
        for name in METHODS
    ]
    notes = (
        f"Unit Gaussian source, {kilobits} kbit per figure. The target is the posterior at the optimum of the "
        "rate-distortion function at the rate of the column, in bits per dimension. Figures: bits spent over the bound "
        "at the squared error that was measured, ½·log2(1/error), less 1. The prior is the optimum's as well. With a "
        f"long memory {RUNS_OF_LONG} runs of {GROUPS_OF_LONG} groups."
    )
    write_table("search.md", "Searches for candidates", notes, table)


def chain_overheads(kilobits: int) -> None:
    """Write the table of chains and turns."""
    count = 1000 * kilobits // 8
    rows = []
    for turns, ahead in TURNS:
        for chains in CHAINS:
            error, spent = code(1.0, count, Chaining(8, chains), "viterbi", turns, ahead * chains)
            overhead = round(spent / bound(error) - 1, 4)
            rows.append({"turns": turns, "ahead": ahead, "chains": chains, "overhead": overhead})
    write_csv("search_chains.csv", rows)
    table = [
        {"chains": chains}
        | {
            f"{row['turns']} turn{'s' * (row['turns'] > 1)}, {row['ahead']} ahead": f"{row['overhead']:.1%}"
            for row in rows
            if row["chains"] == chains
        }
        for chains in CHAINS
    ]
    notes = (
        f"Unit Gaussian source at 1 bit per dimension, {count} groups of 8 bits, Viterbi. A turn decides the groups it "
        "codes, and the next one goes on from there: every chain begins anew with one state in every turn, and its "
        "first groups are coded with fewer paths to choose from. A turn that searches some groups of each chain ahead, "
        "without deciding them, ends in a state that suits them; here the posteriors of these do not change until "
        "their turn, which flatters it."
    )
    write_table("search_chains.md", "Chains and turns", notes, table)


def code(
    rate: float, count: int, chaining: Chaining, method: str, turns: int = 1, ahead: int = 0, seed: int = 1
) -> tuple[float, float]:
    """Code a unit Gaussian source with that many groups: mean squared error, and bits spent per dimension."""
    distortion = 2 ** (-2 * rate)
    width = round(chaining.bits / rate)
    source = np.random.default_rng(seed).normal(size=(1, count, width))
    source /= math.sqrt((source**2).mean())  # the bound is that of unit power
    scale = math.sqrt(1 - distortion)  # of the reproduction, whose prior is whitened
    target = search.Target(source * scale, np.full_like(source, math.sqrt(distortion)))
    indices = np.zeros((1, 0), dtype=np.int64)
    bounds = np.linspace(0, count, turns + 1).round().astype(int)
    for first, last in pairwise(bounds):
        seen = slice(first, last + ahead)
        some = search.Target(target.mean[:, seen], target.deviation[:, seen])
        found = search.search(some, chaining, KEY, indices, method, np.random.default_rng(2))
        indices = np.append(indices, found[:, : last - first], axis=1)
    rows = np.repeat(candidates.table_rows(indices, chaining)[..., None], width, axis=2)
    reproduction = scale * sampler.normals(rows, np.broadcast_to(np.arange(width), rows.shape), KEY)
    return float(((source - reproduction) ** 2).mean()), chaining.bits / width


def bound(error: float) -> float:
    """Rate-distortion function of the unit Gaussian, bits per dimension."""
    return 0.5 * math.log2(1 / error)


def coding_time(kilobits: float, long: bool) -> tuple[float, float]:
    """Seconds to code that much with Viterbi at 1 bit per dimension, table included, and peak memory in MB."""
    count = round(1000 * kilobits / 8)
    generator = np.random.default_rng(1)
    information = np.full(8 * count, groups.INFORMATION_UNIT)
    partition = groups.partition(information, count, KEY)
    mean = math.sqrt(0.75) * generator.normal(size=(1, count, partition.width))
    target = search.Target(mean, np.full_like(mean, 0.5))
    chaining = candidates.chaining_of(count, long)
    begin = time.perf_counter()
    search.search(target, chaining, KEY, np.zeros((1, 0), dtype=np.int64), "viterbi", generator)
    seconds = time.perf_counter() - begin
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def speeds() -> None:
    """Write the table of times, each measured in a process of its own."""
    rows = []
    for size, long in ((SIZE_OF_LONG, False), (SIZE_OF_LONG, True), *((size, False) for size in SIZES)):
        command = [sys.executable, __file__, "--size", str(size), *["--long"] * long]
        seconds, memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        count = round(1000 * size / 8)
        rows.append(
            {
                "kbit": size,
                "groups": count,
                "chains": candidates.chains_of(count),
                "memory": candidates.chaining_of(count, long).memory,
                "seconds": round(float(seconds), 2),
                "peak_mb": round(float(memory)),
            }
        )
    write_csv("search_speed.csv", rows)
    notes = (
        "Viterbi search, one signal, groups of 8 latents of 1 bit each; making the table of candidates is included. "
        f"Peak memory is that of the whole process. {os.cpu_count()} cores, of which the search uses one."
    )
    write_table("search_speed.md", "Time and memory of the Viterbi search", notes, rows)


if __name__ == "__main__":
    main()
