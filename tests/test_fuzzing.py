"""Hostile headers, files, metadata and priors: two minutes of other cases than those of `make fuzz`; its findings."""

from __future__ import annotations

import os
import random
from pathlib import Path

import families
import fuzzing
import hostile_metadata
import msgpack
import pytest

from combiner_cli.batch import work
from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import CombinerError, DamagedFileError
from combiner_cli.media import images, sounds
from combiner_cli.priors import library

HOSTILE = Path(__file__).parent / "hostile"
HOSTILE_METADATA = sorted(HOSTILE.glob("*.cmb"))
FIRST = 1_000_000  # make fuzz tries the cases before
PART = {"header": 500_000, "wrapper": 500_000, "file": 14_000, "metadata": 8_000, "prior": 14_000}


@pytest.mark.parametrize("kind", PART)
def test_nothing_but_a_combiner_error_escapes(kind):
    counts, findings, _ = fuzzing.run_chunk(kind, FIRST, FIRST + PART[kind])
    assert not findings, "\n".join(words for _, words in findings)
    assert sum(counts.values()) == PART[kind]
    assert counts["accepted"] > 0.05 * PART[kind]  # what is refused at the door tests the door alone
    assert counts["DamagedFileError"] > 0.1 * PART[kind]


@pytest.mark.parametrize("path", sorted(HOSTILE.glob("*.safetensors")), ids=lambda path: path.name)
def test_priors_that_were_found_stay_refused(path):
    with pytest.raises(CombinerError):
        library.load(path)


@pytest.mark.parametrize("path", HOSTILE_METADATA, ids=lambda path: path.name)
def test_metadata_that_were_found_do_no_harm(path, monkeypatch):
    monkeypatch.setenv(library.SEARCH_VARIABLE, str(fuzzing.GOLDEN))
    data = path.read_bytes()
    header = bitstream.unpack(data)[0]
    prior = library.find_id(header.prior_id)
    formats = images.FORMATS if header.kind == "image" else sounds.FORMATS
    for suffix in formats:
        job = work.Job(path, Path(f"x{suffix}"))
        fuzzing.shown_and_written(data, prior, job, work.Decoding())


def test_the_fuzzer_finds_faults(monkeypatch):
    """An error of another type, a warning, an error that is no line of text, and a case without end are findings."""

    def warns(_):
        import warnings

        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        return "accepted"

    def endless(_):
        while True:
            pass

    def says(words):
        def case(_):
            def refuse():
                raise DamagedFileError(words)

            return fuzzing._outcome(refuse)

        return case

    monkeypatch.setattr(fuzzing, "SECONDS", 0.05)
    for case in (lambda _: [][1], warns, says("one\ntwo"), says("\x1b[31mred"), says(""), endless):
        monkeypatch.setitem(fuzzing.CASES, "header", case)
        counts, findings, _ = fuzzing.run_chunk("header", 3, 4)
        assert counts == {"FINDING": 1}
        assert findings[0][0] == 3


def test_a_case_that_ends_its_process_is_found(monkeypatch):
    monkeypatch.setitem(fuzzing.CASES, "header", lambda number: os._exit(1) if number == 5 else "accepted")
    found = dict(fuzzing.results([("header", 0, 4), ("header", 4, 9), ("header", 9, 12)], 1))
    assert {chunk: counts for chunk, (counts, *_) in found.items()} == {
        ("header", 0, 4): {"accepted": 4},
        ("header", 4, 9): {"FINDING": 1},
        ("header", 9, 12): {"accepted": 3},
    }
    assert found["header", 4, 9][1] == [(5, "the process ended")]


def test_the_longest_case_is_the_one_that_works_the_longest(monkeypatch):
    """Waiting does not count: on a loaded machine all cases wait."""
    import time

    def case(number):
        clock = time.thread_time()
        while number == 2 and time.thread_time() < clock + 0.05:
            pass
        time.sleep(0.2 if number == 1 else 0)
        return "accepted"

    monkeypatch.setitem(fuzzing.CASES, "header", case)
    longest = fuzzing.run_chunk("header", 0, 4)[2]
    assert longest.number == 2
    assert 0.05 <= longest.seconds < 0.15


@pytest.mark.parametrize("outer", [False, True])
def test_wrappers_are_sound_and_unsound_in_all_their_parts(outer):
    """A fuzzer of which all files are refused at the door tests the door alone."""
    dice = random.Random(1)
    inner = families.packed_file(families.tiny_priors()["siren-8"], 1)
    seen = set()
    for _ in range(300):
        data = hostile_metadata.wrapped(inner, b"metadata", dice, outer)
        try:
            found, packed = bitstream.split_metadata(data, ignore_checksum=True)
            seen.add((bitstream.is_intact(data), bitstream.is_intact(found), found == inner, packed == b"metadata"))
        except CombinerError as error:
            seen.add(type(error))
    assert {DamagedFileError, *((outer, True, same, True) for same in (False, True))} <= seen
    assert (outer, False, False, True) in seen


def test_cases_can_be_made_again():
    for kind in PART:
        first, second = (fuzzing.run_chunk(kind, 70, 90)[0] for _ in range(2))
        assert first == second


def test_lengths_in_a_header_are_limited():
    for value in ("text", b"bytes", {1: 2}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1), list(range(17))):
        content = bitstream.MAGIC + msgpack.packb([1, value, 2, 3, 5, 4])
        with pytest.raises(DamagedFileError, match="header cannot be read"):
            bitstream.unpack(content + b"\0\0\0\0", ignore_checksum=True)


def test_a_hostile_wide_network_is_rendered_in_little_memory(monkeypatch):
    """All points of a tile at once would take gigabytes."""
    import numpy as np

    from combiner_cli.families.siren import network as siren
    from combiner_cli.signals.signal import coordinates

    network = siren.Siren((8, 8), 1, 4, 2.0, 50, 1)
    weights = np.random.default_rng(1).standard_normal((2, network.latents))
    usual = network.render(weights)
    seen = []
    forward = siren.Siren.forward
    monkeypatch.setattr(siren, "_ACTIVATIONS_AT_ONCE", 500)
    monkeypatch.setattr(siren.Siren, "forward", lambda own, w, f: seen.append(f.shape[1]) or forward(own, w, f))
    assert np.allclose(network.render(weights), usual, rtol=0, atol=1e-12)
    assert max(seen) == 10
    assert coordinates((8, 8)).shape == (2, 64)


def test_many_weights_for_few_samples_count():
    from conftest import tiny_prior

    from combiner_cli.errors import LimitError

    prior = tiny_prior(extent=(1, 1))
    header = bitstream.Header(prior.id, "image", (64, 64), 3, 8, None, noise=0)
    data = bitstream.pack(header, random.Random(1).randbytes(4000))
    assert pipeline.decode(data, lambda _: prior).shape == (64, 64)
    with pytest.raises(LimitError):
        pipeline.decode(data, lambda _: prior, most_points=64 * 64)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("mine", "mine"), ("", "x"), ("a\nb", "x"), ("\x1b[31m", "x"), ("n" * 101, "x"), ("für 8", "für 8")],
)
def test_a_name_that_cannot_be_shown_is_replaced_by_that_of_the_file(name, shown, tmp_path):
    from dataclasses import replace

    library.save(replace(families.tiny_priors()["siren-8"], name=name), tmp_path / "x.safetensors")
    assert library.load(tmp_path / "x.safetensors").name == shown


def test_what_a_prior_says_is_shown_without_control_characters(tmp_path):
    from safetensors.numpy import save_file

    for version in ("combiner-prior-\x1b[31m\n9", "\x1b"):
        save_file({}, tmp_path / "x.safetensors", {"format": version, "configuration": "{}"})
        with pytest.raises(CombinerError) as caught:
            library.load(tmp_path / "x.safetensors")
        assert str(caught.value).isprintable()
    configuration = '{"family": "siren", "network": {"\x1b[31m": 1, "extent": [8]}}'.replace("\x1b", "\\u001b")
    save_file({}, tmp_path / "x.safetensors", {"format": "combiner-prior-1", "configuration": configuration})
    with pytest.raises(DamagedFileError) as caught:
        library.load(tmp_path / "x.safetensors")
    assert str(caught.value).isprintable()


def test_a_prior_with_a_gigantic_header_is_refused_before_it_is_read(tmp_path, prior_folder):
    path = tmp_path / "x.safetensors"
    for length in (2**21, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + b"{" * 100)
        with pytest.raises(DamagedFileError, match="too large"):
            library.load(path)
    (prior_folder / "a.safetensors").write_bytes(path.read_bytes())  # nor does it keep the others from being found
    assert library.find_id(library.find("tiny-image").id).name == "tiny-image"
