"""Priors: the learned distribution of a family's latents that encoder and decoder share, and where to find them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import family as identity
from ..errors import CombinerError, DamagedFileError, InputError, PriorError, UnsupportedVersionError
from ..families.lapped import prior as recordings
from ..families.lapped import transform
from ..families.lapped.prior import LappedPrior
from ..families.linear import mixtures
from ..families.linear import network as linear
from ..families.linear.mixtures import MixturePrior
from ..families.linear.network import Linear
from ..families.pyramid import levels
from ..families.pyramid import prior as hierarchy
from ..families.pyramid.prior import PyramidPrior
from ..families.siren import covariances
from ..families.siren.covariances import CovariancePrior
from ..families.siren.network import FAMILY, Siren
from ..rec import groups
from ..rec.groups import Stage
from ..signals.signal import Kind, Tiling, coverage, tiling

# factorised, with covariances, pyramids, lapped transforms
FORMATS = ("combiner-prior-1", "combiner-prior-2", "combiner-prior-3", "combiner-prior-4")
SUFFIX = ".safetensors"
_OLDER = "older"
SEARCH_VARIABLE = "COMBINER_PRIORS"
GROUP_BITS = (8, 16)

_LARGEST_FILE = 64 * 2**20  # bytes
_LARGEST_HEADER = 2**20  # bytes of what is said about tensors and in words; those of today have some 20,000
_LONGEST_NAME = 100
LARGEST_NETWORK = 2**20
_LARGEST_TILE = 2**22  # points
_LARGEST_FEATURES = 2**28  # features · points of a tile
_LARGEST_FACTOR = 1e6
# places of qualities 1 and 10 between the lowest and the highest rate of a prior for all rates
_QUALITIES = {levels.FAMILY: (0.1, 0.85), transform.FAMILY: (0.35, 0.92)}
_SMALLEST_COVERAGE = 16  # a tile is given at least 1/16 of its expected information


@dataclass(frozen=True, eq=False)
class Prior(identity.Identified):
    """A factorised Gaussian over the weights of the network of one tile.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals it was learned from.
        network: shape of the network.
        mean: ``(latents,)`` float32.
        deviation: standard deviations, ``(latents,)`` float32, positive.
        information: average KL(posterior, prior) of each latent in training, in 1/256 bit, ``(latents,)`` int32.
        group_bits: 16 (plain groups) or 8 (chained groups).
        beta: loss = mean squared error + beta · KL in nats, on values in [-1, 1], of training.
        family: name of the family.
    """

    name: str
    kind: Kind
    network: Siren
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    information: npt.NDArray[np.int32]
    group_bits: int
    beta: float
    family: str = FAMILY

    @property
    def bits_per_point(self) -> float:
        """Expected information over the points of a tile: the payload's rate at the prior's own number of groups."""
        return float(self.information.sum()) / groups.INFORMATION_UNIT / float(np.prod(self.network.extent))

    def tiling(self, shape: tuple[int, ...], channels: int) -> Tiling:
        """Tiles of a signal, one network each."""
        return tiling(shape, channels, self.network.extent, self.network.outputs)

    def stages(self, layout: Tiling, classes: npt.NDArray[np.int64] | None = None, noise: int = 0) -> tuple[Stage, ...]:
        """The stages of a signal: the weights of all its tiles, tile after tile. There are no classes and no noise.

        A tile that reaches beyond the signal is expected to need information in proportion to the part inside.
        """
        full = int(np.prod(layout.extent))
        inside = np.maximum(coverage(layout), -(-full // _SMALLEST_COVERAGE))
        scaled = -(-self.information.astype(np.int64) * inside[:, None] // full)  # (tiles, latents), rounded up
        return (Stage("weights", scaled.reshape(-1)),)

    def network_weights(
        self,
        z: Sequence[npt.NDArray[Any]],
        layout: Tiling,
        classes: npt.NDArray[np.int64] | None = None,
        noise: int = 0,
    ) -> npt.NDArray[np.float64]:
        """Weights of the networks of all tiles, ``(tiles, latents)``, from the whitened latents of the one stage."""
        whitened = z[0].astype(np.float64).reshape(layout.tiles, -1)
        return self.mean.astype(np.float64) + self.deviation.astype(np.float64) * whitened  # two roundings

    def render(self, latents: npt.NDArray[np.float64], scale: int = 1) -> npt.NDArray[np.float64]:
        """Values of tiles from their weights, ``(tiles, outputs, points)``; see :meth:`Siren.render`."""
        return self.network.render(latents, scale)

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        fields = ("kind", "group_bits", "beta", "family")
        return {"network": asdict(self.network), **{field: getattr(self, field) for field in fields}}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The stored tensors by name."""
        return {"deviation": self.deviation, "information": self.information, "mean": self.mean}


AnyPrior = Prior | CovariancePrior | MixturePrior | PyramidPrior | LappedPrior
ByStages = PyramidPrior | LappedPrior  # whole signals, stage after stage, for all rates


def check_kind(prior: AnyPrior, kind: Kind) -> None:
    """Refuse a prior that was learned from another kind of signal.

    Raises:
        PriorError: it was.
    """
    if prior.kind != kind:
        raise PriorError(
            f"prior {prior.name} is for {prior.kind}s and this is {_with_article(kind)}; choose another prior"
        )


def save(prior: AnyPrior, path: Path) -> None:
    """Write a prior as safetensors to exactly this path."""
    from safetensors.numpy import save as serialise

    metadata = {
        "format": _format_of(prior),
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


def _format_of(prior: AnyPrior) -> str:
    if isinstance(prior, LappedPrior):
        return FORMATS[3]
    if isinstance(prior, PyramidPrior):
        return FORMATS[2]
    return FORMATS[0] if isinstance(prior, Prior) else FORMATS[1]


def load(path: Path) -> AnyPrior:
    """Read a prior from a safetensors file; nothing in it is executed.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it is not a prior, or holds impossible values.
        UnsupportedVersionError: it was written by an unknown version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_size(path)
        with safe_open(str(path), framework="numpy") as content:
            metadata = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
        _check_format(metadata.get("format", ""), path)
        configuration = json.loads(metadata["configuration"])
        prior = _from_stored(_name(metadata, path), metadata["format"], configuration, tensors)
        reason = _problem(prior)
    except OSError as error:
        raise InputError(f"cannot read prior {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is not a prior: {_printable(str(error))}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # the file may hold any JSON at all: what does not behave like a configuration is none
        raise DamagedFileError(f"{path} is not a valid prior: {_printable(str(error))}") from error
    if reason:
        raise DamagedFileError(f"{path} is not a valid prior: {reason}")
    return prior


def _check_size(path: Path) -> None:
    """Refuse a file that is too large for a prior before any of it is taken in."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if path.stat().st_size > _LARGEST_FILE or header > _LARGEST_HEADER:
        raise DamagedFileError(f"{path} is too large for a prior, or none at all; give a {SUFFIX} file of learn-prior")


def _name(metadata: dict[str, str], path: Path) -> str:
    """The name of a prior, or of its file where that one is nothing to show to people."""
    name = metadata.get("name", "")
    return name if name.isprintable() and 0 < len(name) <= _LONGEST_NAME else path.stem


def _printable(words: str) -> str:
    """Words that may come from a file, in one line and without anything in it that a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in words)[:200]


def _problem(prior: AnyPrior) -> str | None:
    if isinstance(prior, LappedPrior):
        return recordings.problem(prior)
    if isinstance(prior, PyramidPrior):
        return hierarchy.problem(prior)
    return mixtures.problem(prior) if isinstance(prior, MixturePrior) else problem(prior)


def _from_stored(name: str, version: str, configuration: dict[str, Any], tensors: dict[str, Any]) -> AnyPrior:
    if version == FORMATS[3]:
        lists = {field: tuple(configuration[field]) for field in (*recordings.RANGES, "hops")}
        return LappedPrior(name=name, stored=tensors, **{**configuration, **lists})
    if version == FORMATS[2]:
        ranges = {field: tuple(configuration[field]) for field in hierarchy.RANGES}
        return PyramidPrior(name=name, stored=tensors, **{**configuration, **ranges})
    network = dict(configuration.pop("network"))
    network["extent"] = tuple(network["extent"])
    if configuration["family"] == linear.FAMILY:
        settings = {**configuration, **{field: tuple(configuration[field]) for field in mixtures.RANGES}}
        return MixturePrior(name=name, network=Linear(**network), **{**settings, **tensors})
    if version == FORMATS[1]:
        return CovariancePrior(name=name, network=Siren(**network), **tensors, **configuration)
    return Prior(name=name, network=Siren(**network), **tensors, **configuration)


def _check_format(version: str, path: Path) -> None:
    if version in FORMATS:
        return
    if version.startswith("combiner-prior-"):
        known = ", ".join(FORMATS)
        version = _printable(version)
        raise UnsupportedVersionError(f"{path} has format {version}, this program reads {known}; use a newer combiner")
    raise DamagedFileError(f"{path} is not a combiner prior")


def choose(kind: Kind, shape: tuple[int, ...], quality: int, sample_rate: int | None = None) -> tuple[AnyPrior, float]:
    """The shipped prior for a signal and a quality, and the rate relative to the prior's own.

    The rate is logarithmic in the quality: with several priors, qualities 2 and 9 are the rates of the lowest and the
    highest; for a single one see :func:`quality_rate`.

    Args:
        kind: of the signal.
        shape: of the signal.
        quality: 1 to 10.
        sample_rate: of a sound, in Hz.

    Raises:
        PriorError: no prior of that kind is shipped.
    """
    suitable = suitable_priors(kind, shape, sample_rate)
    if len(suitable) == 1:
        return suitable[0], quality_rate(suitable[0], quality)
    lowest, highest = suitable[0].bits_per_point, suitable[-1].bits_per_point
    rate = lowest * (highest / lowest) ** ((quality - 2) / 7)
    nearest = nearest_prior(suitable, rate)
    return nearest, rate / nearest.bits_per_point


def quality_rate(prior: AnyPrior, quality: int) -> float:
    """The rate that a quality of 1 to 10 stands for with one prior, relative to the prior's own.

    A pyramid or lapped prior is for all rates: its qualities go from near the lowest to near the highest in equal
    steps of the noise code.
    """
    if not isinstance(prior, ByStages):
        return relative_rate(quality)
    lowest, highest = _QUALITIES[prior.family]
    place = lowest + (highest - lowest) * (quality - 1) / 9
    return float(prior.rates[0] * (prior.rates[1] / prior.rates[0]) ** place) / prior.bits_per_point


def nearest_prior(suitable: Sequence[AnyPrior], bits_per_point: float) -> AnyPrior:
    """The prior whose own rate is the nearest in proportion."""
    return min(suitable, key=lambda prior: abs(math.log(bits_per_point / prior.bits_per_point)))


def prior_for_psnr(suitable: Sequence[AnyPrior], psnr: float) -> AnyPrior:
    """The prior that is meant for a PSNR (dB, peak-to-peak 2); the one of the highest rate if none says so."""
    mixed = [prior for prior in suitable if isinstance(prior, MixturePrior | ByStages)]
    wanted = math.log(4) - psnr * math.log(10) / 10
    if not mixed:
        return suitable[-1]
    return min(mixed, key=lambda prior: abs(math.log(prior.errors[0] * prior.errors[1]) / 2 - wanted))


def suitable_priors(kind: Kind, shape: tuple[int, ...], sample_rate: int | None = None) -> list[AnyPrior]:
    """The shipped priors for a signal, by increasing rate.

    Of the lapped priors, the one counts whose sample rate is the nearest in proportion. Without any, pyramids and
    mixtures come first; of those, the ones count that were learned from signals of the nearest size in proportion, and
    where a pyramid is among them, only pyramids. Without any, those count whose tiles are the largest that the
    signal's longer side holds.

    Args:
        kind: of the signal.
        shape: of the signal.
        sample_rate: of a sound, in Hz.

    Raises:
        PriorError: no prior of that kind is shipped.
    """
    candidates = [(path, _stated(path)) for path in sorted(shipped_folder().glob(f"*{SUFFIX}"))]
    candidates = [(path, stated) for path, stated in candidates if stated.get("kind") == kind]
    if not candidates:
        raise PriorError(f"no prior for {kind}s is installed; name one with --prior")
    families: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for path, stated in candidates:
        families.setdefault(stated["family"], []).append((path, stated))
    if sample_rate is not None and transform.FAMILY in families:
        found = [_load_shipped(_nearest(families[transform.FAMILY], "sample_rate", sample_rate)[0][0])]
    elif linear.FAMILY in families or levels.FAMILY in families:
        sized = families.get(linear.FAMILY, []) + families.get(levels.FAMILY, [])
        nearest = _nearest(sized, "size", max(shape))
        whole = [path for path, stated in nearest if stated["family"] == levels.FAMILY]
        found = [_load_shipped(path) for path in whole or [path for path, _ in nearest]]
    else:
        loaded = [_load_shipped(path) for path, _ in families.get(FAMILY, [])]
        shipped = [prior for prior in loaded if isinstance(prior, Prior | CovariancePrior)]
        extents = sorted({max(prior.network.extent) for prior in shipped})
        extent = max([extents[0], *(extent for extent in extents if extent <= max(shape))])
        found = [prior for prior in shipped if max(prior.network.extent) == extent]
    return sorted(found, key=lambda prior: prior.bits_per_point)


@lru_cache(maxsize=8)
def _load_shipped(path: Path) -> AnyPrior:
    """A prior that comes with the program, whose file does not change; many signals are encoded with it."""
    return load(path)


def _nearest(
    candidates: Sequence[tuple[Path, dict[str, Any]]], field: str, value: int
) -> list[tuple[Path, dict[str, Any]]]:
    """Those of some priors that state the nearest number in proportion."""
    nearest = min((stated[field] for _, stated in candidates), key=lambda own: abs(math.log(value / own)))
    return [(path, stated) for path, stated in candidates if stated[field] == nearest]


def relative_rate(quality: int) -> float:
    """Number of groups relative to what a single prior expects, for a quality of 1 to 10: 1 at quality 5."""
    return 1.12 ** (quality - 5)


@dataclass(frozen=True)
class Entry:
    """An installed prior, as far as its file says without being read whole.

    Attributes:
        name: that it is found by: that of its file.
        path: of its file.
        id: eight hexadecimal digits, as files name it.
        family: name of the family.
        kind: of the signals.
        rates: lowest and highest bits per pixel or sample that it is meant for, or the one rate.
        bytes: size of its file.
        origin: ``"shipped"``, ``"older"`` (shipped for files that were made with it), ``"user"``, or ``"path"`` for
            one in a folder of ``$COMBINER_PRIORS``.
    """

    name: str
    path: Path
    id: str
    family: str
    kind: str
    rates: tuple[float, ...]
    bytes: int
    origin: str


def entries() -> Iterator[Entry]:
    """The priors on the search path; what is there and no prior is left out."""
    for candidate in available():
        try:
            yield entry(candidate)
        except CombinerError:
            continue  # a file beside the priors that is none must not keep the others from being listed


def entry(path: Path) -> Entry:
    """What the file of a prior says of it.

    Raises:
        InputError, DamagedFileError, UnsupportedVersionError: as :func:`load`.
    """
    metadata = _metadata(path)
    stated = _stated(path)
    name, rates = metadata.get("id"), stated.get("rates")
    if name is None or rates is None or "family" not in stated:  # an early one, or none at all
        prior = load(path)
        name, rates = f"{prior.id:08x}", (prior.bits_per_point,)
        stated = {**stated, "family": prior.family, "kind": prior.kind}
    origins = {shipped_folder(): "shipped", shipped_folder() / _OLDER: "older", user_folder(): "user"}
    origin = origins.get(path.parent, "path")
    return Entry(path.stem, path, name, stated["family"], stated["kind"], tuple(rates), path.stat().st_size, origin)


def search_path() -> tuple[Path, ...]:
    """Folders in which priors are looked for: those of ``$COMBINER_PRIORS``, the user's own one, the shipped ones.

    The last one has the priors that better ones took the place of: for the files that were written with them.
    """
    named = [Path(folder) for folder in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if folder]
    return (*named, user_folder(), shipped_folder(), shipped_folder() / _OLDER)


def user_folder() -> Path:
    """The folder of the priors that the user installed; it need not exist."""
    from platformdirs import user_data_path

    return user_data_path("combiner", appauthor=False) / "priors"


def shipped_folder() -> Path:
    """The folder of the priors that come with the program: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "shipped_priors"
    return installed if installed.is_dir() else package.parent / "priors"


def available() -> Iterator[Path]:
    """Files of all priors on the search path."""
    for folder in search_path():
        yield from sorted(folder.glob(f"*{SUFFIX}"))


def find(name_or_file: str) -> AnyPrior:
    """A prior by its name on the search path, or by its file.

    Raises:
        PriorError: there is none.
    """
    return load(path_of(name_or_file))


def path_of(name_or_file: str) -> Path:
    """The file of a prior by its name on the search path, or as it is named.

    Raises:
        PriorError: there is none of that name.
    """
    if name_or_file.endswith(SUFFIX):
        return Path(name_or_file)
    for candidate in available():
        if candidate.stem == name_or_file:
            return candidate
    known = ", ".join(sorted({candidate.stem for candidate in available()})) or "none"
    raise PriorError(f"no prior is called {name_or_file}; known: {known}")


def find_id(prior_id: int) -> AnyPrior:
    """The prior on the search path that a file names.

    Raises:
        PriorError: there is none.
    """
    # an id is of the content, so the order does not matter, and shipped priors are those of most files
    for folder in (shipped_folder(), *search_path()):
        for candidate in sorted(folder.glob(f"*{SUFFIX}")):
            prior = _with_id(candidate, prior_id)
            if prior is not None:
                return prior
    raise PriorError(
        f"the file needs the prior with id {prior_id:08x}, which is not on this machine; "
        f"name its file with --prior, or its folder in {SEARCH_VARIABLE}"
    )


def is_shipped(prior: AnyPrior) -> bool:
    """Whether a prior comes with the program, so that it is wherever the program is."""
    folders = (shipped_folder(), shipped_folder() / _OLDER)
    files = (path for folder in folders for path in folder.glob(f"*{SUFFIX}"))
    return any(_metadata(path).get("id") == f"{prior.id:08x}" for path in files)


def _with_id(path: Path, prior_id: int) -> AnyPrior | None:
    """The prior of a file if it has an id; it is read whole only where the file itself does not deny that."""
    try:
        stated = _metadata(path).get("id")
        if stated is not None and stated != f"{prior_id:08x}":
            return None
        prior = load(path)
    except CombinerError:
        return None  # a file beside the priors that is none must not keep the others from being found
    return prior if prior.id == prior_id else None


def _stated(path: Path) -> dict[str, Any]:
    """The configuration of a shipped prior."""
    stated: dict[str, Any] = json.loads(_metadata(path).get("configuration", "{}"))
    return stated


def _metadata(path: Path) -> dict[str, str]:
    """What is said about a prior at the beginning of its file; empty where that is not readable."""
    from safetensors import SafetensorError, safe_open

    try:
        _check_size(path)
        with safe_open(str(path), framework="numpy") as content:
            return content.metadata() or {}
    except (DamagedFileError, OSError, SafetensorError):
        return {}


def problem(prior: Prior | CovariancePrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``; nothing is allocated from them."""
    network = prior.network
    axes = {"image": 2, "sound": 1}.get(prior.kind) if isinstance(prior.kind, str) else None
    factors = (network.highest_frequency, network.frequency, prior.beta)
    whole = (*network.extent, network.outputs, network.features, network.width, network.hidden)
    points = math.prod(network.extent)
    possible = (
        prior.family == FAMILY
        and axes == len(network.extent)
        and (isinstance(prior, CovariancePrior) or (type(prior.group_bits) is int and prior.group_bits in GROUP_BITS))
        and all(type(number) is int and 0 < number <= LARGEST_NETWORK for number in whole)
        and all(type(factor) in (int, float) and 0 < factor <= _LARGEST_FACTOR for factor in factors)
        and network.hidden <= 64
        and network.outputs in ((1, 3) if prior.kind == "image" else (1,))
        and network.features % (2 * len(network.extent)) == 0
        and points <= _LARGEST_TILE
        and network.features * points <= _LARGEST_FEATURES
        and network.latents <= LARGEST_NETWORK
    )
    if not possible:
        return "its configuration is out of range"
    return covariances.problem(prior) if isinstance(prior, CovariancePrior) else _wrong_tensor(prior)


def _wrong_tensor(prior: Prior) -> str | None:
    """Why the tensors of a factorised prior cannot work, or ``None``."""
    network = prior.network
    shapes = {"mean": np.float32, "deviation": np.float32, "information": np.int32}
    for name, kind in shapes.items():
        tensor = getattr(prior, name)
        if tensor.shape != (network.latents,) or tensor.dtype != kind or not np.isfinite(tensor).all():
            return f"its {name} has a wrong shape, type or value"
    largest = 64 * groups.INFORMATION_UNIT
    if (prior.deviation <= 0).any() or (prior.information < 0).any() or (prior.information > largest).any():
        return "a deviation or an information is out of range"
    if not prior.information.any():
        return "it expects no information at all"
    return None


def _with_article(kind: Kind) -> str:
    return "an image" if kind == "image" else "a sound"
