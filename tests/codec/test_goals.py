"""From what a user asks of a file to what an encoder is told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.plain_prior import PlainPrior
from support.signals import smooth_image, tone

from combiner_cli.codec import goals
from combiner_cli.errors import PriorError, UsageError
from combiner_cli.family import Target
from combiner_cli.priors.selection import Choice

IMAGE, SOUND = smooth_image(20, 30), tone(8000)


def test_a_wish_is_one_number_in_one_unit():
    assert goals.target_of() == Target("quality", 5, None)
    assert goals.target_of(quality=None, size=77) == Target("size", 77, None)
    assert goals.target_of("psnr", psnr=30.0, snr=None) == Target("psnr", 30.0)
    assert goals.target_of("perceptual", ssimulacra2=70.0) == Target("ssimulacra2", 70.0, "perceptual")
    with pytest.raises(UsageError, match="-q and --psnr exclude each other; give one of them"):
        goals.target_of(psnr=30.0, quality=5)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"quality": 0}, "a quality is from 1 to 10, not 0"),
        ({"quality": 11}, "a quality is from 1 to 10, not 11"),
        ({"quality": 2.5}, "a quality is from 1 to 10, not 2.5"),
        ({"size": 0}, "--size takes a positive number"),
        ({"bits_per_pixel": -1.0}, "--bpp takes a positive number"),
        ({"kilobits_per_second": math.inf}, "--kbps takes a finite number"),
        ({"psnr": math.nan}, "--psnr takes a finite number"),
        ({"ssimulacra2": 100}, "--ssimulacra2 takes a number under 100"),
        ({"psnr": 30.0, "tune": "perceptual"}, "--psnr weighs all errors alike; leave out --tune perceptual"),
        ({"snr": 30.0, "tune": "perceptual"}, "--snr weighs all errors alike; leave out --tune perceptual"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wish, words):
    with pytest.raises(UsageError, match=words):
        goals.target_of(**wish)


@pytest.mark.parametrize(
    ("signal", "wish", "settled"),
    [
        (IMAGE, Target("size", 77), Target("size", 77)),
        (IMAGE, Target("bits_per_pixel", 1.5), Target("size", 112)),  # 600 pixels · 1.5 / 8, at most
        (IMAGE, Target("psnr", 30.0), Target("psnr", 30.0)),
        (IMAGE, Target("quality", 5), Target("rate", 1.0)),
        (SOUND, Target("kilobits_per_second", 6.0), Target("size", 375)),  # half a second
        (SOUND, Target("quality", 10), Target("rate", 2.0)),
    ],
)
def test_targets_are_settled_for_a_signal(signal, wish, settled):
    prior = PlainPrior(kind=signal.kind)
    assert goals.plan(signal, wish, prior) == Choice(prior, settled)


def test_a_tune_that_nobody_names_is_the_usual_one_of_the_kind():
    for signal in (IMAGE, SOUND):
        prior = PlainPrior(kind=signal.kind)
        for tune in ("perceptual", "psnr"):
            assert goals.plan(signal, Target("size", 77, tune), prior).target.tune == tune
        assert goals.plan(signal, Target("size", 77, None), prior).target.tune == goals.USUAL_TUNE
        assert goals.plan(signal, Target("quality", 3, "perceptual"), prior).target.perceptual
    assert not Target("psnr", 30.0, "perceptual").perceptual


def test_an_snr_is_a_psnr_of_the_sound_at_hand():
    target = goals.plan(SOUND, Target("snr", 20.0), PlainPrior(kind="sound")).target
    energy = float(np.mean(np.square(SOUND.samples.astype(float))))
    assert target.unit == "psnr" and target.value == pytest.approx(20 + 10 * math.log10(4 / energy))
    silent = replace(SOUND, samples=0 * SOUND.samples)
    with pytest.raises(UsageError, match="the sound is silent, so that it has no SNR to reach; give -q or --psnr"):
        goals.plan(silent, Target("snr", 20.0), PlainPrior(kind="sound"))


@pytest.mark.parametrize(
    ("signal", "unit", "words"),
    [
        (IMAGE, "snr", "--snr is for sounds; give --psnr for an image"),
        (IMAGE, "kilobits_per_second", "--kbps is for sounds; give --bpp for an image"),
        (SOUND, "bits_per_pixel", "--bpp is for images; give --kbps for a sound"),
    ],
)
def test_a_unit_of_the_other_kind_is_refused(signal, unit, words):
    with pytest.raises(UsageError, match=words):
        goals.plan(signal, Target(unit, 1.0), PlainPrior(kind=signal.kind))


def test_a_prior_of_the_other_kind_is_refused():
    with pytest.raises(PriorError, match="prior plain is for images and this is a sound; choose another prior"):
        goals.plan(SOUND, Target("quality", 5), PlainPrior())


def test_metadata_take_their_share_of_a_size_and_of_nothing_else():
    prior = PlainPrior()
    assert goals.plan(IMAGE, Target("size", 77), prior, 70).target == Target("size", 7)
    assert goals.plan(IMAGE, Target("bits_per_pixel", 1.5), prior, 12).target == Target("size", 100)
    assert goals.plan(IMAGE, Target("psnr", 30.0), prior, 70).target == Target("psnr", 30.0)
    with pytest.raises(UsageError, match="the metadata take 77 bytes of 77; ask for a larger file, or leave out"):
        goals.plan(IMAGE, Target("size", 77), prior, 77)
