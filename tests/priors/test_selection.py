"""Which prior suits a signal and what its file is to be."""

import math

import numpy as np
import pytest
from support import zoo_images, zoo_sounds
from support.plain_prior import PlainPrior

from combiner_cli.errors import PriorError
from combiner_cli.family import Target
from combiner_cli.priors import library, selection
from combiner_cli.priors.regions import regions
from combiner_cli.signals.signal import Format, Signal

SMALL, LARGE = Format("image", (32, 32), 3, 8, None), Format("image", (512, 768), 3, 8, None)
SPEECH, MUSIC = Format("sound", (16000,), 1, 16, 16000), Format("sound", (44100,), 2, 16, 44100)


class CostPrior(PlainPrior):
    """A prior whose costs are said: bits of a point of a signal, and the noise variances that it was asked for."""

    def __init__(self, name, cost, kind="image"):
        super().__init__(name, kind)
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "asked", [])

    def typical_noise(self, bits_per_point, signal_format):
        return Target("noise", 0.01 / bits_per_point, typical_error=0.002 / bits_per_point)

    def predicted_costs(self, signals, noise_variance, most=math.inf):
        self.asked.append(noise_variance)
        return None if self.cost is None else [self.cost * signal.points for signal in signals]


@pytest.fixture
def installed(monkeypatch):
    """Takes priors with their distances, as if they were all that is shipped."""

    def install(**priors):
        monkeypatch.setattr(
            selection, "_distances", lambda _: {name: distance for name, (_, distance) in priors.items()}
        )
        monkeypatch.setattr(library, "load_shipped", lambda name: priors[name][0])
        return [prior for prior, _ in priors.values()]

    return install


def picture(height, width):
    return zoo_images.image_of(np.random.default_rng(3).integers(0, 256, (height, width, 3)))


@pytest.mark.parametrize(
    ("signal_format", "names"),
    [
        (SMALL, ["cifar10-4", "cifar10-5", "cifar10-6"]),
        (Format("image", (1, 1), 1, 8, None), ["cifar10-4", "cifar10-5", "cifar10-6"]),
        (LARGE, ["photo-8"]),
        (SPEECH, ["speech-5"]),
        (Format("sound", (1,), 2, 24, 8000), ["speech-5"]),
        (MUSIC, ["general-2"]),
        (Format("sound", (1,), 1, 16, 96_000), ["general-2"]),
    ],
)
def test_the_priors_nearest_in_size_or_rate_suit(signal_format, names):
    assert [prior.name for prior in selection.suitable_priors(signal_format)] == names


@pytest.mark.parametrize("signal_format", [SMALL, LARGE, SPEECH, MUSIC])
def test_the_rate_rises_with_the_quality(signal_format):
    usual = [selection.by_format(signal_format, Target("quality", quality)) for quality in range(1, 11)]
    assert all(prior.kind == signal_format.kind and target.unit == "rate" for prior, target in usual)
    assert (np.diff([target.value for _, target in usual]) > 0).all()


def test_a_size_or_a_psnr_takes_the_prior_of_that_rate_by_the_format():
    names = [selection.by_format(SMALL, Target("size", size))[0].name for size in (40, 90, 200, 400)]
    assert names == ["cifar10-4", "cifar10-4", "cifar10-5", "cifar10-6"]
    names = [selection.by_format(SMALL, Target("psnr", psnr))[0].name for psnr in (20.0, 30.0, 40.0)]
    assert names == ["cifar10-4", "cifar10-5", "cifar10-6"]


def test_without_any_prior_for_the_kind_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path)
    with pytest.raises(PriorError, match="no prior for images is installed; name one with --prior"):
        selection.suitable_priors(SMALL)


def test_the_cheapest_prior_is_chosen_and_the_others_come_by_their_costs(installed):
    near, cheap, dear, silent = installed(
        near=(CostPrior("near", 2.0), 0.0),
        cheap=(CostPrior("cheap", 1.0), 3.0),
        dear=(CostPrior("dear", 3.0), 1.0),
        silent=(CostPrior("silent", None), 1.0),
    )
    choice = selection.choose(picture(20, 30), Target("quality", 8))
    assert (choice.prior, tuple(choice.others)) == (cheap, (near, dear))
    rate = near.rate_at(8)
    # that of the prior that is nearest by the format
    assert choice.target == Target("noise", 0.01 / rate, typical_error=0.002 / rate)
    assert {*near.asked, *cheap.asked, *dear.asked, *silent.asked} == {0.01 / near.rate_at(5)}
    assert [len(prior.asked) for prior in (near, cheap, dear, silent)] == [2, 1, 2, 2]  # again only for the others


def test_what_is_certain_to_be_dear_is_not_looked_at_to_the_end(installed):
    class Counting(CostPrior):
        def predicted_costs(self, signals, noise_variance, most=math.inf):
            self.asked.append(most)
            return [1e4]

    first, second = installed(first=(Counting("first", 1.0), 0.0), second=(Counting("second", 1.0), 1.0))
    assert selection.choose(picture(9, 9), Target("quality", 5)).prior is first
    assert first.asked[0] == math.inf
    assert 1e4 < second.asked[0] < 1e4 + 10


def test_the_choice_is_the_same_for_all_qualities(installed):
    installed(near=(CostPrior("near", 2.0), 0.0), cheap=(CostPrior("cheap", 1.0), 3.0))
    noises = [selection.choose(picture(9, 9), Target("quality", quality)).target.value for quality in range(1, 11)]
    assert noises == sorted(noises, reverse=True) and len(set(noises)) == 10


@pytest.mark.parametrize(
    ("target", "variance"),
    [(Target("rate", 2.0), 0.005), (Target("size", 150), 0.005), (Target("psnr", 20.0), 0.12)],
)
def test_other_targets_are_compared_at_about_their_noise(installed, target, variance):
    near, _ = installed(near=(CostPrior("near", 1.0), 0.0), dear=(CostPrior("dear", 2.0), 1.0))
    choice = selection.choose(picture(20, 30), target)
    assert near.asked == [pytest.approx(variance)]
    assert (choice.prior, choice.target) == (near, target)


def test_a_large_image_is_not_compared_with_priors_of_small_ones(installed):
    near, beside, _ = installed(
        near=(CostPrior("near", 2.0), 0.5), beside=(CostPrior("beside", 1.5), 2.0), far=(CostPrior("far", 1.0), 3.0)
    )
    choice = selection.choose(picture(300, 200), Target("quality", 5))
    assert (choice.prior, tuple(choice.others)) == (beside, (near,))


def test_a_single_prior_is_not_asked_for_its_costs(installed):
    (only,) = installed(only=(CostPrior("only", 1.0), 0.5))
    assert selection.choose(picture(300, 200), Target("quality", 5)) == selection.Choice(only, Target("rate", 1.0))
    assert not only.asked


def test_regions_stand_for_all_of_an_image():
    # the left third is flat, and so is a third of the regions
    samples = np.full((480, 720, 1), 9, dtype=np.uint8)
    samples[:, 240:] = np.random.default_rng(2).integers(0, 256, (480, 480, 1))
    (region,) = regions(Signal("image", samples))
    assert region.signal.shape == (80, 3 * 80 - 2 * 8) and region.count == 6 * 9 / 3
    inner = [region.signal.samples[:, first : first + 64] for first in (0, 80, 160)]
    assert [part.std() > 1 for part in inner] == [False, True, True]
    assert regions(Signal("image", samples[:128, :100]))[0].signal.shape == (128, 100)


def test_regions_fade_into_each_other():
    columns = np.repeat([10, 90, 250], 80).astype(np.uint8)  # as flat as each other: their order stays
    samples = np.broadcast_to(columns[None, :, None], (80, 240, 1)).copy()
    (region,) = regions(Signal("image", samples))
    row = region.signal.samples[5, :, 0].astype(int)
    assert list(row[69:82]) == [10, 10, 10, 15, 25, 35, 45, 55, 65, 75, 85, 90, 90]
    assert list(row[-80:-68]) == [100, 120, 140, 160, 180, 200, 220, 240, 250, 250, 250, 250]
    assert (region.signal.samples == row[None, :, None]).all()


def test_regions_of_sixteen_bits_stay_whole_numbers_of_sixteen_bits():
    samples = np.random.default_rng(4).integers(0, 65536, (200, 300, 3), dtype=np.uint16)
    (region,) = regions(Signal("image", samples, None, 16))
    assert region.signal.samples.dtype == np.uint16 and region.signal.bit_depth == 16


def test_regions_of_a_sound_are_longer_than_its_frames():
    sound = zoo_sounds.sound_of(np.random.default_rng(1).normal(0, 0.1, 400_000))
    parts = regions(sound)
    assert [part.signal.points for part in parts] == [1 << 15] * len(parts)
    assert sum(part.count for part in parts) == pytest.approx(400_000 // (1 << 15), rel=0.01)
    short = zoo_sounds.SOUNDS["tone"]()
    assert regions(short)[0].signal is short


@pytest.mark.parametrize("name", ["icon-hard", "matrix-code-1", "checkerboard-8"])
def test_what_is_no_photograph_does_not_go_to_mixtures_of_photographs(name):
    assert selection.choose(zoo_images.IMAGES[name](), Target("quality", 5)).prior.family.name == "pyramid"


def test_a_sound_of_a_rate_in_between_is_compared_and_one_of_a_usual_rate_is_not():
    for rate, others in ((16000, 0), (44100, 0), (24000, 1), (100, 1)):
        sound = zoo_sounds.sound_of(zoo_sounds.tone(rate / 20, rate, 1.0), rate)
        assert len([*selection.choose(sound, Target("quality", 5)).others]) == others
