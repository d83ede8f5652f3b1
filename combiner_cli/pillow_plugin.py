"""Pillow opens and saves ``.cmb`` images once this module is imported.

    Example:
    import combiner_cli.pillow_plugin
        from PIL import Image

        image = Image.open("photo.cmb")
        image.save("again.cmb", bits_per_pixel=0.5)

Opening reads the header alone; the image is decoded when its pixels are asked for. ``save`` takes the arguments of
:func:`combiner_cli.api.encode` by the same names.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from . import api, bitstream, image_files
from .errors import CombinerError
from .signals import Signal

FORMAT = "CMB"
_OPTIONS = ("quality", "size", "bits_per_pixel", "psnr", "effort", "prior", "device", "seed")
_MODES = {(1, 8): "L", (2, 8): "LA", (3, 8): "RGB", (4, 8): "RGBA", (1, 16): "I;16"}


class CombinerImageFile(ImageFile.ImageFile):
    """An image in a ``.cmb`` file."""

    format = FORMAT
    format_description = "Bayesian implicit neural representation"

    def _open(self) -> None:
        assert self.fp is not None
        self._data: bytes | None = self.fp.read()
        try:
            header, _ = bitstream.unpack(self._data)
        except CombinerError as error:
            raise SyntaxError(str(error)) from error
        if header.kind != "image":
            raise SyntaxError("the file holds a sound")
        # of colours of 16 bits Pillow has no mode: they come with 8
        self._mode = _MODES.get((header.channels, header.bit_depth)) or _MODES[header.channels, 8]
        self._size = header.shape[1], header.shape[0]
        self.info["prior_id"] = f"{header.prior_id:08x}"

    def load(self) -> Any:
        """Decode the image, once.

        Raises:
            OSError: its prior is missing, it does not decode, or has more pixels than are rendered.
        """
        if self._data is not None:
            try:
                decoded = api.decode(self._data)
            except CombinerError as error:
                raise OSError(str(error)) from error
            self.im = _picture(decoded).im
            self._data = None
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
    return prefix.startswith(bitstream.MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Encode an image; a palette becomes colours, and what Pillow can save as PNG in no such way is refused."""
    del filename
    given = {name: value for name, value in image.encoderinfo.items() if name in _OPTIONS}
    try:
        file.write(api.encode(_signal(image), **given).data)
    except CombinerError as error:
        raise OSError(str(error)) from error


def _signal(image: Image.Image) -> Signal:
    """The image as the command line would read it from a PNG file, so that both encode the same."""
    content = BytesIO()
    if image.mode not in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}:
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}")
    image.save(content, "PNG", compress_level=0)
    signal = image_files.read_image(content.getvalue(), Path("image"))
    assert signal is not None
    return signal


Image.register_open(FORMAT, CombinerImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".cmb")
Image.register_mime(FORMAT, "image/x-combiner")
