"""A trunk in whole numbers: what an encoder makes of it a decoder finds; it computes what was learned in torch."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.coding import coded
from support.signals import smooth_image

from combiner_cli.families.pyramid import levels
from combiner_cli.families.pyramid.encoder import PERCEPTUAL
from combiner_cli.families.pyramid.trunk import networks, training
from combiner_cli.families.pyramid.trunk.layers import RESULT_BITS
from combiner_cli.families.pyramid.trunk.model import TrunkModel, TrunkShape
from combiner_cli.families.pyramid.trunk.networks import HEADS
from combiner_cli.families.pyramid.trunk.noise import NoiseShapes
from combiner_cli.families.pyramid.trunk.prior import TrunkPrior, problem
from combiner_cli.families.pyramid.trunk.state import TrunkState
from combiner_cli.families.pyramid.trunk.training import TrunkPass
from combiner_cli.priors import store
from combiner_cli.stages.shape import FLAT_PICTURE
from combiner_cli.system.threads import Scratch

TINY = TrunkShape(stream=12, before=1, luma=1, chroma=1, head=(8, 6), class_head=6)
NOISE_LEVEL = 40


def random_model(shape=TINY, size=0.1):
    """Networks that are not learned, all of whose tensors matter."""
    model, generator = TrunkModel(shape, seed=3), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".last." in name or ".linear." in name or name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    model.bound()
    return model


@functools.cache
def random_prior():
    stored = random_model(size=0.03).stored()
    return TrunkPrior("some", "image", (10, 60), (0.5, 4.0), (0.01, 0.0005), 32, stored, 6)


def decoded_level(prior, size=(7, 10), seed=1, number=1, shape=FLAT_PICTURE):
    """A level of a random picture, decoded as far as the classes of its luma."""
    generator = np.random.default_rng(seed)
    picture = np.rint(generator.normal(0, 2000, (1, 3, *size)).cumsum(axis=3))
    units = -(-size[0] // 2), -(-size[1] // 2)
    parents = generator.integers(0, 9, (1, 2, -(-units[0] // 2), -(-units[1] // 2)))
    level = levels.new_level(number, np.array([NOISE_LEVEL]), picture, parents, shape)
    handed = np.zeros((TINY.stream, parents.shape[2] + 2, parents.shape[3] + 2), dtype=np.int16)
    handed[:, 1:-1, 1:-1] = generator.integers(0, 400, (TINY.stream, *parents.shape[2:]))
    level.trunk = TrunkState(handed, None if shape.flat else generator.integers(-16, 16, units))
    prior.before_classes(level, False)
    level.classes[:, 0] = generator.integers(0, 9, units)
    prior.after_classes(level, False)
    return level


@pytest.mark.parametrize(
    ("height", "width", "channels", "depth"),
    [(1, 1, 3, 8), (4, 3, 3, 8), (1, 40, 3, 8), (33, 18, 1, 8), (21, 30, 2, 8), (17, 16, 4, 8), (24, 25, 3, 16)],
)
def test_what_is_encoded_decodes(height, width, channels, depth):
    coding = coded(smooth_image(height, width, channels, depth), random_prior())
    assert coding.psnr > 14  # at the rate that a prior says it has, with networks that know nothing
    assert coded(smooth_image(height, width, channels, depth), random_prior()).file.data == coding.file.data


def test_moments_depend_on_what_is_decoded_alone():
    prior = random_prior()
    level = decoded_level(prior)
    before = [prior.moments(level, number) for number in levels.LUMA_STAGES[:2]]
    generator = np.random.default_rng(8)
    # the details of later phases, and of the chroma, are not decoded yet: nothing may look at them
    for phase in levels.PHASES[1:]:
        shape = level.shape_of(phase, level.all_units)
        level.details[phase, False] = generator.integers(-500, 500, (1, 3, 1, *shape))
        level.details[phase, True] = generator.integers(-500, 500, (2, 3, 1, *shape))
    after = [prior.moments(level, number) for number in levels.LUMA_STAGES[:2]]
    assert all(
        np.array_equal(one.mean, two.mean) and np.array_equal(one.deviation, two.deviation)
        for one, two in zip(before, after, strict=True)
    )
    shape = level.shape_of(levels.PHASES[0], level.all_units)
    level.details[levels.PHASES[0], False] = generator.integers(-500, 500, (1, 3, 1, *shape))
    assert not np.array_equal(prior.moments(level, 1).mean, before[1].mean)


@pytest.mark.parametrize("shape", [FLAT_PICTURE, PERCEPTUAL])
def test_strips_and_threads_make_no_difference(monkeypatch, shape):
    prior = random_prior()
    whole = decoded_level(prior, (40, 30), shape=shape)
    monkeypatch.setattr("combiner_cli.families.pyramid.trunk.networks._FEWEST_UNITS", 1)
    monkeypatch.setattr("combiner_cli.families.pyramid.trunk.networks._MOST_UNITS", 32)
    monkeypatch.setattr("combiner_cli.families.pyramid.trunk.inputs._MOST_KEPT", 0)
    strips = decoded_level(prior, (40, 30), shape=shape)
    assert len(networks.strips(strips)) == 10
    assert np.array_equal(whole.trunk.stream, strips.trunk.stream)
    in_strips = [prior.moments(strips, number) for number in (0, 4)]
    monkeypatch.undo()
    for number, moments in zip((0, 4), in_strips, strict=True):
        assert np.array_equal(prior.moments(replace(whole, trunk=replace(whole.trunk, kept={})), number).mean, moments.mean)


def test_networks_that_might_leave_the_exact_range_are_refused():
    stored = random_prior().stored
    assert problem(random_prior()) is None
    loud = {name: tensor * (30 if name == "1.before.0.weight" else 1) for name, tensor in stored.items()}
    loud["1.before.0.weight"] = np.full_like(stored["1.before.0.weight"], 2000)
    assert "before.0" in problem(replace(random_prior(), stored=loud))


def test_tensors_of_wrong_shapes_are_refused():
    stored = random_prior().stored
    for name in ("0.embed.weight", "3.luma.1.near.weight", "2.chroma_layers.0.weight", "1.luma.0.last.bias"):
        without = {key: tensor for key, tensor in stored.items() if key != name}
        assert problem(replace(random_prior(), stored=without))
        assert problem(replace(random_prior(), stored={**stored, name: stored[name][1:]}))
        assert problem(replace(random_prior(), stored={**stored, name: stored[name].astype(np.float32)}))
    assert problem(replace(random_prior(), stored={**stored, "4.embed.bias": stored["0.embed.bias"]}))


def test_a_prior_with_a_trunk_is_kept_in_a_file(tmp_path):
    store.save(random_prior(), tmp_path / "some.safetensors")
    loaded = store.load(tmp_path / "some.safetensors")
    assert loaded.id == random_prior().id
    assert coded(smooth_image(9, 12, 3, 8), loaded).psnr > 14


@pytest.mark.parametrize("shape", [FLAT_PICTURE, PERCEPTUAL])
def test_numpy_computes_what_torch_has_learned(monkeypatch, shape):
    """All streams and results of a way down the pyramid, at the same details."""
    model = random_model()
    model.rounded.on = True
    prior = replace(random_prior(), stored=model.stored())
    ways, calls = [], []
    first, run, head = training._Level.__init__, training._Level.run, training.Head.forward

    def begin(level, way, number, picture, *rest):
        first(level, way, number, picture, *rest)
        ways.append((level, number, picture.numpy()))

    def noted(module, stream, relative, absolute):
        results = head(module, stream, relative, absolute)
        calls.append((stream, torch.cat(results, dim=1)))
        return results

    monkeypatch.setattr(training._Level, "__init__", begin)
    monkeypatch.setattr(training.Head, "forward", noted)
    picture = torch.from_numpy(np.random.default_rng(2).normal(0, 3, (1, 3, 32, 32)).cumsum(axis=3))
    with torch.no_grad():
        TrunkPass(model, torch.Generator().manual_seed(1)).run(
            picture, torch.tensor([NOISE_LEVEL]), NoiseShapes.same(1, shape, torch.device("cpu"))
        )
    assert run is training._Level.run
    scratch, trunk, parents = Scratch(), TrunkState(), None
    for number_of_way, (passed, number, coarser) in enumerate(ways):
        noise_levels = np.array([NOISE_LEVEL + shape.finer_at(number)])
        level = levels.new_level(number, noise_levels, coarser, parents, shape)
        level.trunk = trunk
        wanted = iter(calls[8 * number_of_way : 8 * number_of_way + 8])
        for chroma in (False, True):
            prior.before_classes(level, chroma)
            agree(prior, level, "chroma_classes" if chroma else "luma_classes", next(wanted), scratch)
            level.classes[:, int(chroma)] = passed.classes[:, int(chroma)]
            prior.after_classes(level, chroma)
            for stage in levels.stage_numbers(chroma):
                agree(prior, level, f"chroma.{stage - 4}" if chroma else f"luma.{stage}", next(wanted), scratch)
                for phase in levels.stage_phases(stage):
                    details = (passed._chroma if chroma else passed._luma)[0, levels.PHASES.index(phase)].numpy()
                    level.details[phase, chroma] = details.reshape(-1, 3, 1, *level.units)
        trunk, parents = prior.handed_down(level), level.classes


def agree(prior, level, name, wanted, scratch):
    stream, results = (values[0].numpy() for values in wanted)
    assert np.array_equal(level.trunk.stream[:, 1:-1, 1:-1], stream * 64)
    assert stream.any()
    computed, _ = prior.kinds[level.kind].results(name, level, level.trunk.stream, level.all_units, scratch, slice(None))
    assert len(computed) == HEADS[name].means + HEADS[name].rest
    # features are quotients, which torch has in 32 bits
    assert np.abs(computed * 2.0**-RESULT_BITS - results.reshape(len(results), -1)).max() < 0.01
