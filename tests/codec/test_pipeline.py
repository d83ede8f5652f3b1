"""The pipeline, with a family that it has never heard of: what was coded is what comes back, or it is told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.plain_prior import PlainPrior
from support.signals import smooth_image, tone

from combiner_cli.codec import inspection, pipeline
from combiner_cli.container import metadata
from combiner_cli.container.file import File, with_metadata
from combiner_cli.errors import (
    DamagedFileError,
    InputError,
    PriorError,
    UnreachableError,
    UsageError,
    VerificationError,
)
from combiner_cli.family import Target, View
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

IMAGE = smooth_image(20, 30)


def test_what_the_encoder_measured_is_what_comes_back():
    prior = PlainPrior()
    result = pipeline.encode(IMAGE, prior, Target("size", 420))
    assert len(result.data) == 420 and result.payload_bytes == len(result.file.numbers(prior.fields)[1])
    again = pipeline.decode(File.parse(result.data), lambda _: prior)
    assert np.array_equal(again.samples, result.decoded.samples) and again.format == IMAGE.format
    assert metrics.psnr(IMAGE, again) > 20
    assert set(result.seconds) == {"fit", "prepare", "decode"}


def test_without_a_target_it_is_the_priors_own_rate():
    prior = PlainPrior()
    pipeline.encode(IMAGE, prior)
    assert prior.seen == [Target("rate", 1.0)]


def test_a_file_that_is_not_to_be_verified_is_not_decoded():
    class Blind(PlainPrior):
        def decode(self, file, view):
            raise AssertionError("it was decoded")

    result = pipeline.encode(IMAGE, Blind(), verify=False)
    assert result.decoded is None and "decode" not in result.seconds


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("latents", "does not decode to the weights that were coded; please report this"),
        ("payload", "does not decode to the weights that were coded; please report this"),
        ("format", "does not decode to the format of the original; please report this"),
    ],
)
def test_a_file_that_does_not_hold_what_was_coded_is_never_a_success(wrong, words):
    with pytest.raises(VerificationError, match=words):
        pipeline.encode(IMAGE, PlainPrior(wrong=wrong))


def test_a_file_that_its_own_decoder_refuses_is_never_a_success():
    class Refusing(PlainPrior):
        def decode(self, file, view):
            raise DamagedFileError("it is damaged")

    with pytest.raises(VerificationError, match=r"the file that was made does not decode \(it is damaged\)"):
        pipeline.encode(IMAGE, Refusing())


def test_a_batch_gives_every_signal_a_file_of_its_own():
    prior = PlainPrior()
    images = [smooth_image(8, 8, seed=number) for number in range(3)]
    results = pipeline.encode_batch(images, prior, Target("rate", 8.0))
    assert len(prior.seen) == 1
    for image, result in zip(images, results, strict=True):
        errors = [metrics.mean_squared_error(each, result.decoded) for each in images]
        assert min(errors) == metrics.mean_squared_error(image, result.decoded)


@pytest.mark.parametrize("other", [smooth_image(8, 9), smooth_image(8, 8, 1), smooth_image(8, 8, 3, 16)])
def test_signals_of_different_formats_are_not_encoded_together(other):
    with pytest.raises(InputError, match="one shape and format"):
        pipeline.encode_batch([smooth_image(8, 8), other], PlainPrior())


def test_a_prior_of_the_other_kind_is_refused():
    with pytest.raises(PriorError, match="prior plain is for sounds and this is an image"):
        pipeline.encode(IMAGE, PlainPrior(kind="sound"))
    file = pipeline.encode(IMAGE, PlainPrior()).file
    with pytest.raises(PriorError, match="prior plain is for sounds and this is an image"):
        pipeline.decode(file, lambda _: PlainPrior(kind="sound"))


def test_a_file_of_another_prior_is_refused():
    file = pipeline.encode(IMAGE, PlainPrior()).file
    another = PlainPrior(name="another", most=7)
    words = f"the file needs prior {file.prior_id:08x}, not another \\(id {another.id:08x}\\); leave out --prior"
    with pytest.raises(PriorError, match=words):
        pipeline.decode(file, lambda _: another)


def test_views_that_make_no_sense_are_refused():
    prior = PlainPrior(kind="sound")
    file = pipeline.encode(tone(64), prior).file
    with pytest.raises(UsageError, match="only an image can be resized; give --scale for a sound"):
        pipeline.decode(file, lambda _: prior, View(size=(2, 2)))
    fast = pipeline.encode(replace(tone(64), sample_rate=2**31), prior).file
    with pytest.raises(UsageError, match="2 times the sample rate of 2147483648 Hz is too high; choose a smaller"):
        pipeline.decode(fast, lambda _: prior, View(scale=2))


def test_an_image_of_another_size_is_interpolated_from_what_the_prior_renders():
    prior = PlainPrior()
    file = pipeline.encode(IMAGE, prior, Target("rate", 30.0)).file
    native = pipeline.decode(file, lambda _: prior).samples.astype(float)
    large = pipeline.decode(file, lambda _: prior, View(scale=3)).samples.astype(float)
    assert large.shape == (60, 90, 3)
    assert np.abs(large[1::3, 1::3] - native).mean() < 6


class TestReachingAPsnr:
    @pytest.mark.parametrize("psnr", [20.0, 22.0, 24.0])
    def test_the_smallest_file_found_reaches_it(self, psnr):
        prior = PlainPrior(most=10**6)
        result = pipeline.encode(IMAGE, prior, Target("psnr", psnr))
        assert prior.seen[0] == Target("psnr", psnr)
        assert all(target.unit == "size" for target in prior.seen[1:])
        assert len(prior.seen) <= 16
        assert metrics.psnr(IMAGE, result.decoded) >= psnr
        smaller = pipeline.encode(IMAGE, prior, Target("size", round(0.98 * len(result.data))))
        assert metrics.psnr(IMAGE, smaller.decoded) < psnr + 0.1

    def test_other_priors_are_tried_before_a_psnr_is_refused(self):
        coarse, coarser, fine = (PlainPrior(name, most=most) for name, most in (("a", 50), ("b", 20), ("c", 1000)))
        result = pipeline.encode(IMAGE, coarse, Target("psnr", 24.0), others=(coarser, fine))
        assert (result.prior, len(fine.seen) > 0, len(coarser.seen) > 0) == ("c", True, True)
        assert metrics.psnr(IMAGE, result.decoded) >= 24
        with pytest.raises(UnreachableError, match="prior a reaches"):
            pipeline.encode(IMAGE, coarse, Target("psnr", 24.0), others=(coarser,))

    def test_what_a_prior_cannot_reach_is_refused_with_what_it_can(self):
        with pytest.raises(UsageError, match=r"prior plain reaches \d+\.?\d* dB here; ask for less than 90 dB"):
            pipeline.encode(IMAGE, PlainPrior(most=50), Target("psnr", 90.0))

    def test_of_a_sound_it_is_told_as_snr_as_well(self):
        with pytest.raises(UsageError, match=r"dB \(SNR .* dB\) here; ask for less than 150 dB \(SNR .* dB\)"):
            pipeline.encode(tone(2000), PlainPrior(kind="sound", most=50), Target("psnr", 150.0))

    def test_it_is_verified_even_where_nobody_asked_for_that(self):
        result = pipeline.encode(IMAGE, PlainPrior(most=10**6), Target("psnr", 15.0), verify=False)
        assert result.decoded is not None

    def test_signals_of_a_batch_reach_it_one_by_one(self):
        images = [smooth_image(9, 9, seed=number) for number in range(2)]
        results = pipeline.encode_batch(images, PlainPrior(most=10**6), Target("psnr", 15.0))
        assert all(metrics.psnr(image, result.decoded) >= 15 for image, result in zip(images, results, strict=True))


class TestInspection:
    def test_everything_is_told_of_a_file_whose_prior_is_there(self):
        prior = PlainPrior()
        plain = pipeline.encode(IMAGE, prior, Target("size", 120)).file
        packed = metadata.pack(metadata.Metadata(xmp=b"<x/>"))
        file = File.parse(with_metadata(plain, packed))
        told = inspection.inspect(file, lambda _: prior)
        assert (told.prior, told.family, told.prior_id) == ("plain", "plain", prior.id)
        assert told.format == IMAGE.format and told.version == 5
        assert told.bytes == len(file.data) == 120 + told.metadata_bytes
        assert told.metadata.xmp == b"<x/>"
        assert told.header_bytes + told.group_bytes + told.class_bytes + told.metadata_bytes == told.bytes
        assert told.groups == {"all": told.group_bytes}
        assert told.bits_per_pixel == pytest.approx(8 * told.bytes / 600) and told.kilobits_per_second is None

    def test_without_the_prior_the_common_part_is_told(self):
        def missing(_):
            raise PriorError("it is not there")

        told = inspection.inspect(pipeline.encode(tone(800), PlainPrior(kind="sound")).file, missing)
        assert (told.prior, told.header_bytes, told.group_bytes, dict(told.groups)) == (None, None, None, {})
        assert told.kilobits_per_second == pytest.approx(8 * told.bytes / 0.05 / 1000)

    def test_a_file_over_the_limit_is_not_decoded_to_be_looked_at(self):
        class Large(PlainPrior):
            def points_rendered(self, signal_format, scale=1):
                return 2**26 + 1

            def decode(self, file, view):
                raise AssertionError("it was decoded")

        prior = Large()
        file = pipeline.encode(IMAGE, PlainPrior()).file
        told = inspection.inspect(file, lambda _: prior)
        assert told.prior == "plain" and told.group_bytes is None


def test_silence_has_an_infinite_psnr():
    prior = PlainPrior(most=10**6)
    flat = Signal("image", np.full((4, 4, 1), 255, np.uint8))
    result = pipeline.encode(flat, prior, Target("psnr", 60.0))
    assert math.isinf(metrics.psnr(flat, result.decoded))
