"""Hostile headers, files, metadata and priors: two minutes of other cases than those of `make fuzz`; its findings."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgpack
import pytest
from support import fuzzing, hostile_metadata, priors

from combiner_cli.batch.requests import Decoding
from combiner_cli.codec import pipeline
from combiner_cli.container.file import MAGIC, VERSION, File, pack
from combiner_cli.errors import CombinerError, DamagedFileError
from combiner_cli.priors import library, store

HOSTILE = Path(__file__).parent / "hostile"
HOSTILE_METADATA = sorted(HOSTILE.glob("*.cmb"))
FIRST = 1_000_000  # make fuzz tries the cases before
PART = {"header": 10_000, "described": 10_000, "file": 300, "metadata": 200, "prior": 300}
LARGE_PART = {"header": 500_000, "described": 500_000, "file": 14_000, "metadata": 8_000, "prior": 14_000}


def nothing_escapes(kind, first, count):
    counts, findings, _ = fuzzing.run_chunk(kind, first, first + count)
    assert not findings, "\n".join(words for _, words in findings)
    assert sum(counts.values()) == count
    assert counts["accepted"] > 0.05 * count  # what is refused at the door tests the door alone
    assert counts["DamagedFileError"] > 0.1 * count


@pytest.mark.parametrize("kind", PART)
def test_nothing_but_a_combiner_error_escapes(kind):
    nothing_escapes(kind, FIRST, PART[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE_PART)
def test_nothing_but_a_combiner_error_escapes_from_many_more(kind):
    nothing_escapes(kind, FIRST + PART[kind], LARGE_PART[kind])


@pytest.mark.parametrize("path", sorted(HOSTILE.glob("*.safetensors")), ids=lambda path: path.name)
def test_priors_that_were_found_stay_refused(path):
    with pytest.raises(CombinerError):
        store.load(path)


@pytest.mark.parametrize("path", HOSTILE_METADATA, ids=lambda path: path.name)
def test_metadata_that_were_found_do_no_harm(path, monkeypatch):
    monkeypatch.setenv(library.SEARCH_VARIABLE, str(fuzzing.GOLDEN))
    prior = library.find_id(File.parse(path.read_bytes()).prior_id)
    for suffix in fuzzing.WRITABLE[prior.kind]:
        fuzzing.shown_and_written(path.read_bytes(), prior, suffix, Decoding())


def test_the_fuzzer_finds_faults(monkeypatch):
    """An error of another type, a warning, an error that is no line of text, and a case without end are findings."""

    def warns(_):
        import warnings

        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        return "accepted"

    def endless(_):
        while True:
            pass

    def says_nothing(_):
        def refuse():
            raise DamagedFileError("")

        return fuzzing._outcome(refuse)

    def shows(words):
        return lambda _: fuzzing._check_line(words) or "accepted"

    monkeypatch.setattr(fuzzing, "SECONDS", 0.05)
    for case in (lambda _: [][1], warns, shows("one\ntwo"), shows("\x1b[31mred"), says_nothing, endless):
        monkeypatch.setitem(fuzzing.CASES, "header", case)
        counts, findings, _ = fuzzing.run_chunk("header", 3, 4)
        assert counts == {"FINDING": 1}
        assert findings[0][0] == 3


def test_a_case_that_ends_its_process_is_found(monkeypatch):
    monkeypatch.setitem(fuzzing.CASES, "header", lambda number: os._exit(1) if number == 5 else "accepted")
    by_chunk = dict(fuzzing.results([("header", 0, 4), ("header", 4, 9), ("header", 9, 12)], 1))
    assert {chunk: counts for chunk, (counts, *_) in by_chunk.items()} == {
        ("header", 0, 4): {"accepted": 4},
        ("header", 4, 9): {"FINDING": 1},
        ("header", 9, 12): {"accepted": 3},
    }
    assert by_chunk["header", 4, 9][1] == [(5, "the process ended")]


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


@pytest.mark.parametrize("intact", [False, True])
def test_files_with_metadata_are_sound_and_unsound_in_all_their_parts(intact):
    """A fuzzer of which all files are refused at the door tests the door alone."""
    dice = random.Random(1)
    plain = priors.packed_file(priors.tiny_priors()["siren-8"], 1)
    body, seen = File.parse(plain).body, set()
    for _ in range(300):
        data = hostile_metadata.described(plain, b"metadata", dice, intact)
        try:
            file = File.parse(data, ignore_checksum=True)
            seen.add((file.intact, file.body == body, file.metadata == b"metadata"))
        except CombinerError as error:
            seen.add(type(error))
    assert {DamagedFileError, (intact, True, True), (intact, False, True), (intact, True, False)} <= seen


def test_cases_can_be_made_again():
    for kind in PART:
        first, second = (fuzzing.run_chunk(kind, 70, 90)[0] for _ in range(2))
        assert first == second


def test_lengths_in_a_header_are_limited():
    for value in (
        "text",
        b"bytes",
        {1: 2},
        [1],
        msgpack.ExtType(5, b"x"),
        msgpack.Timestamp(1),
        1.5,
        None,
        True,
        2**32,
    ):
        content = MAGIC + bytes([VERSION]) + bytes(4) + msgpack.packb(2) + msgpack.packb(value) + msgpack.packb(5)
        with pytest.raises(DamagedFileError, match="header"):
            File.parse(content + b"\0\0\0\0", ignore_checksum=True)


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
    monkeypatch.setattr(siren.Siren, "forward", lambda self, w, f: seen.append(f.shape[1]) or forward(self, w, f))
    assert np.allclose(network.render(weights), usual, rtol=0, atol=1e-12)
    assert max(seen) == 10
    assert coordinates((8, 8)).shape == (2, 64)


def test_many_weights_for_few_samples_count():
    from combiner_cli.errors import LimitError
    from combiner_cli.signals.signal import Format

    prior = priors.tiny_siren(extent=(1, 1))
    numbers, payload = {"index_bytes": (1,)}, random.Random(1).randbytes(4000)
    file = File.parse(pack(prior.id, Format("image", (64, 64), 3, 8, None), prior.fields, numbers, payload))
    assert pipeline.decode(file, lambda _: prior).shape == (64, 64)
    with pytest.raises(LimitError):
        pipeline.decode(file, lambda _: prior, most_points=64 * 64)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("mine", "mine"), ("", "x"), ("a\nb", "x"), ("\x1b[31m", "x"), ("n" * 101, "x"), ("für 8", "für 8")],
)
def test_a_name_that_cannot_be_shown_is_replaced_by_that_of_the_file(name, shown, tmp_path):
    from dataclasses import replace

    store.save(replace(priors.tiny_priors()["siren-8"], name=name), tmp_path / "x.safetensors")
    assert store.load(tmp_path / "x.safetensors").name == shown


def test_what_a_prior_says_is_shown_without_control_characters(tmp_path):
    from safetensors.numpy import save_file

    for version in ("combiner-prior-\x1b[31m\n9", "\x1b"):
        save_file({}, tmp_path / "x.safetensors", {"format": version, "configuration": "{}"})
        with pytest.raises(CombinerError) as caught:
            store.load(tmp_path / "x.safetensors")
        assert str(caught.value).isprintable()
    configuration = '{"family": "siren", "network": {"\x1b[31m": 1, "extent": [8]}}'.replace("\x1b", "\\u001b")
    save_file({}, tmp_path / "x.safetensors", {"format": store.FORMAT, "configuration": configuration})
    with pytest.raises(DamagedFileError) as caught:
        store.load(tmp_path / "x.safetensors")
    assert str(caught.value).isprintable()


def test_a_prior_with_a_gigantic_header_is_refused_before_it_is_read(tmp_path, prior_folder):
    path = tmp_path / "x.safetensors"
    for length in (2**21, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + b"{" * 100)
        with pytest.raises(DamagedFileError, match="too large"):
            store.load(path)
    (prior_folder / "a.safetensors").write_bytes(path.read_bytes())  # nor does it keep the others from being found
    assert library.find_id(library.find("tiny-image").id).name == "tiny-image"
