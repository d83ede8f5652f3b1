"""The identity of a prior: a digest of everything that decides how a file decodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def digest(configuration: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """SHA-256 of a configuration as sorted JSON and of the tensors' bytes, little-endian, ordered by name."""
    content = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
    for _, tensor in sorted(tensors.items()):
        content.update(np.ascontiguousarray(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)).data)
    return content.digest()
