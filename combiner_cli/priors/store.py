"""Priors as files: safetensors with a configuration, of whatever family; nothing in them is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFileError, InputError, UnsupportedVersionError
from ..families import registry
from ..family import Prior

SUFFIX = ".safetensors"
FORMAT = "combiner-prior-5"

_ANY_FORMAT = "combiner-prior-"
_LARGEST_FILE = 64 * 2**20  # bytes
_LARGEST_HEADER = 2**20  # bytes of what is said about tensors and in words; those of today have some 20,000
_LONGEST_NAME = 100


def save(prior: Prior, path: Path) -> None:
    """Write a prior as safetensors to exactly this path.

    Args:
        prior: of any family.
        path: of the file.
    """
    from safetensors.numpy import save as serialise

    metadata = {
        "format": FORMAT,
        "name": prior.name,
        "id": f"{prior.id:08x}",  # so that a prior is found without reading all others whole; never believed
        "configuration": json.dumps(prior.configuration(), sort_keys=True),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in prior.tensors().items()}
    path.write_bytes(_in_order(serialise(tensors, metadata)))  # save_file would make it readable by its owner alone


def _in_order(stored: bytes) -> bytes:
    """A safetensors file whose metadata are sorted; the library has them in another order every time."""
    end = 8 + int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + stored[end:]


def load(path: Path) -> Prior:
    """Read a prior from a safetensors file.

    Args:
        path: of the file.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it is not a prior, or holds impossible values.
        UnsupportedVersionError: it was written by another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_size(path)
        with safe_open(str(path), framework="numpy") as content:
            metadata = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
        _check_format(metadata.get("format", ""), path)
        configuration = json.loads(metadata["configuration"])
        family = registry.get(configuration["family"])
        return family.load(_name(metadata, path), configuration, tensors)
    except OSError as error:
        raise InputError(f"cannot read prior {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is not a prior: {_printable(str(error))}") from error
    except DamagedFileError as error:
        raise DamagedFileError(f"{path} is not a valid prior: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # the file may hold any JSON at all: what does not behave like a configuration is none
        raise DamagedFileError(f"{path} is not a valid prior: {_printable(str(error))}") from error


def stated_metadata(path: Path) -> dict[str, str]:
    """What is said about a prior at the beginning of its file; empty where that is not readable.

    Args:
        path: of the file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_size(path)
        with safe_open(str(path), framework="numpy") as content:
            return content.metadata() or {}
    except (DamagedFileError, OSError, SafetensorError):
        return {}


def stated_configuration(path: Path) -> dict[str, Any]:
    """The configuration of a prior, without reading its tensors; empty where that is not readable.

    Args:
        path: of the file.
    """
    try:
        stated = json.loads(stated_metadata(path).get("configuration", "{}"))
    except (RecursionError, ValueError):
        return {}
    return stated if isinstance(stated, dict) else {}


def _check_size(path: Path) -> None:
    """Refuse a file that is too large for a prior before any of it is taken in."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if path.stat().st_size > _LARGEST_FILE or header > _LARGEST_HEADER:
        raise DamagedFileError(f"it is too large for a prior, or none at all; give a {SUFFIX} file of learn-prior")


def _name(metadata: dict[str, str], path: Path) -> str:
    """The name of a prior, or of its file where that one is nothing to show to people."""
    name = metadata.get("name", "")
    return name if name.isprintable() and 0 < len(name) <= _LONGEST_NAME else path.stem


def _printable(words: str) -> str:
    """Words that may come from a file, in one line and without anything in it that a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in words)[:200]


def _check_format(version: str, path: Path) -> None:
    if version == FORMAT:
        return
    if version.startswith(_ANY_FORMAT):
        version = _printable(version)
        raise UnsupportedVersionError(
            f"{path} has format {version}, this program reads {FORMAT}; learn it again, or use another combiner"
        )
    raise DamagedFileError("it is no prior of this program")
