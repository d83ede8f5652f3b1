"""A second decoder, of version 3 with a lapped prior, as FORMAT.md has it: slow, plain, and the same samples."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import soxr
from combiner_cli.container.bitstream import Header
from conftest import tiny_lapped, tiny_lapped_mono, tone
from test_pyramid_format import StageDecoder, clipped, frequencies, logarithm, random_network, results

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import DamagedFileError
from combiner_cli.families.lapped import prior as recordings
from combiner_cli.families.lapped import transform as lapped
from combiner_cli.families.lapped.prior import LappedPrior

DIGIT = [7288] + [7281] * 8
FAR = [60000, 2500, 1200, 700, 450, 300, 200, 120, 66]
NEAR = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6)
OWN = ((), (-10, -6, -2, 2, 6, 10), (-7, -5, -3, -1, 1, 3, 5, 7))


class Channel:
    """What is decoded of a channel of a segment: dictionaries, where what is missing is 0."""

    def __init__(self):
        self.weights, self.classes = {}, {}

    def loudness(self, frame, places):
        amplitudes = [abs(self.weights.get((frame, i), 0)) for i in places]
        return [min(logarithm(amplitude + 64, 128), 2047) for amplitude in amplitudes]

    def smooth(self, frame, i):
        whole = sum(abs(self.weights.get((frame, i + n), 0)) for n in range(-7, 8))
        return min(logarithm(whole + 960, 128) - logarithm(960, 128), 2047)

    def bands(self, frame, numbers):
        return [64 * self.classes.get((frame, b), 0) for b in numbers]


def flat(count):
    return [65536 - (count - 1) * (65536 // count), *[65536 // count] * (count - 1)]


def around(i, offsets):
    return [i + n for n in offsets]


class Decoder(StageDecoder):
    """A file of a sound."""

    def __init__(self, data, configuration, tensors):
        super().__init__(data, configuration, tensors)
        (self.length, self.sample_rate), self.configuration = self.size, configuration
        self.hop, self.channels = configuration["hops"][self.transform[0]], self.form % 4 + 1
        self.networks = [
            {name: own for name, own in tensors.items() if name.startswith(f"{level}.")} for level in range(4)
        ]
        self.weights, self.steered, self.cut, self.far = [], [], [], 0

    def place(self, i):
        h = 896 * i // self.hop
        hats = [max(128 - abs(h - 128 * n), 0) for n in range(8)]
        return [*hats, 2 * self.code, logarithm(64 * self.hop, 64) - 512]

    def detail_features(self, level, phase, t, i, own, first):
        b, d, place = i // 8, 2**level, i % 8
        beside = b - 1 if place < 4 else b + 1
        beside, share = beside if 0 <= beside < self.bands else b, abs(2 * place - 7)
        here = own.classes[t, b]
        found = [16 * ((16 - share) * here + share * own.classes[t, beside])]
        found += [128 * (n == here) for n in range(16)]
        found += own.bands(t, around(b, (-2, -1, 1, 2)))
        if level < 3:
            found += [own.bands(t + n * d, [b])[0] for n in (-1, -2, 1, 2)]
            for sign in (-1, 1):
                found += own.loudness(t + sign * d, around(i, NEAR))
                if phase:
                    found += own.loudness(t + sign * 2 * d, around(i, (-1, 0, 1)))
                found += own.loudness(t + sign * 3 * d, around(i, (-1, 0, 1)))
        found += own.loudness(t, around(i, OWN[phase]))
        found += [own.smooth(t, i)] if phase else []
        found += [own.smooth(t + n * d, i) for n in (-1, -2, -3, 1, 2, 3)] if level < 3 else []
        if first:
            found += [*first.loudness(t, around(i, (-1, 0, 1))), first.smooth(t, i), *first.bands(t, [b])]
        return found + self.place(i)

    def activity_features(self, level, parity, t, b, own, first):
        found, d = [], 2**level
        for sign in (-1, 1) if level < 3 else ():
            found += own.bands(t + sign * d, range(b - 3, b + 4)) + own.bands(t + sign * 3 * d, range(b - 1, b + 2))
        found += own.bands(t, around(b, (-3, -1, 1, 3))) if parity else []
        found += first.bands(t, range(b - 2, b + 3)) if first else []
        return found + self.place(8 * b + 4)

    def foretold(self, level, kind, number, channel, features):
        return results(self.networks[level], f"{level}.{kind}_{number}_{channel}", features)[0]

    def segment(self, count, final):
        """The weights of a segment in steps."""
        u, v = self.range_decoder.decode(DIGIT), self.range_decoder.decode(DIGIT)
        self.bands = math.ceil((9 * u + v) * (self.hop // 8) / 80)
        self.cut.append(self.hop // 8 - self.bands)
        channels = [Channel() for _ in range(self.channels)]
        for level in (3, 2, 1, 0):
            frames = range(0, count, 8) if level == 3 else range(2**level, count, 2 ** (level + 1))
            for (number, own), parity in itertools.product(enumerate(channels), range(2)):
                seen, first = self.seen(number, channels)
                for t, b in itertools.product(frames, range(parity, self.bands, 2)):
                    features = self.activity_features(level, parity, t, b, own, first)
                    logits = self.foretold(level, "activity", parity, seen, features)
                    own.classes[t, b] = self.range_decoder.decode(frequencies(logits))
                    self.classes.append(own.classes[t, b])
            for phase, (number, own) in itertools.product(range(3), enumerate(channels)):
                seen, first = self.seen(number, channels)
                places = list(itertools.product(frames, range(*((0, 2, 1)[phase], 8 * self.bands, (4, 4, 2)[phase]))))
                moments = []
                for t, i in places:
                    k = -38
                    if own.classes[t, i // 8]:
                        features = self.detail_features(level, phase, t, i, own, first)
                        (result,) = self.foretold(level, "detail", phase, seen, features)
                        k = clipped(result * 16 // 2**22, -38, 320)
                    moments.append((0, k))
                density = (2 + phase * self.channels + number, 1, 0, 0)[level] if final else 0
                last = final and (level, phase, number) == (0, 2, self.channels - 1)
                values = self.stage(moments, density, last, level)
                own.weights |= {
                    place: clipped(value, -(2**28), 2**28) for place, value in zip(places, values, strict=True)
                }
        found = np.zeros((self.channels, count, self.hop))
        for number, own in enumerate(channels):
            for (t, i), value in own.weights.items():
                found[number, t, i] = value
        return found

    def widened(self, moments):
        """Moments with wider priors for the weights of a part that the stream of classes names."""
        moments = [list(moment) for moment in moments]
        coded = [moment for moment in moments if moment[1] >= -37]
        count, named = 8, 0
        while count == 8 and named < len(coded):
            count = self.range_decoder.decode(FAR)
            named += count
            for _ in range(count):
                number, place = 0, 1
                while place < len(coded):
                    classes = min(math.ceil(len(coded) / place), 16)
                    number, place = number + place * self.range_decoder.decode(flat(classes)), 16 * place
                moment = coded[min(number, len(coded) - 1)]
                moment[1] = min(moment[1] + 16 * (1 + self.range_decoder.decode(flat(4))), 320)
                self.far += 1
        return moments

    def seen(self, number, channels):
        """As which channel a network sees one, and the first one if it knows of that."""
        known = number and self.configuration["channels"] == 2
        return (number, channels[0]) if known else (0, None)

    def values(self, scale=1):
        """The sound in [−1, 1]: ``(length, channels)``."""
        ours = self.configuration["sample_rate"]
        near = 5 * max(ours, self.sample_rate) <= 6 * min(ours, self.sample_rate)
        coded_rate = self.sample_rate if near else ours
        length = math.ceil(self.length * coded_rate / self.sample_rate)
        frames = math.ceil(length / self.hop) + 1
        count = math.ceil(frames / recordings.MOST_FRAMES)
        for number in range(count):
            if number:
                self.steered.append(self.range_decoder.decode(DIGIT))
                self.share.densities[0] = clipped(self.share.densities[0] + self.steered[-1] - 4, 0, 127)
            first, last = (frames * place // count for place in (number, number + 1))
            self.weights.append(self.segment(last - first, number == count - 1))
        weights = np.concatenate(self.weights, axis=1) * 2 ** (-2 - self.code / 8) / 64
        channels = np.zeros((self.channels, scale * length))
        x, k = np.arange(scale * length), np.arange(self.hop)[:, None]
        for frame in range(frames):
            t = (x + 0.5) / (scale * self.hop) - (frame - 1)
            inside = (t > 0) & (t < 2)
            t = t[inside]
            window = np.sin(math.pi / 2 * np.sin(math.pi * t / 2) ** 2)
            features = window * math.sqrt(2 / self.hop) * np.cos(math.pi * (t + 0.5) * (k + 0.5))
            channels[:, inside] += weights[:, frame] @ features
        if self.channels == 2:
            turn = math.pi * self.transform[1] / 64
            (y, z), cosine, sine = channels, math.cos(turn), math.sin(turn)
            channels = np.stack([y * cosine - z * sine, y * sine + z * cosine])
        wanted, found = scale * self.length, channels.T
        if coded_rate != self.sample_rate:
            found = soxr.resample(found.astype(np.float32), coded_rate, self.sample_rate, quality="VHQ")[:wanted]
        return np.concatenate([found, np.zeros((wanted - len(found), self.channels))])


def some_prior(channels):
    """A prior of small random networks, whose deviations are about those that the classes stand for."""
    generator, stored = np.random.default_rng(3), {}
    for level in range(4):
        for name, network in lapped.networks(level).items():
            rows, activity = network.values, network.values > 1
            weights, linear = np.full(rows, 2000 if activity else 500), (rows, network.relative)
            tensors = random_network(generator, network.features, linear, weights, 0 if activity else -2 * 2**22)
            if not activity:
                tensors["linear"][...] = 2**14
            if channels == 2 or name.endswith("_0"):
                stored |= {f"{level}.{name}.{part}": tensor for part, tensor in tensors.items()}
    ranges = ((10, 60), (0.5, 4.0), (0.01, 0.0005))
    return LappedPrior("some", "sound", 16000, (16, 48, 32), channels, *ranges, 500, stored, 4)


PRIOR, MONO = some_prior(2), some_prior(1)


def decoded(data, prior, scale=1):
    """The second decoder, once it has given the same as the first."""
    own = Decoder(data, json.loads(json.dumps(prior.configuration())), prior.tensors())
    values = own.values(scale)
    content = pipeline.read(data, prior, scale)
    assert content.classes.tolist() == own.classes
    # the steps from whole weights to values are in float32
    rounding = 5e-7 * (1 + np.abs(values).max())
    np.testing.assert_allclose(values, content.values, rtol=0, atol=rounding)
    steps = 2.0 ** (23 if own.form & 4 else 15)
    samples = np.clip(np.rint(values * steps), -steps, steps - 1)
    sound = pipeline.decode(data, lambda _: prior, scale)
    assert (sound.sample_rate, sound.samples.shape) == (scale * own.sample_rate, samples.shape)
    difference = np.abs(sound.samples * steps - samples)
    assert difference.max() <= math.ceil(rounding * steps)
    assert own.form & 4 or (difference > 0).sum() <= 2 + 0.01 * difference.size
    return own


@pytest.fixture
def weights(monkeypatch):
    """The weights in steps of each segment that the program decodes."""
    found, usual = [], recordings.descend

    def watched(*arguments):
        found.append(usual(*arguments))
        return found[-1]

    monkeypatch.setattr("combiner_cli.families.lapped.decoder.descend", watched)
    return found


def check_weights(own, found):
    """Every weight of both decoders is the same: the program's of the first of its readings."""
    assert len(found) >= len(own.weights)
    for ours, theirs in zip(own.weights, found, strict=False):
        bins = theirs.shape[-1]
        assert np.array_equal(ours[..., :bins], theirs) and not ours[..., bins:].any()


def test_the_priors_are_possible():
    assert recordings.problem(PRIOR) is None and recordings.problem(MONO) is None


@pytest.mark.parametrize(
    ("length", "channels", "rate", "hops", "frames", "settings"),
    [
        (700, 1, 16000, (32, 64), 512, pipeline.Settings(rate=1.0)),
        (500, 2, 16000, (64,), 512, pipeline.Settings(size=300)),
        (600, 2, 14000, (16,), 20, pipeline.Settings(size=400)),
        (900, 1, 8000, (32,), 9, pipeline.Settings(size=260)),
        (400, 1, 44100, (48,), 512, pipeline.Settings(rate=0.7)),
        (1, 2, 16000, (32, 64), 512, pipeline.Settings(rate=1.0)),
        (300, 1, 16000, (32,), 6, pipeline.Settings(rate=2.0)),
    ],
)
def test_the_description_is_enough_to_decode_what_the_encoder_writes(
    length, channels, rate, hops, frames, settings, monkeypatch, weights
):
    monkeypatch.setattr(recordings, "MOST_FRAMES", frames)
    prior = replace(tiny_lapped(), hops=hops)
    data = pipeline.encode(tone(length, channels, rate), prior, settings).data
    assert settings.size in (None, len(data))
    weights.clear()
    own = decoded(data, prior)
    check_weights(own, weights)
    assert own.coded or length == 1  # which is silent
    assert len(own.steered) == len(own.weights) - 1


def test_an_encoder_codes_large_weights_in_parts(weights):
    prior = replace(tiny_lapped(), parts_from=4)
    data = pipeline.encode(tone(500, 2), prior, pipeline.Settings(rate=3.0)).data
    weights.clear()
    own = decoded(data, prior)
    check_weights(own, weights)
    assert own.parts > 3 and own.more


def test_a_prior_of_one_channel_decodes_pairs(weights):
    data = pipeline.encode(tone(400, 2), tiny_lapped_mono(), pipeline.Settings(rate=0.8)).data
    weights.clear()
    check_weights(decoded(data, tiny_lapped_mono()), weights)


def test_the_encoder_steers_and_cuts(monkeypatch):
    monkeypatch.setattr(recordings, "MOST_FRAMES", 8)
    own = decoded(pipeline.encode(tone(1500), tiny_lapped(), pipeline.Settings(size=250)).data, tiny_lapped())
    assert set(own.steered) != {4}
    assert max(own.cut) > 0


@pytest.mark.parametrize("scale", [2, 3])
def test_the_description_is_enough_to_render_at_another_scale(scale):
    data = pipeline.encode(tone(300, 2), tiny_lapped(), pipeline.Settings(rate=1.0)).data
    decoded(data, tiny_lapped(), scale)
    decoded(pipeline.encode(tone(300, 1, 8000), tiny_lapped()).data, tiny_lapped(), scale)


def any_file(prior, seed, length, channels, hop, groups, chains, noise):
    """A file of random classes and indices, which no encoder would write."""
    generator = np.random.default_rng(seed)
    classes, indices = (generator.integers(0, 256, count).astype(np.uint8).tobytes() for count in (60, groups))
    densities = tuple(generator.integers(0, 128, 8).tolist())
    transform = (hop, int(generator.integers(0, 64)))
    header = Header(prior.id, "sound", (length,), channels, 16, 15000, (), noise, len(classes), densities, chains)
    return bitstream.pack(replace(header, transform=transform), classes + indices)


@pytest.mark.parametrize(
    ("prior", "length", "channels", "hop", "groups", "chains", "noise"),
    [
        (PRIOR, 350, 2, 0, 900, 5, 50),
        (PRIOR, 400, 1, 1, 200, 1, 127),
        (PRIOR, 330, 2, 2, 0, 64, 90),
        (MONO, 300, 2, 0, 300, 2, 20),
        (MONO, 16, 1, 0, 40, 1, 80),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_the_description_is_enough_to_decode_any_file(
    prior, length, channels, hop, groups, chains, noise, seed, monkeypatch, weights
):
    monkeypatch.setattr(recordings, "MOST_FRAMES", 12)
    own = decoded(any_file(prior, seed, length, channels, hop, groups, chains, noise), prior)
    check_weights(own, weights)


def test_the_tests_meet_pruned_weights_parts_and_all_classes():
    files = [any_file(PRIOR, seed, 350, 2, 0, 900, 5, 50) for seed in range(2)]
    own = [decoded(data, PRIOR) for data in files]
    assert all(one.pruned and one.coded for one in own)
    assert any(one.parts for one in own) and any(one.more for one in own) and any(one.far for one in own)
    assert {k for one in own for k in one.classes} == set(range(16))


def test_a_hop_that_the_prior_does_not_have_is_refused():
    data = any_file(PRIOR, 0, 100, 1, 3, 20, 1, 50)
    with pytest.raises(DamagedFileError, match="range"):
        pipeline.decode(data, lambda _: PRIOR)
    with pytest.raises(IndexError):
        Decoder(data, PRIOR.configuration(), PRIOR.tensors())
