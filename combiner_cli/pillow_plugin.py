"""Pillow opens and saves ``.cmb`` images once this module is imported.

Example:
    import combiner_cli.pillow_plugin
    from PIL import Image

    image = Image.open("photo.cmb")
    image.save("again.cmb", bits_per_pixel=0.5)

Opening reads the header alone; the image is decoded when its pixels are asked for. ``save`` takes the arguments of
:func:`combiner_cli.api.encode` by the same names, and ``keep_metadata=True`` for Exif and colour profile.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from . import api
from .codec import pipeline
from .container import file as container
from .container import metadata
from .container.metadata import Metadata
from .errors import CombinerError
from .media import files as media
from .priors import library
from .signals.signal import Signal

FORMAT = "CMB"
_OPTIONS = (
    "quality",
    "size",
    "bits_per_pixel",
    "psnr",
    "ssimulacra2",
    "tune",
    "effort",
    "prior",
    "device",
    "seed",
)
_MODES = {(1, 8): "L", (2, 8): "LA", (3, 8): "RGB", (4, 8): "RGBA", (1, 16): "I;16"}


class CombinerImageFile(ImageFile.ImageFile):
    """An image in a ``.cmb`` file."""

    format = FORMAT
    format_description = "Bayesian implicit neural representation"

    def _open(self) -> None:
        assert self.fp is not None
        content = self.fp.read()
        try:
            self._file: container.File | None = container.File.parse(content)
            described = metadata.unpack(self._file.metadata)
        except CombinerError as error:
            raise SyntaxError(str(error)) from error
        signal_format = self._file.format
        if signal_format.kind != "image":
            raise SyntaxError("the file holds a sound")
        # of colours of 16 bits Pillow has no mode: they come with 8
        self._mode = _MODES.get((signal_format.channels, signal_format.bit_depth)) or _MODES[signal_format.channels, 8]
        self._size = signal_format.shape[1], signal_format.shape[0]
        self.info["prior_id"] = f"{self._file.prior_id:08x}"
        parts = {"exif": described.exif, "icc_profile": described.icc, "xmp": described.xmp}
        self.info |= {name: part for name, part in parts.items() if part}

    def load(self) -> Any:
        """Decode the image, once.

        Raises:
            OSError: its prior is missing, it does not decode, or has more pixels than are rendered.
        """
        if self._file is not None:
            try:
                decoded = pipeline.decode(self._file, library.find_id)
            except CombinerError as error:
                raise OSError(str(error)) from error
            self.im = _picture(decoded).im
            self._file = None
            self.tile = []
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
        return super().load()


def _picture(decoded: Signal) -> Image.Image:
    samples = decoded.samples[:, :, 0] if decoded.channels == 1 else decoded.samples
    if decoded.bit_depth == 16 and decoded.channels > 1:
        samples = np.rint(samples.astype(np.float32) / 257).astype(np.uint8)
    return Image.fromarray(samples)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Encode an image as the command line would encode it from a PNG file."""
    del filename
    given = dict(image.encoderinfo)
    options = {name: given[name] for name in _OPTIONS if name in given}
    try:
        exif, keep = given.get("exif") or image.getexif(), bool(given.get("keep_metadata"))
        signal, described = _signal(image, exif, keep)
        encoded = api.encode(signal, **options).file
        file.write(container.with_metadata(encoded, metadata.pack(described)))
    except CombinerError as error:
        raise OSError(str(error)) from error


def _signal(image: Image.Image, exif: Any, keep: bool) -> tuple[Signal, Metadata]:
    content = BytesIO()
    if image.mode not in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}:
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}")
    image.save(content, "PNG", compress_level=0, exif=exif)
    if keep:
        return media.read_with_metadata(content.getvalue(), Path("image"))
    return media.read_signal_bytes(content.getvalue(), Path("image")), Metadata()


Image.register_open(FORMAT, CombinerImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".cmb")
Image.register_mime(FORMAT, "image/x-combiner")
