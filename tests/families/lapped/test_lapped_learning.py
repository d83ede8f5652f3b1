"""Learning lapped priors: stretches, resumption, learning on, and what comes of it."""

import math

import numpy as np
import pytest
import torch
from support.learned import lapped_plan, tiny_lapped
from support.signals import recordings_of_tones, tone
from support.training import Recorded, StoppedError

from combiner_cli.errors import UsageError
from combiner_cli.families.lapped import features, learning, training
from combiner_cli.families.lapped.encoder import Recording, simulate
from combiner_cli.families.lapped.learning import LappedLearning
from combiner_cli.families.lapped.prior import problem
from combiner_cli.families.lapped.transform import noise_deviation
from combiner_cli.learning import datasets, job, networks
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.job import LearningRequest
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal
from combiner_cli.stages.moments import LOWEST, OCTAVE, Moments
from combiner_cli.stages.shape import SoundShape


def learned(listener=None, checkpoint=None, start=None, signals=None, **changed):
    settings = lapped_plan(**{"steps": 3, "start": None if start is None else start.id, **changed})
    data = signals or recordings_of_tones(4), (signals or recordings_of_tones(1, 50))[:1]
    return job.run(LappedLearning(settings, *data, start=start), listener, checkpoint)


def test_an_interrupted_learning_ends_with_the_same_prior(tmp_path):
    checkpoint, seen = CheckpointFile(tmp_path / "x", 0.0), Recorded()
    whole = learned(steps=6)
    with pytest.raises(StoppedError):
        learned(Recorded(4), checkpoint, steps=6)
    resumed = learned(seen, checkpoint, steps=6)
    assert seen.steps == [4, 5, 6]
    assert resumed.prior.id == whole.prior.id
    assert resumed.points == whole.points


def test_learning_pays_and_goes_on_from_a_prior():
    start, unlearned = tiny_lapped(), learned(steps=1).prior
    recording = Recording(recordings_of_tones(1, 70)[0], 32)
    weights = recording.weights(recording.segments[0])
    unit = 2 * math.log(2) * noise_deviation(40) ** 2
    expected = [simulate(prior, weights, 40) for prior in (start, unlearned)]
    costs = [one.bits + one.class_bits + one.squared_error / unit for one in expected]
    assert costs[0] < 0.8 * costs[1]
    unchanged = training.new_networks(lapped_plan())
    networks.load_networks(unchanged, start.tensors(), start.name)
    again = networks.quantised(unchanged)
    assert all(np.array_equal(again[name], tensor) for name, tensor in start.tensors().items())
    more = learned(start=start)
    assert more.prior.id != start.id
    assert more.measurements[-1].training < 0.9 * learned().measurements[-1].training
    with pytest.raises(UsageError, match="other sizes"):
        learned(start=start, detail=(4, 8))


def test_a_prior_of_single_channels_has_no_networks_for_pairs():
    single = [recording for recording in recordings_of_tones(4) if len(recording) == 1]
    prior = learned(steps=1, channels=1, signals=single).prior
    assert problem(prior) is None
    assert {name.split(".")[1][-2:] for name in prior.stored} == {"_0"}


@pytest.mark.parametrize("hops", [(24,), (32, 8), (4112,), (16,) * 10], ids=str)
def test_hops_that_a_prior_cannot_have_are_refused(hops):
    learning.check_hops((16, 4096))
    with pytest.raises(UsageError, match="hop"):
        learning.check_hops(hops)


def test_sizes_are_estimated():
    estimate = LappedLearning(lapped_plan(), recordings_of_tones(4), recordings_of_tones(1, 50)).estimate()
    assert estimate.prior_bytes == sum(tensor.nbytes for tensor in tiny_lapped().tensors().values())
    assert estimate.seconds() > 0


def test_a_request_becomes_a_plan_that_fits_the_recordings(tmp_path):
    """Pairs are turned into what is coded: of the same sound twice nothing is left in the second channel."""
    for number in range(3):
        samples = np.repeat(tone(9000, 1, 8000, number).samples, 2 if number else 1, axis=1)
        media.write_signal(Signal("sound", samples, 8000, 16), tmp_path / f"{number}.wav")
    values = job.completed(learning.OPTIONS, {"hop": (32, 64), "steps": 1, "shards": 5}, "lapped")
    made = learning.begin(LearningRequest("p", datasets.open_dataset(tmp_path), 30, options=values))
    settings = made.settings
    assert (settings.hops, settings.sample_rate, settings.channels, settings.length) == ((32, 64), 8000, 2, 8192)
    assert settings.signals == 25  # 24 of about a second each, and one more for equal parts
    assert made.data.endswith(" at 8000 Hz")
    (held_out,) = made.held_out_signals
    assert np.abs(held_out[1]).max() < 1e-6 < np.abs(held_out[0]).max()
    small = LappedLearning(lapped_plan(steps=1), recordings_of_tones(2), recordings_of_tones(1))
    card = job.run(small).card("combiner x", "5 s")
    assert "Frames of 32 or 64 samples." in card
    assert "| noise level | rate | kbit/s | PSNR |" in card
    assert "single channels and pairs at 16000 Hz" in card


def test_learning_can_draw_shapes_of_the_noise():
    shaped = learned(steps=2, shapes=100)
    assert shaped.prior.id != learned(steps=2).prior.id
    assert np.isfinite(shaped.measurements[-1].training)


def test_the_noise_of_training_is_that_of_coding():
    noise, deviation = SoundShape(30, 0, 12), np.arange(40, 168, dtype=np.int16)
    segment = features.new_segment(np.array([50]), 64, 1, 8, 64)
    pitch = features.weight_pitches(64, 64, 16000, 0)
    exact = noise.shaped(Moments(np.zeros(128), deviation), pitch).noise / OCTAVE
    octaves = torch.from_numpy((deviation + LOWEST) / OCTAVE).float()
    passed = training.TrainingPass(None, np.random.default_rng(0), "cpu", noise, 16000)
    trained = passed._octaves_of_noise(octaves, segment, 0, np.arange(128)).numpy()
    assert np.abs(trained - exact).max() <= 1.1 / OCTAVE
