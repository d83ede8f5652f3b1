"""Files of images and sounds that tests make themselves."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import png
import soundfile
from PIL import Image, ImageCms

from combiner_cli.container.metadata import Metadata
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

from .signals import tone

Samples = npt.NDArray[Any]


SHAPES = [(1, 1), (1, 7), (5, 1), (13, 9)]


MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(*shape: int, bit_depth: int = 8) -> Samples:
    generator = np.random.default_rng(list(shape))
    samples: Samples = generator.integers(0, 2**bit_depth, shape, dtype=f"u{bit_depth // 8}")
    return samples


def smooth(height: int, width: int, channels: int) -> Samples:
    """An image that lossy formats keep nearly."""
    row, column, channel = np.indices((height, width, channels))
    samples: Samples = np.clip(40 + 60 * channel + 2 * row + column, 0, 255).astype(np.uint8)
    return samples


def image_signal(samples: Samples) -> Signal:
    return Signal("image", samples, bit_depth=8 * samples.dtype.itemsize)


def sound_signal(integers: Any, bit_depth: int = 16, sample_rate: int = 44100) -> Signal:
    samples = (np.asarray(integers) / 2.0 ** (bit_depth - 1)).astype(np.float32)
    return Signal("sound", samples, sample_rate, bit_depth)


def floats(signal: Signal) -> npt.NDArray[np.float64]:
    return signal.samples.astype(np.float64)


def from_bytes(content: bytes, folder: Path, name: str = "input") -> Signal:
    (folder / name).write_bytes(content)
    return media.read_signal(folder / name)


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, bits: int, colour_type: int) -> bytes:
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))


def with_chunks(content: bytes, **chunks: bytes) -> bytes:
    """A PNG file with more chunks behind its header."""
    added = b"".join(png_chunk(name.encode(), part) for name, part in chunks.items())
    return content[:33] + added + content[33:]


def chunks_of(content: bytes) -> dict[str, bytes]:
    """The chunks of a PNG file by name; of several of a name the last one."""
    found, place = {}, 8
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        found[kind.decode()] = content[place + 8 : place + 8 + length]
        place += 12 + length
    return found


def deep_png(samples: Samples, **options: Any) -> bytes:
    height, width, channels = samples.shape
    writer = png.Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16, **options)
    buffer = io.BytesIO()
    writer.write(buffer, samples.reshape(height, -1).tolist())
    return buffer.getvalue()


def tiff(
    samples: Samples, photometric: int, sample_format: int = 1, more: Sequence[tuple[int, int, int, int]] = ()
) -> bytes:
    """An uncompressed little-endian TIFF of one strip, with more entries: tag, type, count and value."""
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    extra = 8 + samples.nbytes  # BitsPerSample of several channels does not fit its entry
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 1 else extra),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, samples.nbytes),
        (339, 3, 1, sample_format),
    ]
    entries = sorted([*entries, *more])
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content = samples.astype(samples.dtype.newbyteorder("<")).tobytes() + struct.pack(
        f"<{channels}H", *[bits] * channels
    )
    return struct.pack("<2sHI", b"II", 42, 8 + len(content)) + content + directory + bytes(4)


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


def rgb_tags(curve: bytes) -> dict[bytes, bytes]:
    """The primaries of sRGB, adapted to D50, with a curve of one's own."""
    primaries = {
        b"rXYZ": (0.4360747, 0.2225045, 0.0139322),
        b"gXYZ": (0.3850649, 0.7168786, 0.0971045),
        b"bXYZ": (0.1430804, 0.0606169, 0.7141733),
    }
    tags = {name: b"XYZ " + bytes(4) + fixed(*point) for name, point in primaries.items()}
    return tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)


def rgb_profile(curve: bytes) -> bytes:
    """A profile of the primaries of sRGB, and a curve of one's own."""
    return profile(b"RGB ", rgb_tags(curve))


def parametric_curve(kind: int, *numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + fixed(*numbers)


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma_curve(gamma)})


def cmyk_profile() -> bytes:
    """Paper is white, black ink is black, and the coloured inks do nothing."""
    corners = [(0 if black else 255, 128, 128) for _ in range(8) for black in (False, True)]
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4
    lut += bytes(value for corner in corners for value in corner) + bytes(range(256)) * 3
    return profile(b"CMYK", {b"A2B0": lut}, b"Lab ", b"prtr")


def table_profile() -> bytes:
    """An RGB profile of a table, by which light colours are a little darker."""
    corners = [(20 * number, 128, 128) for number in range(8)]
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1" + bytes(4) + bytes([3, 3, 2, 0]) + identity + bytes(range(256)) * 3
    lut += bytes(value for corner in corners for value in corner) + bytes(range(256)) * 3
    return profile(b"RGB ", {b"A2B0": lut}, b"Lab ")


def from_linear(samples: Samples) -> npt.NDArray[np.float64]:
    """8-bit linear light to 8-bit sRGB (IEC 61966-2-1)."""
    light = samples.astype(np.float64) / 255
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def palette_image() -> tuple[Image.Image, Samples, Samples]:
    indices, colours = noise(5, 7) % 16, noise(16, 3)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    return image, indices, colours


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def float_wave(samples: Any, sample_rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(samples, dtype=np.float32), sample_rate, "FLOAT", format="WAV")
    return buffer.getvalue()


def sound_file(container: str, subtype: str) -> bytes:
    """A second of noise in stereo."""
    noisy = np.random.default_rng(0).integers(-9000, 9000, (48000, 2)) / 2**15
    buffer = io.BytesIO()
    soundfile.write(buffer, noisy, 48000, subtype, format=container)
    return buffer.getvalue()


def with_profile(content: bytes, icc: bytes) -> bytes:
    return with_chunks(content, iCCP=b"name\0\0" + zlib.compress(icc))


def read(content: bytes) -> tuple[Samples, list[str]]:
    notes: list[str] = []
    return media.read_signal_bytes(content, Path("input"), notes.append).samples, notes


CONVERTED = "input has colours of another profile, which are converted to sRGB; --keep-metadata keeps them"


def tagged(tags, suffix=".flac"):
    """The content of a sound file with tags."""
    return media.signal_bytes(tone(3000), suffix, Metadata(tags=tags))
