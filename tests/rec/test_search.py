"""Path search over chained groups: against enumeration, true energies, and what it must not depend on."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from combiner_cli.errors import UsageError
from combiner_cli.rec import candidates as coder
from combiner_cli.rec import groups, joint, sampler, search
from combiner_cli.rec.candidates import Chaining
from combiner_cli.rec.energies import MOST_COLUMNS
from combiner_cli.rec.joint import JointTarget
from combiner_cli.rec.search import LazyTarget, Target

KEY = 2024
LONG = Chaining(8, 1, 12)
TOLERANCE = 1e-3 * math.log(2)  # a thousandth of a bit


def random_target(signals, count, width, seed=1, ragged=False):
    generator = np.random.default_rng(seed)
    mean = generator.normal(size=(signals, count, width))
    deviation = generator.uniform(0.2, 0.95, (signals, count, width))
    if ragged:
        beyond = np.arange(width) >= generator.integers(1, width + 1, (count, 1))
        mean[:, beyond], deviation[:, beyond] = 0, 1
    return Target(mean, deviation)


def run(target, chaining, method, coded=None, seed=3):
    coded = np.zeros((len(target.mean), 0), np.int64) if coded is None else coded
    return search.search(target, chaining, KEY, coded, method, np.random.default_rng(seed))


def energies(mean, deviation, values):
    """-log q/p of values, less what does not depend on them, in float64."""
    return 0.5 * ((values - mean) / deviation) ** 2 - 0.5 * values**2


def values_at(rows, width):
    """Whitened values of whole rows, whatever their number: ``rows.shape + (width,)``."""
    shape = (*rows.shape, width)
    return sampler.normals(np.broadcast_to(rows[..., None], shape), np.broadcast_to(np.arange(width), shape), KEY)


def path_energy(target, chaining, indices):
    """Of all groups from the first on, one figure per signal."""
    rows = coder.table_rows(indices, chaining)
    values = values_at(rows, target.mean.shape[2]).astype(np.float64)
    return energies(target.mean, target.deviation, values).sum(axis=(1, 2))


def tables_of(target, signal=0):
    """Exact energies of every candidate by previous and current index: ``(groups, 256, 256)``."""
    width = target.mean.shape[2]
    table = sampler.table(width, KEY).astype(np.float64).reshape(256, 256, width)
    return np.stack(
        [energies(m, d, table).sum(axis=2) for m, d in zip(target.mean[signal], target.deviation[signal], strict=True)]
    )


def least_path(tables, start=0):
    """The least energy of all paths, by dynamic programming in float64."""
    cost = tables[0][start]
    for table in tables[1:]:
        cost = (cost[:, None] + table).min(axis=0)
    return cost.min()


def test_viterbi_finds_the_best_of_all_paths_of_three_groups():
    target = random_target(1, 3, 6)
    first, second, third = tables_of(target)
    everything = first[0][:, None, None] + second[:, :, None] + third[None]
    indices = run(target, Chaining(8), "viterbi")
    assert everything[tuple(indices[0])] - everything.min() < TOLERANCE
    assert path_energy(target, Chaining(8), indices)[0] == pytest.approx(everything[tuple(indices[0])])


@pytest.mark.parametrize(("count", "width"), [(1, 3), (4, 9), (5, 1), (60, 8), (33, 45)])
def test_the_path_of_viterbi_is_the_best_one_in_float64(count, width):
    target = random_target(1, count, width, ragged=True)
    indices = run(target, Chaining(8), "viterbi")
    found = path_energy(target, Chaining(8), indices)[0]
    assert abs(found - least_path(tables_of(target))) < TOLERANCE * max(1, count / 10)
    for method in ("best", "astar"):
        assert found <= path_energy(target, Chaining(8), run(target, Chaining(8), method))[0] + TOLERANCE


@pytest.mark.parametrize("chains", [2, 7, 16, 21])
def test_every_chain_is_searched_like_one_of_its_own(chains):
    target = random_target(1, 50, 5)
    indices = run(target, Chaining(8, chains), "viterbi")
    for chain in range(min(chains, 50)):
        alone = Target(target.mean[:, chain::chains], target.deviation[:, chain::chains])
        energy = path_energy(alone, Chaining(8), indices[:, chain::chains])[0]
        assert abs(energy - least_path(tables_of(alone))) < TOLERANCE


@pytest.mark.parametrize("method", search.METHODS)
def test_several_chains_are_looked_up_as_they_were_chosen(method):
    partition = groups.partition(np.full(120, 400, dtype=np.int64), 24, KEY)
    target = random_target(2, 24, partition.width)
    chaining = Chaining(8, 5)
    indices = run(target, chaining, method)
    values = coder.lookup(indices, partition, chaining, KEY)
    table = sampler.table(partition.width, KEY)
    for group in range(24):
        previous = indices[:, group - 5] if group >= 5 else np.zeros(2, np.int64)
        held = partition.group == group
        expected = table[256 * previous + indices[:, group]][:, partition.column[held]]
        assert np.array_equal(values[:, held], expected)


def test_without_noise_the_best_candidate_of_each_group_is_taken():
    target = random_target(1, 20, 4)
    tables = tables_of(target)
    state, whole = 0, run(target, Chaining(16), "best")
    for number, index in enumerate(run(target, Chaining(8), "best")[0]):
        assert tables[number][state, index] - tables[number][state].min() < TOLERANCE
        assert tables[number].reshape(-1)[whole[0, number]] - tables[number].min() < TOLERANCE
        state = index


def test_groups_of_16_bits_have_no_path():
    target = random_target(2, 9, 4)
    assert np.array_equal(run(target, Chaining(16), "viterbi"), run(target, Chaining(16), "best"))


@pytest.mark.parametrize("method", search.METHODS)
@pytest.mark.parametrize("chaining", [Chaining(16), Chaining(8), Chaining(8, 3), LONG])
def test_a_signal_does_not_depend_on_its_batch_and_repeats(method, chaining):
    target = random_target(3, 21, 7, ragged=True)
    together = run(target, chaining, method)
    assert np.array_equal(run(target, chaining, method), together)
    for n in range(3):
        alone = run(Target(target.mean[n : n + 1], target.deviation[n : n + 1]), chaining, method)
        assert np.array_equal(alone[0], together[n])


THREADS = """
import numpy as np
from combiner_cli.rec import search
from combiner_cli.rec.candidates import Chaining
generator = np.random.default_rng(1)
mean, deviation = generator.normal(size=(1, 40, 48)), generator.uniform(0.5, 1, (1, 40, 48))
target = search.Target(mean, deviation)
print(search.search(target, Chaining(8), 1, np.zeros((1, 0), np.int64), "viterbi", generator).tolist())
"""


def test_the_number_of_threads_does_not_matter():
    found = set()
    for threads in ("1", "2", "3"):
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", THREADS],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize("chains", [1, 4])
def test_a_search_in_turns_goes_on_from_the_coded_indices(chains):
    target, chaining = random_target(2, 40, 5), Chaining(8, chains)
    for method in ("viterbi", "best"):
        indices = np.zeros((2, 0), np.int64)
        for part in (slice(0, 3), slice(3, 21), slice(21, 40)):
            some = Target(target.mean[:, part], target.deviation[:, part])
            indices = np.append(indices, run(some, chaining, method, indices), axis=1)
        at_once = run(target, chaining, method)
        if method == "best":
            assert np.array_equal(indices, at_once)
        in_turns, whole = (path_energy(target, chaining, found) for found in (indices, at_once))
        assert (whole <= in_turns + TOLERANCE).all()
    # the last turn is the best continuation of those before
    if chains == 1:
        known = int(run(Target(target.mean[:, :21], target.deviation[:, :21]), chaining, "best")[0, -1])
        coded = np.full((2, 21), known)
        last = Target(target.mean[:, 21:], target.deviation[:, 21:])
        found = run(last, chaining, "viterbi", coded)
        rows = np.append(coded, found, axis=1)
        values = sampler.table(5, KEY)[coder.table_rows(rows, chaining)][:1, 21:].astype(np.float64)
        energy = energies(last.mean[:1], last.deviation[:1], values).sum()
        assert abs(energy - least_path(tables_of(last), known)) < TOLERANCE


def test_turns_that_look_ahead_lose_almost_nothing():
    target, chaining = random_target(1, 60, 5), Chaining(8)
    whole = path_energy(target, chaining, run(target, chaining, "viterbi"))[0]
    lost = {}
    for ahead in (0, 12):
        indices = np.zeros((1, 0), np.int64)
        for first in range(0, 60, 3):
            seen = slice(first, first + 3 + ahead)
            found = run(Target(target.mean[:, seen], target.deviation[:, seen]), chaining, "viterbi", indices)
            indices = np.append(indices, found[:, :3], axis=1)
        lost[ahead] = path_energy(target, chaining, indices)[0] - whole
    assert lost[0] > 20
    assert lost[12] < 2


@pytest.mark.parametrize("chaining", [Chaining(16), Chaining(8), Chaining(8, 3), LONG])
@pytest.mark.parametrize("method", search.METHODS)
@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (0.3, 1e-12), (1e30, 0.1), (-1e300, 1e-300), (2, 1e30)])
@pytest.mark.filterwarnings("error")
def test_degenerate_targets_are_coded(chaining, method, mean, deviation):
    target = Target(np.full((1, 6, 3), float(mean)), np.full((1, 6, 3), float(deviation)))
    indices = run(target, chaining, method)
    assert indices.min() >= 0
    assert indices.max() < 2**chaining.bits
    if deviation < 1e-6 and abs(mean) < 1 and method == "best" and chaining.bits == 16:
        table = sampler.table(3, KEY).astype(np.float64)
        distance = ((table - mean) ** 2).sum(axis=1)
        assert distance[indices[0, 0]] == pytest.approx(distance.min(), rel=0.01)


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match="no search beam"):
        run(random_target(1, 2, 2), Chaining(8), "beam")
    alone = JointTarget(np.zeros(1), np.eye(1), np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match="no search beam"):
        joint.search_joint(alone, KEY, 0, "beam")
    with pytest.raises(UsageError, match="generator"):
        joint.search_joint(alone, KEY, 0, "astar")


def test_viterbi_comes_close_to_the_rate_distortion_bound():
    """Unit Gaussian at 1 bit per dimension: A* spends half as much again as the bound, Viterbi less than a tenth."""
    generator = np.random.default_rng(1)
    source = generator.normal(size=(1, 600, 8))
    source /= math.sqrt((source**2).mean())
    target = Target(source * math.sqrt(0.75), np.full_like(source, 0.5))
    overhead = {}
    for method in search.METHODS:
        values = sampler.table(8, KEY)[coder.table_rows(run(target, Chaining(8), method), Chaining(8))]
        error = ((source - math.sqrt(0.75) * values) ** 2).mean()
        overhead[method] = 1 / (0.5 * math.log2(1 / error)) - 1
    assert overhead["viterbi"] < 0.09
    assert overhead["viterbi"] < overhead["best"] < overhead["astar"]


def joint_target(count, width, seed=4, correlated=True):
    generator = np.random.default_rng(seed)
    latents = count * width
    factor = np.diag(generator.uniform(0.2, 0.9, latents))
    if correlated:
        factor += np.tril(generator.normal(size=(latents, latents)) * 0.3 / math.sqrt(latents), -1)
    group, column = np.divmod(np.arange(latents), width)
    return JointTarget(generator.normal(size=latents), factor, group, column)


def joint_energy(target, indices, previous):
    """Half the quadratic form of the full covariance, less that of the prior."""
    rows = 256 * np.append(previous, indices[:-1]) + indices
    values = sampler.table(int(target.column.max()) + 1, KEY)[rows[target.group], target.column].astype(np.float64)
    residuals = np.linalg.solve(target.factor, values - target.mean)
    return 0.5 * (residuals**2).sum() - 0.5 * (values**2).sum()


def test_joint_search_finds_the_best_of_two_groups():
    """The second group's energies depend on the whole path; with two groups the kept paths are all paths."""
    target, previous = joint_target(2, 4), 17
    indices = joint.search_joint(target, KEY, previous, "viterbi")
    table = sampler.table(4, KEY).astype(np.float64).reshape(256, 256, 4)
    values = np.empty((256, 256, 8))
    values[..., :4], values[..., 4:] = table[previous][:, None], table
    residuals = (values - target.mean) @ np.linalg.inv(target.factor).T
    everything = 0.5 * (residuals**2).sum(axis=2) - 0.5 * (values**2).sum(axis=2)
    assert joint_energy(target, indices, previous) == pytest.approx(everything[tuple(indices)])
    assert everything[tuple(indices)] - everything.min() < TOLERANCE


@pytest.mark.parametrize(("count", "width"), [(24, 8), (6, 33)])
def test_joint_viterbi_counts_the_true_energy_of_the_full_covariance(count, width, monkeypatch):
    target = joint_target(count, width)
    added = []
    step = joint._step

    def recording(paths, conditional, values):
        following, previous = step(paths, conditional, values)
        totals = paths.cost.astype(np.float32) + joint._energies(conditional, values)
        added.append(float(totals.min()))
        return following, previous

    monkeypatch.setattr(joint, "_step", recording)
    indices = joint.search_joint(target, KEY, 5, "viterbi")
    energy = joint_energy(target, indices, 5)
    assert sum(added) == pytest.approx(energy, abs=TOLERANCE * count)
    for method in ("best", "astar"):
        other = joint.search_joint(target, KEY, 5, method, np.random.default_rng(1))
        assert energy < joint_energy(target, other, 5)


@pytest.mark.parametrize("method", ["best", "viterbi"])
def test_joint_search_without_covariances_is_the_search_of_each(method):
    target = joint_target(20, 6, correlated=False)
    deviation = np.diag(target.factor)
    alone = Target(target.mean.reshape(1, 20, 6), deviation.reshape(1, 20, 6))
    expected = run(alone, Chaining(8), method, np.full((1, 1), 99))
    assert np.array_equal(joint.search_joint(target, KEY, 99, method), expected[0])


def test_joint_search_repeats_and_knows_groups_without_latents():
    target = joint_target(5, 4)
    holes = JointTarget(target.mean, target.factor, target.group + (target.group > 1), target.column, 7)
    first, second = (joint.search_joint(holes, KEY, 0, "viterbi") for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (7,)
    assert joint_energy(holes, first, 0) <= joint_energy(holes, joint.search_joint(holes, KEY, 0, "best"), 0)


@pytest.mark.parametrize("method", search.METHODS)
@pytest.mark.filterwarnings("error")
def test_degenerate_joint_targets_are_coded(method):
    target = joint_target(20, 4)
    for mean, scale in ((1e30, 1e-12), (0.0, 0.0), (3.0, 1e3)):
        extreme = JointTarget(target.mean + mean, target.factor * scale, target.group, target.column)
        indices = joint.search_joint(extreme, KEY, 0, method, np.random.default_rng(1))
        assert indices.min() >= 0
        assert indices.max() < 256


def test_the_table_by_blocks_is_the_table():
    table = sampler.table(11, KEY)
    rows = np.repeat(np.arange(0, 65536, 977)[:, None], 11, axis=1)
    assert np.array_equal(table[rows[:, 0]], sampler.normals(rows, np.broadcast_to(np.arange(11), rows.shape), KEY))


def long_tables_of(target):
    """Exact energies of every candidate of at most eight columns, by the lower bits of the index before the previous
    one, the previous and the current index: ``(groups, 16, 256, 256)``."""
    columns = sampler.normal_quantiles()[sampler.row_lanes(0, np.arange(1 << 20), KEY)].astype(np.float64)
    posteriors = zip(target.mean[0], target.deviation[0], strict=True)
    tables = [
        sum(energies(*one) for one in zip(mean, deviation, columns, strict=False)) for mean, deviation in posteriors
    ]
    return np.stack(tables).reshape(-1, 16, 256, 256)


def least_long_path(tables, previous=0, older=0):
    """As :func:`least_path`, with a long memory: two indices before the first."""
    cost = np.full((16, 256), np.inf)
    cost[older % 16, previous] = 0
    for table in tables:
        best = np.stack([(cost[older][:, None] + table[older]) for older in range(16)]).min(axis=0)
        cost = best.reshape(16, 16, 256).min(axis=0)  # over the higher bits of the previous index
    return cost.min()


@pytest.mark.parametrize(("coded", "width"), [((), 5), ((77, 203), 18)])
def test_with_a_long_memory_the_best_of_all_paths_of_two_groups_is_found(coded, width):
    target, known = random_target(1, 2, width), np.array([coded], dtype=np.int64)
    first, second = (coded or (0, 0))[-2:]
    candidates = np.arange(256)
    one = values_at((first % 16 << 16) + (second << 8) + candidates, width)
    two = values_at((second % 16 << 16) + (candidates[:, None] << 8) + candidates, width)
    everything = energies(target.mean[0, 0], target.deviation[0, 0], one).sum(axis=1)[:, None]
    everything = everything + energies(target.mean[0, 1], target.deviation[0, 1], two).sum(axis=2)
    indices = run(target, LONG, "viterbi", known)
    assert everything[tuple(indices[0])] - everything.min() < TOLERANCE
    if not coded:
        assert path_energy(target, LONG, indices)[0] == pytest.approx(everything[tuple(indices[0])])


def test_with_a_long_memory_the_path_of_viterbi_is_the_best_one_in_float64():
    target = random_target(1, 19, 3, ragged=True)
    tables = long_tables_of(target)
    indices = run(target, LONG, "viterbi")
    found = path_energy(target, LONG, indices)[0]
    assert abs(found - least_long_path(tables)) < 2 * TOLERANCE
    for method in ("best", "astar"):
        assert found <= path_energy(target, LONG, run(target, LONG, method))[0] + TOLERANCE
    # what follows some coded indices is the best continuation, and what was decided ahead is still the best
    for decided in (1, 2, 16):
        rest = Target(target.mean[:, decided:], target.deviation[:, decided:])
        again = run(rest, LONG, "viterbi", indices[:, :decided])
        both = np.append(indices[:, :decided], again, axis=1)
        assert abs(path_energy(target, LONG, both)[0] - found) < TOLERANCE
    state = [0, 0]
    for number, index in enumerate(run(target, LONG, "best")[0]):
        row = tables[number][state[-2] % 16, state[-1]]
        assert row[index] - row.min() < TOLERANCE
        state.append(index)


def test_a_long_memory_beats_a_short_one():
    target = random_target(1, 40, 8)
    short, long = (path_energy(target, c, run(target, c, "viterbi"))[0] for c in (Chaining(8), LONG))
    assert long < short - 0.1 * 40  # nats


@pytest.mark.parametrize("method", search.METHODS)
def test_a_long_memory_is_looked_up_as_it_was_chosen(method):
    partition = groups.partition(np.full(60, 400, dtype=np.int64), 12, KEY)
    target = random_target(2, 12, partition.width)
    indices = run(target, LONG, method)
    values = coder.lookup(indices, partition, LONG, KEY)
    for group in range(12):
        previous, older = (indices[:, group - back] if group >= back else np.zeros(2, np.int64) for back in (1, 2))
        held = partition.group == group
        expected = values_at(65536 * (older % 16) + 256 * previous + indices[:, group], partition.width)
        assert np.array_equal(values[:, held], expected[:, partition.column[held]])


@pytest.mark.parametrize(("width", "count"), [(70, 3), (33, 17)])
def test_wide_groups_have_a_long_memory_as_well(width, count):
    """With columns whose table is kept and others."""
    target = random_target(1, count, width, ragged=True)
    target.mean[:, 1:-1, 5:], target.deviation[:, 1:-1, 5:] = 0, 1
    indices = run(target, LONG, "viterbi")
    state = 65536 * (indices[0, -3] % 16) + 256 * indices[0, -2]
    last = values_at(state + np.arange(256), width).astype(np.float64)
    energy = energies(target.mean[0, -1], target.deviation[0, -1], last).sum(axis=1)
    assert energy[indices[0, -1]] - energy.min() < TOLERANCE
    assert path_energy(target, LONG, indices)[0] < path_energy(target, LONG, run(target, LONG, "best"))[0]


def test_chains_grow_with_the_groups():
    assert [coder.chains_of(count) for count in (1, 2**16 - 1, 2**16, 2**30)] == [1, 1, 2, 64]


def test_small_files_have_a_long_memory():
    assert coder.chaining_of(256, long=True) == LONG
    assert coder.chaining_of(257, long=True) == coder.chaining_of(256) == Chaining(8)
    assert coder.chaining_of(2**16, long=True) == Chaining(8, 2)


def test_the_row_with_a_long_memory():
    indices = np.array([[3, 0x5A, 7, 255]])
    assert coder.table_rows(indices, LONG).tolist() == [[3, 0x35A, 0x35A07, 0xA07FF]]


def test_of_very_large_groups_not_all_latents_are_looked_at():
    part = groups.partition(np.ones(3000, dtype=np.int16), 2, KEY)
    means = np.arange(3000.0)
    target = search.target(part, means, np.full(3000, 0.5), 2)
    assert target.mean.shape == (1, 2, MOST_COLUMNS)
    for number in range(2):
        own = part.order[part.group == number][:MOST_COLUMNS]
        assert target.mean[0, number].tolist() == means[own].tolist()
    assert (target.deviation == 0.5).all()


@pytest.mark.parametrize("chains", [1, 3])
@pytest.mark.parametrize("method", ["astar", "best", "viterbi"])
def test_posteriors_that_are_made_when_they_are_asked_for_give_the_same_choices(method, chains):
    generator = np.random.default_rng(5)
    part = groups.partition(generator.integers(0, 700, 9000), 700, KEY)
    mean, deviation = generator.normal(size=9000), generator.uniform(0.2, 0.95, 9000)
    lazy = LazyTarget(part, lambda order: (mean[order], deviation[order]))
    whole = search.target(part, mean, deviation, part.groups)
    assert (lazy.signals, lazy.groups, lazy.width) == (1, 700, whole.width)
    chosen = [
        search.search(target, Chaining(8, chains), KEY, np.zeros((1, 0), np.int64), method, np.random.default_rng(3))
        for target in (whole, lazy)
    ]
    assert np.array_equal(*chosen)


def test_of_very_large_groups_not_all_posteriors_are_made():
    part = groups.partition(np.ones(3000, dtype=np.int16), 2, KEY)
    mean, _ = LazyTarget(part, lambda order: (order.astype(float), np.ones(len(order)))).of_some(0, slice(0, 1))
    assert mean.tolist() == [part.order[:MOST_COLUMNS].tolist()]
