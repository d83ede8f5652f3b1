"""What files coded stage by stage have in common, as FORMAT.md has it, once more: slow and plain."""

from __future__ import annotations

import itertools
import math
import zlib

import numpy as np

from .plain import candidate, keys_of, philox


class RangeDecoder:
    """Words of 32 bits, a state of 64 bits, probabilities in units of 2^-24."""

    def __init__(self, data):
        data += bytes(-len(data) % 4)
        self.words = [int.from_bytes(data[n : n + 4], "big") for n in range(0, len(data), 4)]
        self.low, self.range = 0, 2**64 - 1
        self.point = self.word() * 2**32 + self.word()

    def word(self):
        return self.words.pop(0) if self.words else 0

    def decode(self, frequencies):
        count = len(frequencies)
        starts = [sum(frequencies[:k]) * (2**24 - count) / 65536 for k in range(count)]
        bounds = [*(int(np.float32(start)) + k for k, start in enumerate(starts)), 2**24]
        scale = self.range // 2**24
        place = (self.point - self.low) % 2**64 // scale
        if place >= 2**24:
            raise ValueError("these classes are damaged")
        symbol = max(k for k in range(count) if bounds[k] <= place)
        self.low = (self.low + scale * bounds[symbol]) % 2**64
        self.range = scale * (bounds[symbol + 1] - bounds[symbol])
        if self.range < 2**32:
            self.low, self.range = self.low * 2**32 % 2**64, self.range * 2**32
            self.point = self.point * 2**32 % 2**64 + self.word()
        return symbol


def parsed(data, count):
    """Of a file: the id of the prior, three numbers of the format, those of the family, and the payload.

    The family has so many numbers, so many more where its first one is 128 or more, and so many behind these. Its third
    number is a list of eight densities.
    """
    assert data[:4] == b"CMB\x05"
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")
    numbers, place = [], 8
    while len(numbers) < 4 or len(numbers) < 3 + count[0] + count[2] + count[1] * (numbers[3] >= 128):
        first, place = data[place], place + 1
        size = {0xCC: 1, 0xCD: 2, 0xCE: 4}.get(first, 0)
        assert size or first < 0x80
        number = int.from_bytes(data[place : place + size], "big") if size else first
        place += size
        if len(numbers) != 5:
            numbers.append(number)
        elif number < 128:
            numbers.append([number] * 8)
        else:
            numbers.append([number - 128, *data[place : place + 7]])
            place += 7
    return int.from_bytes(data[4:8], "big"), numbers[:3], numbers[3:], data[place:-4]


def logarithm(steps, factor):
    """floor(factor · lg(steps / 64))."""
    bits = steps.bit_length()
    return factor * (bits - 8) + 2 * factor * steps // 2**bits


def clipped(x, low, high):
    return min(max(x, low), high)


def results(tensors, name, features):
    """Results of a network, and how many of them are means."""
    prefix = name + "."
    part = {key.removeprefix(prefix): tensors[key].astype(np.int64) for key in tensors if key.startswith(prefix)}
    x = np.array(features, dtype=np.int64)
    y = np.clip((part["first"] @ x + part["first_bias"]) // 2**9, 0, 2**14)
    z = np.clip((part["second"] @ y + part["second_bias"]) // 2**12, 0, 2**14)
    results = part["third"] @ z + part["third_bias"]
    means, relative = part["linear"].shape
    results[:means] += part["linear"] @ x[:relative]
    return np.clip(results, -(2**27), 2**27).tolist(), means


def frequencies(logits):
    whole = [logit * 16 // 2**22 for logit in logits]
    powers = [round(2 ** (max(value - max(whole), -192) / 16 + 16)) for value in whole]
    shares = [1 + power * (65536 - len(powers)) // sum(powers) for power in powers]
    shares[powers.index(max(powers))] += 65536 - sum(shares)
    return shares


HALVES = [*(2**n for n in range(15, 1, -1)), 4]


class Share:
    """Deals groups to stages."""

    def __init__(self, densities, groups):
        self.densities, self.left, self.pending = densities, groups, 0

    def take(self, information, density, last, least=0):
        count = self.left
        if not last:
            count, self.pending = divmod(self.pending + information * self.densities[density], 196608)
        count = min(max(count, least), self.left, information)
        self.left -= count
        return count


def expected_information(k):
    """In 1/256 bit, of a latent of deviation number k."""
    return max(1, round(128 * math.log2(1 + 2 ** (min(k, 320) / 8)))) * (k >= -37)


class StageDecoder:
    """A file that is being decoded stage by stage, and what tests may want to know of it."""

    def __init__(self, data, configuration, tensors, shape, further=0, last=0):
        prior_id, (self.form, *self.size), numbers, payload = parsed(data, (4 + further, shape, last))
        self.noise_level, length, densities, self.chains = numbers[:4]
        self.transform, self.shape = numbers[4 : 4 + further], numbers[4 + further : len(numbers) - last]
        self.last = numbers[len(numbers) - last :]
        self.noise_level %= 128
        wanted_id, self.key = keys_of(configuration, tensors)
        assert prior_id == wanted_id
        self.tensors = tensors
        self.range_decoder, self.indices = RangeDecoder(payload[:length]), payload[length:]
        self.share = Share(densities, len(self.indices))
        self.parts_from = configuration["parts_from"]
        self.coded, self.pruned, self.classes, self.parts, self.more, self.again = 0, 0, [], 0, [], 0
        self.latents, self.widened_bands, self.outliers = [], 0, 0

    def stage(self, moments, density, last, level, bands=1, noise=None):
        """Coefficients from means and numbers of deviations over the noise, which may differ from the base."""
        self.noise = noise or [0] * len(moments)
        least, moments = 16 * self.parts_from, [(mean, min(k, 320)) for mean, k in moments]
        for turn in itertools.count():
            moments = self.widened(moments, bands) if turn < 16 else moments
            if not any(k >= least for _, k in moments):
                break
            self.parts += 1
            information = [1024 * (k >= least) for _, k in moments]
            values, again = self.part(moments, information, density, False, level, 1)
            less = 0 if again else 64
            moments = [(value, k - less * (k >= least)) for value, (_, k) in zip(values, moments, strict=True)]
            self.again += again
        information = [expected_information(k) for _, k in moments]
        again = True
        while again:
            values, again = self.part(moments, information, density, last, level, 0)
            moments = [(value, k) for value, (_, k) in zip(values, moments, strict=True)]
            self.again += again
        return values

    def widened(self, moments, bands):
        """Moments whose deviations the file may widen, before all parts of a stage but repeated last ones."""
        size, wide = len(moments) // bands, []
        for band in range(bands if moments else 0):
            octaves = self.range_decoder.decode([65011] + [35] * 15)
            rarity = self.range_decoder.decode([64010] + [109] * 14)
            often = 2 ** (16 - rarity)
            outliers = [self.range_decoder.decode([65536 - often, often]) if rarity else 0 for _ in range(size)]
            more = [1 + self.range_decoder.decode(HALVES) if outlier else 0 for outlier in outliers]
            self.widened_bands, self.outliers = self.widened_bands + (octaves > 0), self.outliers + sum(outliers)
            some = moments[band * size : (band + 1) * size]
            if octaves or rarity:
                some = [
                    (mean, max(k, min(max(k, -38) + 16 * (octaves + own), 288)))
                    for (mean, k), own in zip(some, more, strict=True)
                ]
            wide += some
        return wide

    def part(self, moments, information, density, last, level, least):
        """Coefficients once the latents that have information are added to."""
        coded = [place for place, bits in enumerate(information) if bits]
        self.coded, self.pruned = self.coded + len(coded), self.pruned + len(moments) - len(coded)
        first = len(self.indices) - self.share.left
        count, more = self.share.take(sum(information), density, last, least), 0
        if not last and count < sum(information) and count <= (256 if level >= 3 else 16):
            more = self.range_decoder.decode([49152, 5632, 3584, 2304, 1664, 1280, 896, 640, 384])
            more = min(more, self.share.left, sum(information) - count)
            self.more.append(more)
            self.share.left -= more
            count += more
        values = [mean for mean, _ in moments]
        dealing = (self.key[0] + 2**32 * self.key[1] + more) % 2**64
        words = [philox((j, len(coded), 1, 0), (dealing % 2**32, dealing // 2**32))[0] for j in range(len(coded))]
        before, total, columns = 0, sum(information), {}
        for j in sorted(range(len(coded)), key=lambda j: 2**32 * (words[j] // 2) + j) if count else ():
            place, group = coded[j], before * count // total
            columns[group] = columns.get(group, -1) + 1
            number = first + group
            earlier = self.indices[number - self.chains] if number >= self.chains else 0
            self.latents.append(candidate(256 * earlier + self.indices[number], columns[group], self.key))
            z = int(self.latents[-1] * 2**20)
            values[place] += round(2 ** (min(moments[place][1] + self.noise[place], 320) / 16 + 12)) * z // 2**26
            before += information[place]
        return values, more == 8
