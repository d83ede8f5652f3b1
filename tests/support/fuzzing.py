"""Hostile headers, files, metadata and priors by the million: nothing but a CombinerError may come of them.

Every case is a function of its kind and number, so that a finding can be made again:

    make fuzz                                               # all of it; goes on where it was stopped
    PYTHONPATH=tests python -m support.fuzzing --headers 2000 --described 0 --files 100 --metadata 100 --priors 100
    PYTHONPATH=tests python -m support.fuzzing --case file 1234          # one case, with its traceback
"""

from __future__ import annotations

import argparse
import collections
import functools
import io
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgpack
import numpy as np
from threadpoolctl import threadpool_limits

from combiner_cli.batch import work
from combiner_cli.batch.requests import Decoding, Job
from combiner_cli.cli.commands import info
from combiner_cli.codec import inspection, pipeline
from combiner_cli.container import header, metadata
from combiner_cli.container.file import MAGIC, VERSION, File, pack, with_metadata
from combiner_cli.errors import CombinerError, InputError, PriorError, one_line
from combiner_cli.family import Prior, View
from combiner_cli.media import files as media
from combiner_cli.media import images, sounds
from combiner_cli.priors import store

from .hostile_metadata import described, packed_metadata
from .mutations import NUMBERS, mutated, resealed
from .priors import packed_file, random_file, random_numbers, tiny_priors

GOLDEN = Path(__file__).parent.parent / "golden"
WRITABLE = {"image": images.FORMATS, "sound": sounds.FORMATS}  # suffixes, by the kind of signal
# Cases that are counted, and written down, together.
CHUNK = {"header": 20000, "described": 20000, "file": 200, "metadata": 200, "prior": 200}
SECONDS = 20  # that a case may take, by the clock; a usual one takes milliseconds
GIGABYTES = 6  # of addresses that a process may have, most of them torch's
MOST_POINTS = 4096  # that a file may declare
MOST_RENDERED = 2**20  # for a file with a mutated prior
LONGEST_PACKED = 2000  # bytes of metadata in a case of the parser
LONGEST = "longest, CPU s"  # heading of a column of the table
_OF_ANOTHER_LENGTH = (".mp3", ".ogg", ".oga", ".opus")  # formats that may add to a sound
_JSON = (
    None,
    True,
    0,
    -1,
    1,
    2,
    16,
    2**31,
    2**70,
    0.0,
    -1.5,
    1e308,
    1e999,
    float("nan"),
    "",
    "x",
    "siren",
    "image",
    [],
    {},
)
_FLOATS = (float("nan"), float("inf"), -float("inf"), 6e4, -6e4, 3e38, 1e-40, 0.0)


class TooSlow(BaseException):
    """A case took longer than ``SECONDS``; nothing on the way may take it for an error of its own."""


class Longest(NamedTuple):
    """The case that took the most of the processor: seconds of it, and the number of the case."""

    seconds: float
    number: int


Chunk = tuple[str, int, int]  # kind, first number, and the one behind the last
Result = tuple[dict[str, int], list[tuple[int, str]], Longest]  # counts of outcomes, findings, and the longest case


def header_case(number: int) -> str:
    """The outcome of parsing a mutated header; every other one has a right checksum."""
    dice = random.Random(f"header {number}")
    if dice.random() < 0.5:
        prior = dice.choice(list(tiny_priors().values()))
        beginning = MAGIC + bytes([VERSION]) + prior.id.to_bytes(4, "big")
        content = beginning + _random_header(prior, dice) + dice.randbytes(dice.randrange(8))
    else:
        content = mutated(dice.choice(_seeds())[:-4], dice, near=30)
    data = content + dice.randbytes(4)
    return _outcome(lambda: _taken_apart(resealed(data) if number % 2 else data, dice))


def _taken_apart(data: bytes, dice: random.Random) -> None:
    """Parse a file as far as its family's numbers, of whichever family it may be."""
    file = File.parse(data)
    prior = next((prior for prior in tiny_priors().values() if prior.id == file.prior_id), None)
    file.numbers((prior or dice.choice(list(tiny_priors().values()))).fields)


def file_case(number: int) -> str:
    """The outcome of decoding a file of some family; most are consistent enough to get far."""
    dice = random.Random(f"file {number}")
    prior = dice.choice(list(tiny_priors().values()))
    signal_format, numbers, payload = random_file(prior, dice)
    kind = dice.random()
    if kind > 0.3:
        payload = mutated(payload, dice)
    data = pack(prior.id, signal_format, prior.fields, numbers, payload)
    if kind < 0.5:
        data = _with_changed_numbers(data, prior, dice)
    ignore = dice.random() < 0.2
    if dice.random() < 0.3:
        data = mutated(data, dice)
        if dice.random() < 0.8 and not ignore:
            data = resealed(data)
    view = View(scale=dice.choice((1, 1, 1, 2, 3)))
    return _outcome(lambda: _decoded(data, prior, view, ignore))


def _finder(prior: Prior) -> Callable[[int], Prior]:
    """Finds the prior of a case, and no other one."""

    def find(prior_id: int) -> Prior:
        if prior_id != prior.id:
            raise PriorError("another prior")
        return prior

    return find


def _decoded(data: bytes, prior: Prior, view: View, ignore: bool) -> None:
    file = File.parse(data, ignore)
    signal_ = pipeline.decode(file, _finder(prior), view, MOST_POINTS)
    expected = (*(length * view.scale for length in file.format.shape), file.format.channels)
    if signal_.samples.shape != expected:
        raise AssertionError(f"{signal_.samples.shape} came instead of {expected}")


def described_case(number: int) -> str:
    """The outcome of parsing a file with metadata, and the metadata; the checksum of every other one is right."""
    dice = random.Random(f"described {number}")
    data = described(dice.choice(_seeds()), dice.choice(_packed()), dice, intact=number % 2 == 1)
    ignore = dice.random() < 0.1
    return _outcome(lambda: _parsed(data, ignore))


def _parsed(data: bytes, ignore: bool) -> None:
    """Parse a file and its metadata; what was taken apart has to give the same file when it is put together."""
    file = File.parse(data, ignore)
    if file.metadata and file.intact:
        common = header.write(header.COMMON, header.common_numbers(file.format, has_metadata=False))
        content = MAGIC + bytes([VERSION]) + file.prior_id.to_bytes(4, "big") + common + bytes(file.body)
        again = File.parse(with_metadata(File.parse(resealed(content + bytes(4))), file.metadata))
        if (again.format, again.metadata, again.body) != (file.format, file.metadata, file.body):
            raise AssertionError("the file is another one when it is put together again")
    metadata.unpack(file.metadata)


def metadata_case(number: int) -> str:
    """The outcome of the command decode on a file with metadata; ``info`` has to show it before, or to refuse it."""
    dice = random.Random(f"metadata {number}")
    prior = dice.choice(list(tiny_priors().values()))
    signal_format, numbers, payload = random_file(prior, dice)
    if prior.kind == "image" and dice.random() < 0.7:
        signal_format = replace(signal_format, bit_depth=8)  # few formats hold more
    plain, packed = pack(prior.id, signal_format, prior.fields, numbers, payload), packed_metadata(dice)
    if dice.random() < 0.8:
        data = with_metadata(File.parse(plain), packed)
    else:
        data = described(plain, packed, dice, intact=dice.random() < 0.9)
    request = Decoding(
        scale=dice.choice((1, 1, 1, 2)),
        rate=dice.choice((None, None, 8000, 44100)) if prior.kind == "sound" else None,
        max_pixels=MOST_POINTS,
        ignore_checksum=dice.random() < 0.2,
        strip=dice.random() < 0.2,
    )
    suffix = dice.choice(sorted(WRITABLE[prior.kind]))
    return _outcome(lambda: shown_and_written(data, prior, suffix, request))


def shown_and_written(data: bytes, prior: Prior, suffix: str, request: Decoding) -> None:
    """What ``info`` and ``decode`` do with a file, and whether what they say and write can be read."""
    file, find = File.parse(data, request.ignore_checksum), _finder(prior)
    job = Job(Path("x.cmb"), Path(f"x{suffix}"), suffix)
    if file.intact:
        with suppress(CombinerError):
            inspected = inspection.inspect(file, find)
            _check_line(*info._text(job.source, inspected).split("\n"))
            json.loads(json.dumps(info._facts(job.source, inspected)))
    done = work.decode_one(job, file, request, work.Library(lambda _: prior, find))
    _check_line(*done.notes)
    notes: list[str] = []
    try:
        again = media.read_with_metadata(done.data, job.target, notes.append)[0]
    except InputError as error:
        _check_line(str(error))
        if "colour profile" not in str(error):  # a damaged one is written as it is
            raise AssertionError(f"what was written cannot be read: {error}") from error
        return
    _check_line(*notes)
    if suffix not in _OF_ANOTHER_LENGTH and again.shape != done.facts.format.shape:
        raise AssertionError(f"{again.shape} was written instead of {done.facts.format.shape}")


def _check_line(*lines: str) -> None:
    """Make sure that lines can be shown on a terminal as they are."""
    for line in lines:
        if not line or line != one_line(line):
            raise AssertionError(f"this is to be one line of text: {line!r}")


def prior_case(number: int) -> str:
    """The outcome of loading a mutated prior and, should that work, of decoding a file with it."""
    return _outcome(lambda: _loaded_and_used(prior_data(number), number))


def prior_data(number: int) -> bytes:
    """The mutated prior of a case."""
    dice = random.Random(f"prior {number}")
    data = dice.choice(_stored_priors())
    kind = dice.random()
    if kind < 0.2:
        return mutated(data, dice, near=300)
    if kind < 0.3:
        return mutated(data, dice)
    return _with_changed_json(data, dice) if kind < 0.65 else _with_changed_tensor(data, dice)


def _loaded_and_used(data: bytes, number: int) -> None:
    with tempfile.NamedTemporaryFile(suffix=store.SUFFIX, dir=_folder()) as file:
        file.write(data)
        file.flush()
        prior = store.load(Path(file.name))
    packed = File.parse(packed_file(prior, number))
    if prior.points_rendered(packed.format) > MOST_RENDERED:
        return  # tiles of one sample: a matter of patience
    pipeline.decode(packed, lambda _: prior, None, MOST_POINTS)


def _random_header(prior: Prior, dice: random.Random) -> bytes:
    """Objects of msgpack, most of them what a header has in that place."""
    usual: list[object] = [dice.randrange(16), dice.randint(1, 99), dice.randint(1, 99)]
    usual += [number for field in prior.fields for number in random_numbers(field, dice)]
    for _ in range(dice.choice((0, 1, 1, 2))):
        deep: object = dice.choice(NUMBERS)
        for _ in range(dice.choice((0, 1, 2, 20))):
            deep = [deep]
        odd = (None, True, 1.5, "name", b"bytes", [], {}, {1: 2}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1), deep)
        usual[dice.randrange(len(usual))] = dice.choice((*odd, *NUMBERS))
    kept = len(usual) if dice.random() < 0.8 else dice.randrange(len(usual))
    return b"".join(msgpack.packb(number) for number in usual[:kept])


def _with_changed_numbers(data: bytes, prior: Prior, dice: random.Random) -> bytes:
    """A file that says something out of the ordinary in one or two places of its header."""
    file = File.parse(data)
    numbers, payload = file.numbers(prior.fields)
    common = header.common_numbers(file.format, has_metadata=False)
    flat = [value for field in header.COMMON for value in common[field.name]]
    flat += msgpack.Unpacker(io.BytesIO(header.write(prior.fields, numbers)))
    for _ in range(dice.choice((1, 1, 2))):
        odd = (0, 1, 15, 31, 63, 64, 96, 127, 128, *(number for number in NUMBERS if 0 <= number < 2**32))
        flat[dice.randrange(len(flat))] = dice.choice(odd)
    content = data[: len(MAGIC) + 5] + b"".join(map(msgpack.packb, flat)) + bytes(payload)
    return resealed(content + bytes(4))


def _with_changed_json(data: bytes, dice: random.Random) -> bytes:
    """A prior whose header or configuration says something else in one to three places."""
    stated, rest = _header_of(data), data[8 + int.from_bytes(data[:8], "little") :]
    words = stated["__metadata__"]
    if dice.random() < 0.7:
        configuration = json.loads(words["configuration"])
        for _ in range(dice.randint(1, 3)):
            _disturb(configuration, dice)
        words["configuration"] = json.dumps(configuration)
    elif dice.random() < 0.5:
        odd = ("combiner-prior-4", "combiner-prior-9", "", "[" * 2000, '{"kind": "image"}', "1e999", "\0")
        words[dice.choice(("format", "configuration", "name", "id"))] = dice.choice(odd)
    else:
        _disturb(stated, dice)
    return _joined(stated, rest)


def _disturb(value: object, dice: random.Random) -> None:
    """Change something somewhere within a JSON object or array."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))  # type: ignore[arg-type]
    if not keys:
        return
    key = dice.choice(keys)
    inner = value[key]  # type: ignore[index]
    if isinstance(inner, dict | list) and inner and dice.random() < 0.8:
        _disturb(inner, dice)
    elif isinstance(value, dict) and dice.random() < 0.15:
        del value[key]
    elif isinstance(inner, int) and not isinstance(inner, bool) and dice.random() < 0.5:
        value[key] = dice.choice((inner + 1, inner - 1, 2 * inner, -inner, inner * 2**20, float(inner)))  # type: ignore[index]
    else:
        value[key] = dice.choice(_JSON)  # type: ignore[index]


def _with_changed_tensor(data: bytes, dice: random.Random) -> bytes:
    """A prior of which one tensor has other values, or another type or shape with as many bytes as that takes."""
    stated, begin = _header_of(data), 8 + int.from_bytes(data[:8], "little")
    names = sorted(set(stated) - {"__metadata__"})
    tensors = {
        name: data[begin + stated[name]["data_offsets"][0] : begin + stated[name]["data_offsets"][1]] for name in names
    }
    kinds = {"F16": np.float16, "F32": np.float32, "I32": np.int32, "I16": np.int16, "I8": np.int8}
    for _ in range(dice.randint(1, 3)):
        name = dice.choice(names)
        kind, shape = kinds[stated[name]["dtype"]], tuple(stated[name]["shape"])
        values = np.frombuffer(tensors[name], dtype=kind).reshape(shape).copy()
        match dice.choice((0, 0, 0, 1, 1, 1, 2, 3, 4)):
            case 0 if values.size:
                limits = np.iinfo(kind) if values.dtype.kind == "i" else None
                odd = dice.choice((limits.min, limits.max, -1, 0, 1) if limits else _FLOATS)
                with np.errstate(over="ignore"):
                    values.reshape(-1)[dice.randrange(values.size) if dice.random() < 0.5 else slice(None)] = odd
            case 1 if values.size:
                values.reshape(-1).view(np.uint8)[:] = np.frombuffer(dice.randbytes(values.nbytes), np.uint8)
            case 2:
                odd_shape = dice.choice(((), (0,), (*shape, 1), shape[:-1], shape[::-1], (2, *shape)))
                values = np.resize(values, odd_shape).astype(kind)
            case 3:
                with np.errstate(invalid="ignore", over="ignore"):
                    values = values.astype(dice.choice(list(kinds.values())))
            case _:
                values = values[..., : dice.randrange(values.shape[-1] + 1)] if values.ndim else values
        named = {np.dtype(type_): text for text, type_ in kinds.items()}
        tensors[name], stated[name] = values.tobytes(), {"dtype": named[values.dtype], "shape": list(values.shape)}
    place, rest = 0, b""
    for name in names:
        stated[name]["data_offsets"] = [place, place + len(tensors[name])]
        place, rest = place + len(tensors[name]), rest + tensors[name]
    return _joined(stated, rest)


def _header_of(data: bytes) -> dict:
    stated: dict = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return stated


def _joined(stated: dict, rest: bytes) -> bytes:
    text = json.dumps(stated).encode()
    return struct.pack("<Q", len(text)) + text + rest


@functools.cache
def _seeds() -> list[bytes]:
    """Files to begin with: golden ones, and one of each tiny prior."""
    golden = [path.read_bytes() for path in sorted(GOLDEN.glob("*.cmb"))]
    return golden + [packed_file(prior, 1) for prior in tiny_priors().values()]


@functools.cache
def _packed() -> list[bytes]:
    """Metadata that are short, so that a parser is quick to get through them."""
    some = (packed_metadata(random.Random(f"packed {number}")) for number in range(400))
    return [packed for packed in some if len(packed) <= LONGEST_PACKED]


@functools.cache
def _stored_priors() -> list[bytes]:
    """The files of the tiny priors."""
    stored = []
    with tempfile.TemporaryDirectory() as folder:
        for prior in tiny_priors().values():
            store.save(prior, Path(folder) / "prior.safetensors")
            stored.append((Path(folder) / "prior.safetensors").read_bytes())
    return stored


def _folder() -> str | None:
    """Where files are written many times over: in memory, where there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _outcome(run: Callable[[], object]) -> str:
    """What came of a case, in a word. Anything but success and a CombinerError goes through."""
    try:
        run()
    except CombinerError as error:
        _check_line(str(error))
        return type(error).__name__
    return "accepted"


CASES: dict[str, Callable[[int], str]] = {
    "header": header_case,
    "described": described_case,
    "file": file_case,
    "metadata": metadata_case,
    "prior": prior_case,
}


def prepare() -> None:
    """Make what all cases begin with, which takes longer than any of them."""
    _seeds()
    _packed()
    _stored_priors()


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise TooSlow where the block takes longer."""

    def stop(_number: int, _frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_chunk(kind: str, first: int, last: int) -> Result:
    """Outcomes and how many of each, findings with what escaped, and the longest case."""
    counts: collections.Counter[str] = collections.Counter()
    findings, longest = [], Longest(0.0, first)
    prepare()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("error")  # what numpy only warns of is a finding too
        for number in range(first, last):
            clock = time.thread_time()  # on a loaded machine nothing else says how long a case takes
            try:
                with bounded(SECONDS):
                    counts[CASES[kind](number)] += 1
            except (Exception, TooSlow) as error:  # whatever escapes is what is looked for
                counts["FINDING"] += 1
                findings.append((number, "".join(traceback.format_exception(error)[-3:])[-1500:]))
            longest = max(longest, Longest(time.thread_time() - clock, number))
    return dict(counts), findings, longest


def results(chunks: list[Chunk], jobs: int) -> Iterator[tuple[Chunk, Result]]:
    """What came of chunks, in the order in which they are finished; a case that ends its process is a finding."""
    ended = []
    with ProcessPoolExecutor(jobs, initializer=_limit_memory) as pool:
        for future in as_completed(waiting := {pool.submit(run_chunk, *chunk): chunk for chunk in chunks}):
            if isinstance(future.exception(), BrokenProcessPool):
                ended.append(waiting[future])  # all that are left then, whichever it was
            else:
                yield waiting[future], future.result()
    for chunk in ended:
        yield chunk, _alone(*chunk) or _crash(*chunk)


def _alone(kind: str, first: int, last: int) -> Result | None:
    """What came of a chunk in a process of its own; nothing if the process ended."""
    with ProcessPoolExecutor(1, initializer=_limit_memory) as pool:
        future = pool.submit(run_chunk, kind, first, last)
        return None if isinstance(future.exception(), BrokenProcessPool) else future.result()


def _crash(kind: str, first: int, last: int) -> Result:
    """The finding in a chunk of which a case ends its process."""
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (middle, last) if _alone(kind, first, middle) else (first, middle)
    return {"FINDING": 1}, [(first, "the process ended")], Longest(0.0, first)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headers", type=int, default=1_000_000)
    parser.add_argument("--described", type=int, default=1_000_000, help="files with metadata that are parsed")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--metadata", type=int, default=20_000, help="files with metadata that are decoded")
    parser.add_argument("--priors", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--state", default=".fuzz.jsonl", help="chunks that are done; none is kept if this is empty")
    parser.add_argument("--table", type=Path, help="write the counts to this Markdown file")
    parser.add_argument("--case", nargs=2, metavar=("KIND", "NUMBER"), help="run one case alone")
    arguments = parser.parse_args()
    if arguments.case:
        print(CASES[arguments.case[0]](int(arguments.case[1])))
        return
    asked = {
        "header": arguments.headers,
        "described": arguments.described,
        "file": arguments.files,
        "metadata": arguments.metadata,
        "prior": arguments.priors,
    }
    chunks = [
        (kind, first, min(first + CHUNK[kind], count))
        for kind, count in asked.items()
        for first in range(0, count, CHUNK[kind])
    ]
    state = Path(arguments.state) if arguments.state else None
    done = (
        {tuple(row["chunk"]): row for row in map(json.loads, state.read_text().splitlines())}
        if state and state.exists()
        else {}
    )
    left = [chunk for chunk in chunks if chunk not in done]
    for chunk, (counts, findings, longest) in results(left, arguments.jobs):
        done[chunk] = {"chunk": chunk, "counts": counts, "findings": findings, "longest": longest}
        if state:
            with state.open("a") as file:
                file.write(json.dumps(done[chunk]) + "\n")
        for number, escaped in findings:
            print(f"{chunk[0]} {number}: {escaped}", flush=True)
        print(f"{len(done)}/{len(chunks)} chunks, {chunk}: {counts}", file=sys.stderr, flush=True)
    table = table_of([done[chunk] for chunk in chunks])
    print(table)
    if arguments.table:
        arguments.table.write_text(
            f"# Fuzzing\n\n`make fuzz`, every case at most {SECONDS} s by the clock. "
            f"The longest case is the one that took the processor longest.\n\n{table}"
        )
    sys.exit(any(row["findings"] for row in done.values()))


def table_of(rows: list[dict]) -> str:
    """Counts by kind and outcome, as Markdown."""
    totals: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    longest: dict[str, float] = collections.defaultdict(float)
    for row in rows:
        kind = row["chunk"][0]
        totals[kind].update(row["counts"])
        longest[kind] = max(longest[kind], row["longest"][0])
    outcomes = sorted({outcome for counts in totals.values() for outcome in counts})
    lines = [f"| case | cases | {' | '.join(outcomes)} | {LONGEST} |", "|---|" + "---|" * (len(outcomes) + 2)]
    for kind, counts in totals.items():
        cells = [f"{sum(counts.values()):,}", *(f"{counts[outcome]:,}" for outcome in outcomes), f"{longest[kind]:.3f}"]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
