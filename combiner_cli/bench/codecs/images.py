"""Other codecs of images, as Pillow has them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from io import BytesIO

import numpy as np
import PIL
from PIL import Image, features

from ...errors import InputError
from ...signals.signal import Signal
from .baselines import Codec, Coded, Options

AVIF_SPEED = 6

_JPEG: Options = {"format": "JPEG", "optimize": True}  # progressive files are larger at these rates
_JPEG_420: Options = {**_JPEG, "subsampling": "4:2:0"}
# the bare codestream: a JP2 container takes 85 bytes more, which is several percent at the lowest rates
_JPEG_2000: Options = {
    "format": "JPEG2000",
    "quality_mode": "rates",
    "irreversible": True,
    "mct": 1,
    "no_jp2": True,
}
_WEBP: Options = {"format": "WEBP", "method": 6}
_AVIF: Options = {"format": "AVIF", "speed": AVIF_SPEED, "subsampling": "4:4:4", "max_threads": 1}
_AVIF_IQ: Options = {**_AVIF, "advanced": {"tune": "iq"}}  # what Pillow's AVIF does unless told otherwise
_AVIF_PSNR: Options = {**_AVIF, "advanced": {"tune": "psnr"}}  # better at the lowest and the highest rates
_JPEG_2000_RATES = (0.045, 0.06, 0.075, 0.1, 0.13, 0.18, 0.25, 0.316, 0.4, 0.488, 0.6, 0.75, 0.972, 1.25, 1.567, 1.8)
_COLOURS = {1: "L", 3: "RGB"}


def code(original: Signal, options: Options) -> Coded:
    """A file by one of Pillow's encoders, and what it decodes to.

    Args:
        original: 8 bits, grey or RGB.
        options: for ``Image.save``, the format included.
    """
    check_codable(original)
    if options["format"] == "JPEG2000" and original.channels == 1:
        options = {**options, "mct": 0}  # mixes colours
    picture = Image.fromarray(original.samples[..., 0] if original.channels == 1 else original.samples)
    buffer = BytesIO()
    clock = time.perf_counter()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    encoded = time.perf_counter()
    decoded = decode(buffer.getvalue(), original)
    return Coded(buffer.getvalue(), decoded, encoded - clock, time.perf_counter() - encoded)


def decode(data: bytes, original: Signal) -> Signal:
    """What a file holds, grey or RGB as the original is."""
    with Image.open(BytesIO(data)) as file:
        samples = np.asarray(file.convert(_COLOURS[original.channels]))
    return Signal("image", samples.reshape(original.samples.shape))


def check_codable(original: Signal) -> None:
    """Refuse what not all of these codecs hold.

    Raises:
        InputError: more than 8 bits, or transparency.
    """
    if original.bit_depth != 8 or original.channels not in _COLOURS:
        raise InputError(
            "more than 8 bits or transparency, which not all codecs hold; leave it out or give --baselines none"
        )


def at_qualities(options: Options, qualities: Iterable[int]) -> list[Options]:
    """The same settings with several qualities."""
    return [{**options, "quality": quality} for quality in qualities]


def _at_rates(rates: Iterable[float]) -> list[Options]:
    """JPEG 2000 at so many bits per pixel of 24-bit pixels."""
    return [{**_JPEG_2000, "quality_layers": [round(24 / bpp, 2)]} for bpp in rates]


def _jpeg_library() -> str:
    turbo = features.version_feature("libjpeg_turbo")
    return f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"


_QUALITIES_420 = (1, 3, 5, 8, 12, 18, 25, 35, 50, 65, 75, 82, 88)
_QUALITIES_444 = (1, 3, 5, 8, 12, 18, 25, 35, 50, 65, 75, 82)
_QUALITIES_WEBP = (0, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 88, 92, 95)
_QUALITIES_AVIF_IQ = (0, 5, 10, 16, 22, 30, 38, 46, 54, 62, 70, 76, 82, 88, 91)
_QUALITIES_AVIF_PSNR = (0, 1, 3, 6, 10, 18, 25, 32, 40, 48, 56, 64, 72, 78, 84, 88)


def codecs() -> Mapping[str, Codec]:
    """Those that this Pillow has, by their names for the command line."""
    pillow = f"Pillow {PIL.__version__}"
    known = {
        "jpeg": Codec(
            "JPEG",
            {
                "JPEG 4:2:0": at_qualities(_JPEG_420, _QUALITIES_420),
                "JPEG 4:4:4": at_qualities({**_JPEG, "subsampling": "4:4:4"}, _QUALITIES_444),
            },
            at_qualities(_JPEG_420, range(1, 96)),
            ".jpg",
            f"{pillow}, {_jpeg_library()}",
            "optimised tables, the better of 4:2:0 and 4:4:4",
            code,
            decode,
        ),
        "jpeg2000": Codec(
            "JPEG 2000",
            {"JPEG 2000": _at_rates(_JPEG_2000_RATES)},
            _at_rates(np.geomspace(0.03, 8, 200).tolist()),
            ".j2k",
            f"{pillow}, OpenJPEG {features.version('jpg_2000')}",
            "bare codestreams",
            code,
            decode,
        ),
        "webp": Codec(
            "WebP",
            {"WebP": at_qualities(_WEBP, _QUALITIES_WEBP)},
            at_qualities(_WEBP, range(101)),
            ".webp",
            f"{pillow}, libwebp {features.version('webp')}",
            "method 6",
            code,
            decode,
        ),
        "avif": Codec(
            "AVIF",
            {
                "AVIF iq": at_qualities(_AVIF_IQ, _QUALITIES_AVIF_IQ),
                "AVIF psnr": at_qualities(_AVIF_PSNR, _QUALITIES_AVIF_PSNR),
            },
            at_qualities(_AVIF_IQ, range(101)),
            ".avif",
            f"{pillow}, libavif {features.version('avif')}",
            f"4:4:4, speed {AVIF_SPEED}, the better of the tunings iq and psnr",
            code,
            decode,
        ),
    }
    parts = {"jpeg": "jpg", "jpeg2000": "jpg_2000", "webp": "webp", "avif": "avif"}
    return {name: codec for name, codec in known.items() if features.check(parts[name])}
