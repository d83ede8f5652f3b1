"""Learning pyramid priors: crops, resumption, learning on, and what comes of it."""

import numpy as np
import pytest
from support.learned import pictures, pyramid_plan
from support.signals import smooth_image
from support.training import Recorded, StoppedError

from combiner_cli.errors import DamagedFileError, DatasetError, UsageError
from combiner_cli.families.pyramid import learning, training
from combiner_cli.families.pyramid.encoder import forecast
from combiner_cli.families.pyramid.learning import PyramidLearning
from combiner_cli.learning import datasets, gradients, job, networks
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.distributed import Device, ProcessGroup
from combiner_cli.learning.job import LearningRequest
from combiner_cli.media import files as media


def learned(listener=None, checkpoint=None, start=None, **changed):
    start_id = None if start is None else start.id
    settings = pyramid_plan(start=start_id, **changed)
    return job.run(PyramidLearning(settings, pictures(4), pictures(1, 50), start=start), listener, checkpoint)


@pytest.fixture
def quick(monkeypatch):
    """Steps that are large enough for a test."""
    monkeypatch.setattr(networks, "_LEARNING_RATE", 0.02)
    monkeypatch.setattr(networks, "_WARM_UP", 3)


def test_the_same_settings_give_the_same_prior_and_another_seed_another():
    result = learned()
    assert learned().prior.id == result.prior.id
    assert learned(seed=2).prior.id != result.prior.id
    codes, rates, psnrs = zip(*((point.noise_level, point.rate, point.psnr) for point in result.points), strict=True)
    assert (codes[0], codes[-1]) == result.prior.noise_codes == (20, 60)
    assert (np.diff(rates) > 0).all()
    assert (np.diff(psnrs) > 0).all()
    assert result.prior.rates == (rates[0], rates[-1])


def test_measuring_does_not_disturb_learning(monkeypatch):
    seldom = learned()
    monkeypatch.setattr(gradients, "MEASURED_STEPS", 1)
    often = learned()
    assert often.prior.id == seldom.prior.id
    assert (len(seldom.measurements), len(often.measurements)) == (1, 6)
    assert often.measurements[-1].held_out == seldom.measurements[-1].held_out
    assert len({measurement.held_out for measurement in often.measurements}) > 1


def test_an_interrupted_learning_ends_with_the_same_prior(tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "MEASURED_STEPS", 2)
    changed, checkpoint = {"steps": 7, "shards": 2, "patience": 2}, CheckpointFile(tmp_path / "x", 0.0)
    whole = learned(**changed)
    with pytest.raises(StoppedError):
        learned(Recorded(6), checkpoint, **changed)
    seen = Recorded()
    resumed = learned(seen, checkpoint, **changed)
    assert seen.steps == [6, 7]
    assert resumed.prior.id == whole.prior.id
    assert resumed.measurements == whole.measurements
    weights = sum(tensor.size for tensor in resumed.prior.tensors().values())
    # the weights, two moments of each and the best ones as float32, and their names
    assert checkpoint.path.stat().st_size < 4 * 4 * weights + 600 * len(resumed.prior.tensors())
    with pytest.raises(DatasetError, match="other data or settings"):
        learned(checkpoint=checkpoint, **(changed | {"seed": 2}))
    checkpoint.path.write_bytes(b"nonsense")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        learned(checkpoint=checkpoint, **changed)


def test_parts_have_random_numbers_of_their_own():
    one, two = learned(), learned(shards=2)
    assert one.prior.id != two.prior.id
    assert two.measurements[-1].training == pytest.approx(one.measurements[-1].training, rel=0.2)


@pytest.mark.usefixtures("quick")
def test_learning_pays_and_goes_on_from_a_prior():
    untrained, start = learned(steps=1).prior, learned(steps=40).prior
    values = pictures(1, 60)[0].astype(float) - 127.5
    few, many = (forecast(prior, values, 40) for prior in (start, untrained))
    assert few.bits + few.class_bits < 0.8 * (many.bits + many.class_bits)
    unchanged = training.new_networks(pyramid_plan())
    networks.load_networks(unchanged, start.tensors(), start.name)
    again = networks.quantised(unchanged)
    assert all(np.array_equal(again[name], tensor) for name, tensor in start.tensors().items())
    more = learned(steps=5, start=start)
    assert more.prior.id != start.id
    assert more.measurements[-1].training < 0.8 * learned(steps=5).measurements[-1].training
    assert f"on from the prior {start.id:08x}" in more.card("combiner x", "5 s")
    with pytest.raises(UsageError, match="other sizes"):
        learned(start=start, fine=((4, 8),) * 3)


def test_sizes_and_work_are_estimated():
    def made(**changed):
        return PyramidLearning(pyramid_plan(**changed), pictures(4), pictures(1, 50)).estimate()

    usual = made()
    assert usual.prior_bytes == sum(tensor.nbytes for tensor in learned(steps=1).prior.tensors().values())
    assert made(steps=12).seconds() - usual.seconds() == pytest.approx(usual.seconds() - made(steps=0).seconds())
    assert made(crop=16).step_operations < usual.step_operations
    assert made(signals=2000).memory > usual.memory


@pytest.fixture
def request_of(tmp_path):
    """A request to learn from images of some sides."""

    def made(*sides, device=None, **options):
        for number, side in enumerate(sides):
            media.write_signal(smooth_image(side, side + 4, seed=number), tmp_path / f"{number}.png")
        dataset = datasets.open_dataset(tmp_path)
        values = job.completed(learning.OPTIONS, options, "pyramid")
        return LearningRequest("p", dataset, 20, device=device or Device(), options=values)

    return made


@pytest.mark.parametrize(
    ("sides", "options", "crop", "crops"),
    [
        ([32] * 5, {}, 32, 96),
        ([75] * 5, {}, 64, 24),
        ([300, 300, 280], {}, 256, 6),
        ([32] * 5, {"crop": 16, "crops": 4}, 16, 4),
        ([32] * 5, {"shards": 5}, 32, 100),
    ],
)
def test_crops_fit_the_pictures(request_of, sides, options, crop, crops):
    made = learning.begin(request_of(*sides, **options))
    assert (made.settings.crop, made.settings.signals) == (crop, crops)
    assert f"{crops} crops of {crop}x{crop}" in made.work
    assert made.data.startswith(f"{len(sides) - 1} images to learn from, 1 held out, ")


def test_every_process_has_a_part_of_a_step(request_of):
    made = learning.begin(request_of(32, 32, 32, device=Device(processes=ProcessGroup(0, 5))))
    assert (made.settings.shards, made.settings.signals) == (5, 100)


def test_too_small_a_picture_among_those_held_out_makes_their_crops_smaller():
    settings = pyramid_plan(crop=32)
    small = [smooth_image(20, 24, seed=3).samples]
    made = PyramidLearning(settings, pictures(2), small).training()
    signals, _ = made.draw_held_out(np.random.default_rng(0))
    assert signals.shape == (2, 3, 20, 20)
