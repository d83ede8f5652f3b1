"""Relative entropy coding as FORMAT.md has it, once more: slow and plain, for decoders that share no code."""

from __future__ import annotations

import hashlib
import json
from statistics import NormalDist


def keys_of(configuration, tensors):
    """The id of a prior, and its key as two words."""
    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes())
    whole_key = int.from_bytes(digest.digest()[:8], "big")
    return int.from_bytes(digest.digest()[:4], "big"), (whole_key % 2**32, whole_key // 2**32)


def philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        low, high = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(high >> 32) ^ c[1] ^ k0, high & 0xFFFFFFFF, (low >> 32) ^ c[3] ^ k1, low & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def candidate(row, column, key, stream=0):
    word = philox((column // 8, row, stream, 0), key)[column % 8 // 2]
    lane = word >> 16 if column % 2 else word & 0xFFFF
    mirrored = min(lane, 65535 - lane)
    value = round(NormalDist().inv_cdf((mirrored + 0.5) / 65536) * 2**20) / 2**20
    return value if lane == mirrored else -value


def chained_rows(indices, chains):
    """Rows of the table that indices of 8 bits name, each with the one before it in its chain."""
    before = [0] * chains + list(indices)
    return [256 * previous + index for previous, index in zip(before, indices, strict=False)]


def stage_latents(information, groups, first, rows, key):
    """The latents of one stage, whose groups begin at ``first``."""
    coded = [place for place, bits in enumerate(information) if bits]
    latents = [0.0] * len(information)
    if not groups:
        return latents
    order = sorted(range(len(coded)), key=lambda j: 2**32 * (philox((j, len(coded), 1, 0), key)[0] // 2) + j)
    before, total, columns = 0, sum(information), {}
    for j in order:
        group = before * groups // total
        column = columns.get(group, 0)
        columns[group] = column + 1
        latents[coded[j]] = candidate(rows[first + group], column, key)
        before += information[coded[j]]
    return latents
