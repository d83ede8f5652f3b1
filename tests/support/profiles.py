"""Colour profiles that tests make themselves."""

from __future__ import annotations

import struct

import numpy as np


def fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", device: bytes = b"mntr") -> bytes:
    """A version 2 ICC profile (ICC.1:2001-04, section 6)."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)} | tags
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    size = start + len(content)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02100000, device, space, connection, b"acsp")
    return header + fixed(0.9642, 1, 0.8249) + bytes(48) + table + content


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def srgb_curve() -> bytes:
    """The curve of sRGB as a table, as most profiles have it."""
    encoded = np.linspace(0, 1, 1024)
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.rint(65535 * light).astype(int))


def rgb_profile(curve: bytes) -> bytes:
    """The primaries of sRGB, adapted to D50, with a curve of one's own."""
    primaries = {
        b"rXYZ": (0.4360747, 0.2225045, 0.0139322),
        b"gXYZ": (0.3850649, 0.7168786, 0.0971045),
        b"bXYZ": (0.1430804, 0.0606169, 0.7141733),
    }
    tags = {name: b"XYZ " + bytes(4) + fixed(*point) for name, point in primaries.items()}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma_curve(gamma)})


def cmyk_profile() -> bytes:
    """Paper is white, black ink is black, and the coloured inks do nothing."""
    corners = [(0 if black else 255, 128, 128) for _ in range(8) for black in (False, True)]
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4
    lut += bytes(value for corner in corners for value in corner) + bytes(range(256)) * 3
    return profile(b"CMYK", {b"A2B0": lut}, b"Lab ", b"prtr")
