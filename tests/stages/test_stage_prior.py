"""What priors for a range of rates have in common."""

from dataclasses import replace

import pytest
from support.priors import tiny_priors
from support.signals import smooth_image

from combiner_cli.errors import DamagedFileError, UsageError
from combiner_cli.families import registry
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.stages.prior import arguments_of, search_method


def a_prior(**changed):
    """Of noise levels 10 to 60, 1/2 to 4 bits per point, errors 2^-6 to 2^-12."""
    ranges = {"noise_codes": (10, 60), "rates": (0.5, 4.0), "errors": (2.0**-6, 2.0**-12)}
    return replace(tiny_priors()["pyramid"], **{**ranges, **changed})


def test_rate_level_and_error_go_together_by_hand():
    prior = a_prior()
    # three octaves of rate are 50 levels and six octaves of error
    assert prior.typical(0.5) == (10, pytest.approx(2.0**-6))
    assert prior.typical(1.0) == (pytest.approx(10 + 50 / 3), pytest.approx(2.0**-8))
    assert prior.typical(4.0) == (pytest.approx(60), pytest.approx(2.0**-12))
    assert prior.typical(8.0) == (pytest.approx(60 + 50 / 3), pytest.approx(2.0**-14))
    assert prior.bits_per_point == pytest.approx(2**0.5)
    low, high = prior.psnr_range()
    assert (low, high) == (pytest.approx(24.08, abs=0.01), pytest.approx(42.14, abs=0.01))  # 10 log10(2^8), (2^14)


def test_qualities_are_equal_steps_of_the_noise_level():
    prior = a_prior()
    levels = [prior.typical(prior.rate_at(quality))[0] for quality in range(1, 11)]
    # of images from a tenth of the way to 85 hundredths
    assert levels == pytest.approx([10 + 50 * (0.1 + 0.75 * number / 9) for number in range(10)])
    first, last = (tiny_priors()["lapped"].rate_at(quality) for quality in (1, 10))
    assert (first, last) == (pytest.approx(0.5 * 8**0.35), pytest.approx(0.5 * 8**0.92))


@pytest.mark.parametrize(
    "changed",
    [
        {"noise_codes": (60, 20)},
        {"noise_codes": (20, 128)},
        {"noise_codes": (-1, 60)},
        {"noise_codes": (20.0, 60)},
        {"noise_codes": (20, 60, 70)},
        {"rates": (2.0, 1.0)},
        {"rates": (1, 2)},
        {"errors": (0.1, 0.0)},
        {"errors": (0.1, float("inf"))},
    ],
    ids=str,
)
def test_impossible_ranges_are_seen(changed):
    assert a_prior().ranges_possible(127)
    assert not a_prior(**changed).ranges_possible(127)


def test_options_of_other_families_are_refused():
    prior = a_prior(name="some")
    assert search_method(prior, EncodingOptions(), "best") == "best"
    assert search_method(prior, EncodingOptions(search="astar", device="cpu"), "best") == "astar"
    for options, words in (
        ({"refinement": "gradient"}, "prior some has no use for the refinement gradient"),
        ({"device": "cuda"}, "prior some encodes on the CPU alone"),
        ({"search": "greedy"}, "no search greedy"),
    ):
        with pytest.raises(UsageError, match=words):
            search_method(prior, EncodingOptions(**options), "best")
        with pytest.raises(UsageError, match=words):
            prior.encode([smooth_image(4, 4)], Target("rate", 1.0), EncodingOptions(**options), lambda _: None)


def test_a_configuration_has_what_it_takes_and_nothing_else():
    family, configuration = registry.get("pyramid"), a_prior().configuration()
    plain, lists = ("kind", "size", "parts_from"), ("noise_codes", "rates", "errors")
    arguments = arguments_of(family, configuration, plain, lists)
    assert arguments == {
        "kind": "image",
        "size": 32,
        "parts_from": 8,
        "noise_codes": (10, 60),
        "rates": (0.5, 4.0),
        "errors": (2.0**-6, 2.0**-12),
    }
    for changed, words in (
        ({"more": 1}, "has no use for more"),
        ({"family": "lapped"}, "another family than pyramid"),
    ):
        with pytest.raises(DamagedFileError, match=words):
            arguments_of(family, {**configuration, **changed}, plain, lists)
    del configuration["parts_from"], configuration["size"]
    with pytest.raises(DamagedFileError, match="lacks parts_from, size"):
        arguments_of(family, configuration, plain, lists)


def test_several_signals_are_encoded_one_after_another():
    prior, told = a_prior(), []
    images = [smooth_image(6, 5, seed=seed) for seed in range(3)]
    alone = [prior.encode([one], Target("rate", 1.0), EncodingOptions(), lambda _: None)[0] for one in images]
    together = prior.encode(images, Target("rate", 1.0), EncodingOptions(), told.append)
    assert [one.payload for one in together] == [one.payload for one in alone]
    assert [progress.done for progress in told] == [0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1]
    assert len({tuple(one.seconds.items()) for one in together}) == 1  # of all of them
    assert set(together[0].seconds) == {"fit", "search"}
    assert prior.signals_together(images[0].format, EncodingOptions()) == 1
