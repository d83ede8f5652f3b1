"""The work on files: what is encoded together, and what happens when something goes wrong with some."""

from pathlib import Path

import pytest
from support.plain_prior import PlainPrior
from support.signals import smooth_image, tone

from combiner_cli.batch import work
from combiner_cli.batch.failures import attempt, failure
from combiner_cli.batch.requests import Decoding, Encoding, Failure, Job
from combiner_cli.batch.work import Library
from combiner_cli.codec import pipeline
from combiner_cli.container import file as container
from combiner_cli.container import metadata
from combiner_cli.container.file import File
from combiner_cli.container.metadata import Metadata
from combiner_cli.errors import InputError, UsageError
from combiner_cli.family import Target
from combiner_cli.media import files as media
from combiner_cli.priors import library, selection
from combiner_cli.priors.selection import Choice
from combiner_cli.rec import search

SIZE = Target("size", 100)


class TogetherPrior(PlainPrior):
    """A plain prior that encodes three signals at once."""

    def signals_together(self, signal_format, options):
        return 3


def known(prior):
    return Library(lambda _: prior, lambda _: prior)


def jobs_of(signals):
    """Jobs, and what gives their contents."""
    contents = {Job(Path(f"{n}.png"), Path(f"{n}.cmb")): signal for n, signal in enumerate(signals)}
    return list(contents), lambda job: media.signal_bytes(contents[job], ".png")


@pytest.fixture
def sizes(monkeypatch):
    """How many signals each call of the encoder had."""
    counted = []
    original = pipeline.encode_batch

    def spy(signals, *more, **others):
        counted.append(len(signals))
        return original(signals, *more, **others)

    monkeypatch.setattr(pipeline, "encode_batch", spy)
    return counted


def test_signals_of_one_format_are_encoded_together_with_the_same_bytes(sizes):
    images = [smooth_image(11, 12 if n % 4 else 40, seed=n) for n in range(10)]
    jobs, read = jobs_of(images)
    prior = TogetherPrior()
    results = dict(work.convert(jobs, Encoding(SIZE, prior="x"), known(prior), read))
    assert sorted(sizes) == [1, 3, 3, 3]
    for job, image in zip(jobs, images, strict=True):
        assert results[job].data == pipeline.encode(image, prior, SIZE).data
        assert results[job].facts.format == image.format


def test_a_prior_that_takes_one_at_a_time_gets_one_at_a_time(sizes):
    jobs, read = jobs_of([smooth_image(9, 9, seed=n) for n in range(3)])
    assert len(dict(work.convert(jobs, Encoding(SIZE, prior="x"), known(PlainPrior()), read))) == 3
    assert sizes == [1, 1, 1]


def test_signals_that_are_to_reach_a_psnr_are_encoded_each_for_itself(sizes):
    jobs, read = jobs_of([smooth_image(9, 9, seed=n) for n in range(3)])
    results = dict(work.convert(jobs, Encoding(Target("psnr", 15.0), prior="x"), known(TogetherPrior()), read))
    assert set(sizes) == {1}
    assert all(result.facts.psnr >= 15 for result in results.values())


def test_small_signals_that_take_the_same_prior_come_together(monkeypatch):
    seen, priors = [], {name: PlainPrior(name, most=ord(name)) for name in "ab"}
    original = pipeline.encode

    def spy(signal, prior, *more):
        seen.append(prior.name)
        return original(signal, prior, *more)

    def choose(signal, target):
        return Choice(priors["ab"[signal.shape[1] % 2]], target)

    monkeypatch.setattr(pipeline, "encode", spy)
    monkeypatch.setattr(selection, "choose", choose)
    jobs, read = jobs_of([smooth_image(9, 8 + n, seed=n) for n in range(4)])
    results = dict(work.convert(jobs, Encoding(SIZE), known(None), read))
    assert "".join(seen) in ("aabb", "bbaa")
    assert [results[job].facts.prior for job in jobs] == ["a", "b", "a", "b"]
    assert all(results[job].facts.prior_chosen for job in jobs)


def test_one_that_fails_does_not_keep_those_beside_it_from_being_encoded(monkeypatch):
    images = [smooth_image(8, 8, seed=n) for n in range(5)]
    jobs, read = jobs_of(images)
    original = pipeline.encode_batch

    def fail(signals, *more, **others):
        if any((signal.samples == images[2].samples).all() for signal in signals):
            raise ZeroDivisionError("a defect\nof two lines")
        return original(signals, *more, **others)

    monkeypatch.setattr(pipeline, "encode_batch", fail)
    results = dict(work.convert(jobs, Encoding(SIZE, prior="x"), known(TogetherPrior()), read))
    assert [isinstance(results[job], Failure) for job in jobs] == [False, False, True, False, False]
    failed = results[jobs[2]]
    assert failed.message == "unexpected ZeroDivisionError: a defect of two lines; please report this"
    assert failed.exit_code == 1
    assert "Traceback" in failed.trace


def test_failures_are_one_line_with_the_exit_code_of_their_kind():
    assert failure(InputError("x\ny")).message == r"x\ny"
    assert failure(InputError("x")).exit_code == 3
    assert failure(MemoryError()).message.startswith("not enough memory for this")
    assert failure(MemoryError()).exit_code == 9
    assert failure(RuntimeError("CUDA out of memory")).exit_code == 9
    assert failure(RuntimeError("x" * 999)).message == f"unexpected RuntimeError: {'x' * 200}; please report this"
    assert attempt(lambda: 3) == 3
    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_windows_hold_all_jobs_once():
    jobs = [Job(Path(f"{n}"), Path(f"{n}.cmb"), size=10**6 if n % 10 == 3 else 100) for n in range(100)]
    for workers in (1, 2, 7):
        parts = list(work.windows(jobs, Encoding(), workers))
        assert {job for part in parts for job in part} == set(jobs)
        assert sum(map(len, parts)) == 100
        assert all(len(part) == 1 for part in parts if part[0].size > 100)
        assert max(map(len, parts)) <= 32
    assert all(len(part) == 1 for part in work.windows(jobs, Decoding(), 2))


@pytest.fixture
def counted(monkeypatch):
    """Names of what is done with bytes of files, in order."""
    done = []
    for module, name in ((container, "checksum"), (File, "parse")):
        original = getattr(module, name)

        def spy(*arguments, original=original, name=name):
            done.append(name)
            return original(*arguments)

        monkeypatch.setattr(module, name, spy)
    return done


def test_a_file_is_taken_apart_and_checked_once(counted):
    prior = PlainPrior()
    data = pipeline.encode(smooth_image(9, 9), prior).data
    packed = metadata.pack(Metadata(exif=b"II*\0 and so on"))
    data = container.with_metadata(File.parse(data), packed)
    counted.clear()
    job = Job(Path("x.cmb"), Path("x.png"), ".png")
    ((_, result),) = work.convert([job], Decoding(), known(prior), lambda _: data)
    assert not isinstance(result, Failure), result
    assert counted == ["parse", "checksum"]


def test_the_suffix_of_the_job_says_what_is_written():
    prior = PlainPrior(kind="sound")
    data = pipeline.encode(tone(99), prior).data
    job = Job(Path("x.cmb"), Path("/dev/null"), ".flac")
    ((_, result),) = work.convert([job], Decoding(), known(prior), lambda _: data)
    assert result.data.startswith(b"fLaC")
    assert (result.facts.input_bytes, result.facts.bytes, result.facts.damaged) == (len(data), len(result.data), False)


def test_what_could_be_decoded_of_a_damaged_file_is_told_to_be_damaged():
    prior = PlainPrior()
    data = pipeline.encode(smooth_image(9, 9), prior).data
    job = Job(Path("x.cmb"), Path("x.png"), ".png")
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    ((_, result),) = work.convert([job], Decoding(), known(prior), lambda _: damaged)
    assert result.exit_code == 4
    ((_, result),) = work.convert([job], Decoding(ignore_checksum=True), known(prior), lambda _: damaged)
    assert result.facts.damaged


def test_a_size_that_is_too_small_says_what_the_metadata_take():
    prior = PlainPrior()
    described = Metadata(exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    image = media.signal_bytes(smooth_image(9, 9), ".png", described)
    taken = container.metadata_overhead(metadata.pack(described))
    request = Encoding(Target("size", taken + 5), prior="x", keep_metadata=True)
    with pytest.raises(UsageError, match=f"ask for more; {taken} bytes go to the metadata besides"):
        work.encode_one(Job(Path("x.png"), Path("x.cmb")), image, request, known(prior))


def test_notes_are_told_at_once_and_in_the_result():
    prior = PlainPrior()
    data = pipeline.encode(smooth_image(9, 9), prior).data
    noted = container.with_metadata(File.parse(data), b"no metadata at all")
    notes = []
    request = Decoding(strip=True)
    result = work.decode_one(Job(Path("x"), Path("y"), ".png"), File.parse(noted), request, known(prior), notes.append)
    assert notes == list(result.notes) == ["the metadata cannot be read and are left out; colours may differ"]


@pytest.mark.parametrize(("tune", "told"), [("perceptual", True), ("psnr", False), (None, False)])
def test_who_asks_for_a_tune_that_a_prior_does_not_have_is_told(tune, told):
    request, notes = Encoding(Target("rate", 2.0, tune), prior="x"), []
    image = media.signal_bytes(smooth_image(9, 9), ".png")
    work.encode_one(Job(Path("x.png"), Path("x.cmb")), image, request, known(PlainPrior()), note=notes.append)
    assert notes == ["prior plain weighs all errors alike; --tune perceptual makes no difference"] * told


def test_another_prior_is_made_room_for(monkeypatch):
    """Candidates of a prior are kept for its next signal, and not beside those of the next prior."""
    forgotten = []
    monkeypatch.setattr(search, "forget", lambda: forgotten.append(len(forgotten)))
    work._make_room_for.cache_clear()
    for prior in (1, 1, 2, 2, 1):
        work._make_room_for(prior)
    assert len(forgotten) == 3


def test_priors_are_looked_for_once(monkeypatch):
    asked = []
    monkeypatch.setattr(library, "find", lambda name: asked.append(name))
    monkeypatch.setattr(library, "find_id", lambda number: asked.append(number))
    where = work.library()
    for _ in range(3):
        where.named("x")
        where.with_id(7)
    assert asked == ["x", 7]
