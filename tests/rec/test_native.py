"""The inner loops of the search in C and in numpy: the same bits, and a program that does with either."""

import os
import pty
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.learned import tiny_mixture
from support.signals import smooth_image, tone

import combiner_cli
from combiner_cli.rec import energies, native, portable, search
from combiner_cli.rec.candidates import Chaining
from combiner_cli.rec.energies import LONG_PLANES, energies_of
from combiner_cli.rec.native import Native
from combiner_cli.rec.search import Target
from combiner_cli.system.native import VARIABLE

KEY = 2**63 + 77
LONG = Chaining(8, 1, 12)
CHAININGS = (Chaining(16), Chaining(8), Chaining(8, 3), Chaining(8, 64), LONG)
ordinary = pytest.mark.filterwarnings("error")
built = pytest.mark.skipif(not native.is_built(), reason="there was no compiler when the package was installed")
in_c = pytest.mark.parametrize("kernel", [Native(True), Native(False)], ids=["vectors", "plain"])


def posteriors(groups, width, seed=1, kind="ordinary"):
    """Means and deviations of groups, ``(groups, width)``, that are of different widths, some of them empty."""
    generator = np.random.default_rng(seed)
    mean, deviation = generator.normal(size=(groups, width)), generator.uniform(0.02, 1, (groups, width))
    if kind == "extreme":  # all orders of magnitude, and deviations on both sides of 1
        mean *= 2.0 ** generator.uniform(-12, 11, mean.shape)
        deviation = 2.0 ** generator.uniform(-12, 3, mean.shape)
    if kind == "far":
        mean, deviation = np.full_like(mean, 2.0**10), np.full_like(mean, 2.0**-10)
    if kind == "flat":  # nothing is learned of the spread, but something of the mean
        deviation[:] = 1
    empty = np.arange(width) >= generator.integers(0, width + 1, (groups, 1))
    empty[0] = False
    empty |= generator.random(mean.shape) < 0.1  # and holes
    mean[empty], deviation[empty] = 0, 1
    return mean, deviation


def rough_image(height, width):
    """A smooth picture with noise."""
    image = smooth_image(height, width)
    noise = np.random.default_rng(1).integers(-9, 10, image.samples.shape)
    return replace(image, samples=np.clip(image.samples + noise, 0, 255).astype(np.uint8))


def table_of(width, long=False):
    return energies.table(width, KEY, long, portable.fill)


@built
@in_c
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("number", [0, 1, 127])
def test_the_table_is_the_same(kernel, long, number):
    blocks = [energies.empty_block(long) for _ in range(2)]
    portable.fill(blocks[0], number, KEY)
    kernel.fill(blocks[1], number, KEY)
    assert np.array_equal(*blocks)


@built
@in_c
@pytest.mark.parametrize("kind", ["ordinary", "extreme", "far", "flat"])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 70])
def test_steps_of_the_best_paths_are_the_same(kernel, width, kind):
    groups = energies_of(*posteriors(6, width, width, kind))
    cost = np.random.default_rng(width).exponential(9, (1, 256)).astype(np.float32)
    cost[0, ::3] = np.inf
    cost[0, 100:120] = cost[0, 100]  # equals, of which the first is to be taken
    costs, backs = [cost.copy(), cost.copy()], np.full((2, 6, 1, 256), 99, dtype=np.uint8)
    for one, after, back in zip((portable, kernel), costs, backs, strict=True):
        one.advance(table_of(width), groups, None, after, back)
    assert np.array_equal(*costs)
    assert np.array_equal(*backs)
    assert costs[0].min() == 0


@built
@in_c
@pytest.mark.parametrize("width", [1, 6, 9])
@pytest.mark.parametrize("started", [False, True])
def test_steps_with_a_long_memory_are_the_same(kernel, width, started):
    groups = energies_of(*posteriors(3, width, width, "extreme"))
    generator = np.random.default_rng(2)
    cost = generator.exponential(9, (LONG_PLANES, 256)).astype(np.float32)
    start = generator.integers(-(2**20), 2**20, (3, LONG_PLANES, 256, 256), dtype=np.int32) if started else None
    costs, backs = [cost.copy(), cost.copy()], np.empty((2, 3, LONG_PLANES, 256), dtype=np.uint8)
    for one, after, back in zip((portable, kernel), costs, backs, strict=True):
        one.advance(table_of(width, long=True), groups, start, after, back)
    assert np.array_equal(*costs)
    assert np.array_equal(*backs)


@built
@in_c
@pytest.mark.parametrize("kind", ["ordinary", "extreme", "far"])
@pytest.mark.parametrize("width", [1, 3, 1024])
def test_energies_of_all_candidates_are_the_same(kernel, width, kind):
    weights = energies_of(*posteriors(1, width, 3, kind)).weights[0]
    start = np.random.default_rng(1).integers(-1000, 1000, (1, 256, 256), dtype=np.int32)
    totals = start.copy(), start.copy()
    for one, total in zip((portable, kernel), totals, strict=True):
        one.add(table_of(width), weights, total)
    assert np.array_equal(*totals)
    assert np.array_equal(totals[0], start) == (not weights.any())


@built
@in_c
@pytest.mark.parametrize("chaining", [chaining for chaining in CHAININGS if chaining.bits == 8])
@pytest.mark.parametrize(("width", "kind"), [(1, "ordinary"), (9, "extreme"), (300, "ordinary")])
@pytest.mark.parametrize("noisy", [False, True])
def test_one_candidate_after_the_other_is_the_same(kernel, chaining, width, kind, noisy):
    groups = energies_of(*posteriors(90, width, 5, kind))
    generator = np.random.default_rng(4)
    before = generator.integers(0, 256, 5)
    noise = generator.gumbel(size=(90, 256)).astype(np.float32) if noisy else None
    indices = [np.append(before, np.full(90, -1)) for _ in range(2)]
    for one, path in zip((portable, kernel), indices, strict=True):
        one.follow(groups, KEY, path, 5, chaining, noise)
    assert np.array_equal(*indices)
    assert np.array_equal(indices[0][:5], before)
    assert indices[0].min() >= 0
    assert indices[0].max() < 256


@built
@pytest.mark.parametrize("chaining", CHAININGS)
@pytest.mark.parametrize("method", search.METHODS)
@pytest.mark.parametrize(("groups", "width", "kind"), [(1, 1, "far"), (3, 12, "extreme"), (70, 4, "ordinary")])
def test_every_search_chooses_the_same(monkeypatch, chaining, method, groups, width, kind):
    if chaining.long or chaining.bits == 16:
        groups = min(groups, 5)
    mean, deviation = np.stack([posteriors(groups, width, seed, kind) for seed in (1, 2)], axis=1)
    coded = np.random.default_rng(6).integers(0, 2**chaining.bits, (2, 7))
    chosen = {}
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        for wish in ("", "plain", "0"):
            monkeypatch.setenv(VARIABLE, wish)
            noise = np.random.default_rng(7)
            chosen[wish, threads] = search.search(Target(mean, deviation), chaining, KEY, coded, method, noise)
    for indices in chosen.values():
        assert np.array_equal(indices, chosen["0", "1"])


@built
@pytest.mark.parametrize(("width", "groups"), [(9, 17), (81, 2)])
def test_wide_groups_with_a_long_memory_are_the_same(monkeypatch, width, groups):
    """Their energies are summed for 16 groups at a time, and of columns beyond the 64th no table is kept."""
    target = Target(*(part[None] for part in posteriors(groups, width)))
    chosen = []
    for wish in ("", "0"):
        monkeypatch.setenv(VARIABLE, wish)
        none = np.zeros((1, 0), dtype=np.int64)
        chosen.append(search.search(target, LONG, KEY, none, "viterbi", np.random.default_rng(1)))
    assert np.array_equal(*chosen)


@built
@pytest.mark.parametrize("effort", [1, 5, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("signal", [rough_image(96, 64), tone(4000)], ids=["image", "sound"])
def test_files_are_the_same(monkeypatch, effort, signal):
    files = set()
    for wish in ("", "plain", "0"):
        monkeypatch.setenv(VARIABLE, wish)
        files.add(combiner_cli.encode(signal, quality=3, effort=effort).data)
    assert len(files) == 1


@built
def test_files_of_mixtures_are_the_same(monkeypatch):
    """Whose memory is long."""
    files, prior = set(), tiny_mixture()
    for wish in ("", "plain", "0"):
        monkeypatch.setenv(VARIABLE, wish)
        files.add(combiner_cli.encode(rough_image(16, 16), size=40, effort=5, prior=prior).data)
    assert len(files) == 1


@ordinary
@pytest.mark.parametrize("kind", ["ordinary", "extreme", "far", "flat"])
@pytest.mark.parametrize("width", [1, 5, 40, 400])
def test_whole_numbers_are_close_to_the_energies_that_they_stand_for(width, kind):
    """Within what an error of a half in each root comes to, and they leave room in 32 bits."""
    mean, deviation = posteriors(1, width, 8, kind)
    group = energies_of(mean, deviation)
    total = np.zeros((1, 256, 256), dtype=np.int32)
    portable.add(table_of(width), group.weights[0], total)
    assert np.abs(total).max() < 2**30
    mean, deviation = np.clip(mean[0], -(2**10), 2**10), np.maximum(deviation[0], 2**-10)
    blocks = table_of(width)
    values = np.concatenate([block[0, :9] for block in blocks], axis=1)[:, :width] / energies.UNITS
    exact = (0.5 * ((values - mean[:, None]) / deviation[:, None]) ** 2 - 0.5 * values**2).sum(axis=1)
    differences = total[0, :9] * float(group.units[0]) - exact
    differences -= differences.mean()  # a constant of the group does not count
    root = np.sqrt(np.abs(total[0, :9]) * float(group.units[0])).max() + 1  # errors grow with it
    assert np.abs(differences).max() < 4 * root * np.sqrt(float(group.units[0]) * width) + 2**-8


def test_of_more_than_1024_columns_those_beyond_are_not_looked_at():
    mean, deviation = posteriors(2, 1100)
    whole, part = energies_of(mean, deviation), energies_of(mean[:, :1024], deviation[:, :1024])
    assert np.array_equal(whole.weights, part.weights)
    assert whole.columns.max() <= 1024


@built
def test_arrays_of_the_wrong_size_are_refused():
    kernel = Native(True)
    groups, table = energies_of(*posteriors(2, 9)), table_of(9)
    cost, back = np.zeros((1, 256), dtype=np.float32), np.zeros((2, 1, 256), dtype=np.uint8)
    kernel.advance(table, groups, None, cost, back)
    narrow = energies.Energies(groups.weights[:, :8].copy(), groups.columns, groups.units)
    start = np.zeros((1, 1, 256, 256), dtype=np.int32)
    for arguments in (
        (table[:1], groups, None, cost, back),
        ((table[0], table[1][:, :8].copy()), groups, None, cost, back),
        (table, narrow, None, cost, back),
        (table, groups, start, cost, back),
        (table, groups, None, cost[:, :255].copy(), back),
        (table, groups, None, np.zeros((2, 256), dtype=np.float32), back),
        (table, groups, None, cost, back[1:]),
        (table * 65, groups, None, cost, back),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            kernel.advance(*arguments)
    with pytest.raises(TypeError):
        kernel.advance(list(table), groups, None, cost, back)
    with pytest.raises(TypeError):
        kernel.advance(("not an array",), groups, None, cost, back)
    back.setflags(write=False)
    with pytest.raises(TypeError, match="read-write"):
        kernel.advance(table, groups, None, cost, back)
    with pytest.raises(ValueError, match="do not fit"):
        kernel.add(table[:1], groups.weights[0], start[0])
    with pytest.raises(ValueError, match="do not fit"):
        kernel.fill(energies.empty_block(False)[:, :9].copy(), 0, KEY)
    for first, chaining in ((1, Chaining(8)), (-1, Chaining(8)), (0, Chaining(8, 0))):
        with pytest.raises(ValueError, match="do not fit"):
            kernel.follow(groups, KEY, np.zeros(2, dtype=np.int64), first, chaining, None)


def test_the_environment_chooses_the_kernel(monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    assert native.kernel() is portable
    monkeypatch.setattr(native, "_native", object())
    assert native.kernel() is portable
    monkeypatch.setenv(VARIABLE, "plain")
    assert native.kernel() == Native(vectors=False)
    monkeypatch.delenv(VARIABLE)
    assert native.kernel() == Native(vectors=True)
    assert native.kernel() is native.kernel()  # so that its tables are kept


def test_without_the_extension_numpy_does(monkeypatch):
    monkeypatch.setattr(native, "_native", None)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not native.is_built()
    assert native.kernel() is portable
    target = Target(*(part[None] for part in posteriors(3, 4)))
    none = np.zeros((1, 0), dtype=np.int64)
    assert search.search(target, Chaining(8), KEY, none, "viterbi", np.random.default_rng(1)).shape == (1, 3)


WITHOUT = """
import sys
if "without" in sys.argv:
    sys.modules["combiner_cli.rec._native"] = None  # as if it were not there
    sys.argv.remove("without")
from combiner_cli.cli.main import run
run()
"""


@pytest.mark.parametrize(("more", "expected"), [((), 1), (("--quiet",), 0)])
def test_whoever_looks_is_told_once_that_it_will_be_slower(tmp_path, more, expected):
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path in paths:
        combiner_cli.write(smooth_image(8, 9), path)

    def told(*arguments):
        terminal, far_end = pty.openpty()
        command = [sys.executable, "-c", WITHOUT, *arguments, "encode", *map(str, paths), "-f", "-e", "1", *more]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=far_end, env={**os.environ, "COLUMNS": "200"}
        )
        os.close(far_end)
        seen = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the far end is closed
                break
            if not part:
                break
            seen += part
        process.communicate(timeout=60)
        os.close(terminal)
        assert process.returncode == 0, seen.decode()
        return seen.decode().count(native.SLOWER)

    assert told("without") == expected
    if native.is_built():
        assert told() == 0
