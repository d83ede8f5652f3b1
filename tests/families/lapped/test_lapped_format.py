"""A second decoder of files with a lapped prior, as FORMAT.md has it: slow, plain, and the same samples."""

import itertools
import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import soxr
from support.coding import coded, invented_file
from support.learned import tiny_lapped, tiny_lapped_mono
from support.plain import candidate
from support.plain_stages import StageDecoder, clipped, expected_information, frequencies, logarithm, results
from support.priors import tiny_priors
from support.signals import tone

from combiner_cli.container.file import File, pack
from combiner_cli.errors import DamagedFileError
from combiner_cli.families.lapped import decoder, encoder, transform
from combiner_cli.family import Target, View
from combiner_cli.signals.signal import Format
from combiner_cli.stages.shape import SOUND_FIELDS, SoundShape, header_numbers

DIGIT = [7288] + [7281] * 8
NEAR = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6)
DECODED = ((), (-10, -6, -2, 2, 6, 10), (-7, -5, -3, -1, 1, 3, 5, 7))


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


def lg(number):
    """A logarithm to base 2 that is straight between powers of two."""
    bits = number.bit_length()
    return bits - 2 + Fraction(2 * number, 2**bits)


def around(i, offsets):
    return [i + n for n in offsets]


class Decoder(StageDecoder):
    """A file of a sound."""

    def __init__(self, data, configuration, tensors):
        super().__init__(data, configuration, tensors, shape=4, further=2)
        self.exponent, self.smoothing, self.tilt, self.fill = self.shape or (0, 0, 0, 0)
        (self.length, self.sample_rate), self.configuration = self.size, configuration
        self.hop, self.channels = configuration["hops"][self.transform[0] % 9], self.form % 4 + 1
        self.as_it_is = self.transform[0] >= 9
        self.networks = [
            {name: tensor for name, tensor in tensors.items() if name.startswith(f"{level}.")} for level in range(4)
        ]
        self.weights, self.adjusted, self.cut = [], [], []
        self.filled = {}  # deviations in steps and normal values, by channel, frame of the sound and weight

    def place(self, i):
        h = 896 * i // self.hop
        hats = [max(128 - abs(h - 128 * n), 0) for n in range(8)]
        return [*hats, 2 * self.noise_level, logarithm(64 * self.hop, 64) - 512]

    def detail_features(self, level, phase, t, i, channel, first):
        b, d, place = i // 8, 2**level, i % 8
        beside = b - 1 if place < 4 else b + 1
        beside, share = beside if 0 <= beside < self.bands else b, abs(2 * place - 7)
        here = channel.classes[t, b]
        seen = [16 * ((16 - share) * here + share * channel.classes[t, beside])]
        seen += [128 * (n == here) for n in range(16)]
        seen += channel.bands(t, around(b, (-2, -1, 1, 2)))
        if level < 3:
            seen += [channel.bands(t + n * d, [b])[0] for n in (-1, -2, 1, 2)]
            for sign in (-1, 1):
                seen += channel.loudness(t + sign * d, around(i, NEAR))
                if phase:
                    seen += channel.loudness(t + sign * 2 * d, around(i, (-1, 0, 1)))
                seen += channel.loudness(t + sign * 3 * d, around(i, (-1, 0, 1)))
        seen += channel.loudness(t, around(i, DECODED[phase]))
        seen += [channel.smooth(t, i)] if phase else []
        seen += [channel.smooth(t + n * d, i) for n in (-1, -2, -3, 1, 2, 3)] if level < 3 else []
        if first:
            seen += [*first.loudness(t, around(i, (-1, 0, 1))), first.smooth(t, i), *first.bands(t, [b])]
        return seen + self.place(i)

    def class_features(self, level, parity, t, b, channel, first):
        seen, d = [], 2**level
        for sign in (-1, 1) if level < 3 else ():
            seen += channel.bands(t + sign * d, range(b - 3, b + 4))
            seen += channel.bands(t + sign * 3 * d, range(b - 1, b + 2))
        seen += channel.bands(t, around(b, (-3, -1, 1, 3))) if parity else []
        seen += first.bands(t, range(b - 2, b + 3)) if first else []
        return seen + self.place(8 * b + 4)

    def predicted(self, level, kind, number, channel, features):
        return results(self.networks[level], f"{level}.{kind}_{number}_{channel}", features)[0]

    def fill_band(self, number, t, b, frequency, strength):
        """Note the noise in the place of the band of a frame of the sound that is of class 0."""
        deviation = 64 * strength * math.sqrt(1 - frequency / 65536)
        for j in range(8):
            self.filled[number, t, 8 * b + j] = deviation * candidate(
                self.channels * t + number, 8 * b + j, self.key, 2
            )

    def segment(self, begin, count, final, strength):
        """The weights of a segment in steps."""
        u, v = self.range_decoder.decode(DIGIT), self.range_decoder.decode(DIGIT)
        self.bands = math.ceil((9 * u + v) * (self.hop // 8) / 80)
        self.cut.append(self.hop // 8 - self.bands)
        channels = [Channel() for _ in range(self.channels)]
        for level in (3, 2, 1, 0):
            frames = range(0, count, 8) if level == 3 else range(2**level, count, 2 ** (level + 1))
            for (number, channel), parity in itertools.product(enumerate(channels), range(2)):
                seen, first = self.seen(number, channels)
                for t, b in itertools.product(frames, range(parity, self.bands, 2)):
                    features = self.class_features(level, parity, t, b, channel, first)
                    logits = self.predicted(level, "activity", parity, seen, features)
                    likely = frequencies(logits)
                    channel.classes[t, b] = self.range_decoder.decode(likely)
                    self.classes.append(channel.classes[t, b])
                    if channel.classes[t, b] == 0 and strength:
                        self.fill_band(number, begin + t, b, likely[0], strength)
            for phase, (number, channel) in itertools.product(range(3), enumerate(channels)):
                seen, first = self.seen(number, channels)
                places = list(itertools.product(frames, range(*((0, 2, 1)[phase], 8 * self.bands, (4, 4, 2)[phase]))))
                moments = []
                for t, i in places:
                    k = -38
                    if channel.classes[t, i // 8]:
                        features = self.detail_features(level, phase, t, i, channel, first)
                        (result,) = self.predicted(level, "detail", phase, seen, features)
                        k = clipped(result * 16 // 2**22, -38, 320)
                    moments.append((0, k))
                density = (2 + phase * self.channels + number, 1, 0, 0)[level] if final else 0
                last = final and (level, phase, number) == (0, 2, self.channels - 1)
                noise = self.noise_of(places, [k for _, k in moments])
                moments = [(0, max(k - own, -38) if k > -38 else k) for (_, k), own in zip(moments, noise, strict=True)]
                values = self.stage(moments, density, last, level, noise=noise)
                channel.weights |= {
                    place: clipped(value, -(2**28), 2**28) for place, value in zip(places, values, strict=True)
                }
        weights = np.zeros((self.channels, count, self.hop))
        for number, channel in enumerate(channels):
            for (t, i), value in channel.weights.items():
                weights[number, t, i] = value
        return weights

    def noise_of(self, places, numbers):
        """Sixteenths of an octave by which the noise of weights is coarser than the base."""
        known = {place: expected_information(k) for place, k in zip(places, numbers, strict=True)}
        noise, step = [], 2 if any(i % 2 for _, i in places) else 4
        for t, i in places:
            near = [known.get((t, i + n * step)) for n in range(-self.smoothing, self.smoothing + 1)]
            near = [information for information in near if information is not None]
            low = 2800 * self.hop
            pitch = math.floor(16 * (lg(low + (2 * i + 1) * self.configuration["sample_rate"]) - lg(low)))
            noise.append((sum(near) // len(near) * self.exponent + 512) // 1024 + (self.tilt * pitch + 8) // 16)
        return noise

    def seen(self, number, channels):
        """As which channel a network sees one, and the first one if it knows of that."""
        known = number and self.configuration["channels"] == 2
        return (number, channels[0]) if known else (0, None)

    def values(self, scale=1, fill=None):
        """The sound in [−1, 1]: ``(length, channels)``."""
        strength = self.fill / 16 if fill is None else fill
        ours = self.configuration["sample_rate"]
        near = 5 * max(ours, self.sample_rate) <= 6 * min(ours, self.sample_rate)
        coded_rate = ours
        if near or self.as_it_is:
            coded_rate = self.sample_rate
        elif 3 * self.sample_rate < ours:
            fitting = [m for m in (8, 4, 2) if m * self.length <= 2048 and m * self.sample_rate <= ours]
            coded_rate = max([1, *fitting]) * self.sample_rate
        length = math.ceil(self.length * coded_rate / self.sample_rate)
        frames = math.ceil(length / self.hop) + 1
        count = math.ceil(frames / transform.MOST_FRAMES)
        for number in range(count):
            if number:
                self.adjusted.append(self.range_decoder.decode(DIGIT))
                self.share.densities[0] = clipped(self.share.densities[0] + self.adjusted[-1] - 4, 0, 127)
            first, last = (frames * place // count for place in (number, number + 1))
            self.weights.append(self.segment(first, last - first, number == count - 1, strength))
        weights = np.concatenate(self.weights, axis=1)
        for place, noise in self.filled.items():
            weights[place] += noise
        weights = weights * 2 ** (-2 - self.noise_level / 8) / 64
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
        wanted, samples = scale * self.length, channels.T
        if coded_rate != self.sample_rate:
            samples = soxr.resample(samples.astype(np.float32), coded_rate, self.sample_rate, quality="VHQ")[:wanted]
        return np.concatenate([samples, np.zeros((wanted - len(samples), self.channels))])


PRIOR, MONO = (tiny_priors()[name] for name in ("lapped", "lapped-mono"))


def decoded_twice(data, prior, scale=1, fill=None):
    """The second decoder, once it has given the same as the first."""
    plain = Decoder(data, json.loads(json.dumps(prior.configuration())), prior.tensors())
    values, weights = plain.values(scale, fill), []
    with pytest.MonkeyPatch.context() as patch:
        usual = decoder.descend
        patch.setattr(decoder, "descend", lambda *arguments: weights.append(usual(*arguments)) or weights[-1])
        decoded = prior.decode(File.parse(data), View(scale=scale, keep_latents=True, fill=fill))
    assert decoded.latents.tolist() == plain.latents
    for expected, steps in zip(plain.weights, weights, strict=True):
        bins = steps.shape[-1]
        assert np.array_equal(expected[..., :bins], steps) and not expected[..., bins:].any()
    # the steps from whole weights to values are in float32
    rounding = 5e-7 * (1 + np.abs(values).max())
    np.testing.assert_allclose(values, decoded.values, rtol=0, atol=rounding)
    steps = 2.0 ** (23 if plain.form & 4 else 15)
    samples = np.clip(np.rint(values * steps), -steps, steps - 1)
    sound = decoded.signal()
    assert (sound.sample_rate, sound.samples.shape) == (scale * plain.sample_rate, samples.shape)
    difference = np.abs(sound.samples * steps - samples)
    assert difference.max() <= math.ceil(rounding * steps)
    assert plain.form & 4 or (difference > 0).sum() <= 2 + 0.01 * difference.size
    return plain


@pytest.mark.parametrize(
    ("length", "channels", "rate", "hops", "frames", "target"),
    [
        (700, 1, 16000, (32, 64), 512, Target("rate", 0.8)),
        (500, 2, 16000, (64,), 512, Target("size", 300)),
        (600, 2, 14000, (16,), 20, Target("size", 400)),
        (900, 1, 8000, (32,), 9, Target("size", 260)),
        (400, 1, 44100, (48,), 512, Target("rate", 0.6)),
        (1, 2, 16000, (32, 64), 512, Target("rate", 0.8)),
        (300, 1, 16000, (32,), 6, Target("rate", 1.6)),
    ],
)
def test_the_description_is_enough_to_decode_what_the_encoder_writes(
    length, channels, rate, hops, frames, target, monkeypatch
):
    monkeypatch.setattr(transform, "MOST_FRAMES", frames)
    prior = replace(tiny_lapped(), hops=hops)
    data = coded(tone(length, channels, rate), prior, target).file.data
    assert target.unit != "size" or len(data) == target.value
    plain = decoded_twice(data, prior)
    assert plain.coded or length == 1  # which is silent
    assert len(plain.adjusted) == len(plain.weights) - 1


def test_an_encoder_codes_large_weights_in_parts():
    prior = replace(tiny_lapped(), parts_from=4)
    plain = decoded_twice(coded(tone(500, 2), prior, Target("rate", 2.4)).file.data, prior)
    assert plain.parts > 3 and plain.more


def test_a_prior_of_one_channel_decodes_pairs():
    decoded_twice(coded(tone(400, 2), tiny_lapped_mono(), Target("rate", 0.6)).file.data, tiny_lapped_mono())


def test_the_encoder_adjusts_densities_and_cuts_high_bands(monkeypatch):
    monkeypatch.setattr(transform, "MOST_FRAMES", 8)
    plain = decoded_twice(coded(tone(1500), tiny_lapped(), Target("size", 250)).file.data, tiny_lapped())
    assert set(plain.adjusted) != {4}
    assert max(plain.cut) > 0


@pytest.mark.parametrize("scale", [2, 3])
def test_the_description_is_enough_to_render_at_another_scale(scale):
    for signal in (tone(300, 2), tone(300, 1, 8000)):
        decoded_twice(coded(signal, tiny_lapped()).file.data, tiny_lapped(), scale)


def any_file(prior, seed, length, channels, hop, groups, chains, noise, rate=15000, shape=()):
    """A file of random classes and indices, which no encoder would write."""
    generator = np.random.default_rng(seed)
    indices = generator.integers(0, 256, groups).astype(np.uint8).tobytes()
    numbers = {"noise": (noise,), "densities": tuple(generator.integers(0, 128, 8).tolist()), "chains": (chains,)}
    numbers |= {"hop": (hop,), "angle": (int(generator.integers(0, 64)),)}
    if shape:
        numbers |= {"noise": (noise + 128,), **header_numbers(SOUND_FIELDS, shape)}
    return invented_file(prior, Format("sound", (length,), channels, 16, rate), numbers, indices, seed)


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
    prior, length, channels, hop, groups, chains, noise, seed, monkeypatch
):
    monkeypatch.setattr(transform, "MOST_FRAMES", 12)
    decoded_twice(any_file(prior, seed, length, channels, hop, groups, chains, noise), prior)


@pytest.mark.parametrize(("rate", "hop"), [(48000, 9), (9000, 10), (5300, 1), (300, 1)])
def test_the_description_is_enough_for_samples_that_are_coded_as_they_are(rate, hop):
    decoded_twice(any_file(PRIOR, 3, 100, 1, hop, 90, 1, 60, rate), PRIOR)


@pytest.mark.parametrize(
    ("shape", "channels", "hop"),
    [((26, 2, 13, 9), 2, 0), ((63, 0, 32, 16), 1, 1), ((0, 3, 20, 0), 1, 0), ((40, 15, 0, 1), 1, 2)],
)
@pytest.mark.parametrize("seed", range(2))
def test_the_description_is_enough_to_decode_files_whose_noise_has_a_shape(seed, shape, channels, hop, monkeypatch):
    monkeypatch.setattr(transform, "MOST_FRAMES", 12)
    data = any_file(PRIOR, seed, 350, channels, hop, 400, 3, 60, shape=shape)
    assert decoded_twice(data, PRIOR).shape == list(shape)


@pytest.mark.parametrize("shape", [SoundShape(26, 2, 13, 5), SoundShape(10, 0, 30)])
def test_the_encoder_follows_a_shape_of_the_noise(shape, monkeypatch):
    monkeypatch.setattr(encoder, "PERCEPTUAL", shape)
    for target in (Target("size", 300, "perceptual"), Target("rate", 0.9, "perceptual")):
        plain = decoded_twice(coded(tone(600, 2), PRIOR, target).file.data, PRIOR)
        assert plain.shape == list(shape.numbers)
        assert plain.coded


@pytest.mark.parametrize(("shape", "fill"), [((26, 2, 13, 9), 0), ((26, 2, 13, 0), 0.7), ((), 1)])
def test_the_description_is_enough_for_as_much_noise_as_a_listener_wants(shape, fill, monkeypatch):
    monkeypatch.setattr(transform, "MOST_FRAMES", 12)
    data = any_file(PRIOR, 1, 350, 2, 0, 400, 3, 60, shape=shape)
    plain = decoded_twice(data, PRIOR, 1, fill)
    assert bool(plain.filled) == bool(fill)
    quiet = [place for place, weights in enumerate(plain.weights) if (weights == 0).any()]
    assert len(quiet) == len(plain.weights)  # there is something to fill in each segment


def test_the_tests_meet_pruned_weights_parts_outliers_and_all_classes():
    plains = [decoded_twice(any_file(PRIOR, seed, 350, 2, 0, 900, 5, 50), PRIOR) for seed in range(2)]
    assert all(plain.pruned and plain.coded for plain in plains)
    for name in ("parts", "more", "outliers", "widened_bands"):
        assert any(getattr(plain, name) for plain in plains)
    assert {number for plain in plains for number in plain.classes} == set(range(16))


def test_a_hop_that_the_prior_does_not_have_is_refused_by_both():
    numbers = {"noise": (50,), "class_bytes": (0,), "densities": (96,) * 8, "chains": (1,), "hop": (3,), "angle": (0,)}
    data = pack(PRIOR.id, Format("sound", (100,), 1, 16, 15000), PRIOR.fields, numbers, bytes(20))
    with pytest.raises(DamagedFileError, match="hop is out of range"):
        PRIOR.decode(File.parse(data), View())
    with pytest.raises(IndexError):
        Decoder(data, PRIOR.configuration(), PRIOR.tensors())
