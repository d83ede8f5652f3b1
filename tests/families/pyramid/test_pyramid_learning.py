"""Learning pyramid priors: crops, resumption, learning on, and what comes of it."""

import numpy as np
import pytest
from support.learned import pictures, pyramid_plan
from support.signals import smooth_image
from support.training import Recorded, StoppedError

from combiner_cli.errors import DamagedFileError, DatasetError, UsageError
from combiner_cli.families.pyramid import learning, levels, training
from combiner_cli.families.pyramid.encoder import ImageSimulation
from combiner_cli.families.pyramid.learning import PyramidLearning
from combiner_cli.learning import datasets, job, networks, trainer
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.distributed import Device, ProcessGroup
from combiner_cli.learning.job import LearningRequest
from combiner_cli.media import files as media
from combiner_cli.stages.moments import OCTAVE
from combiner_cli.stages.shape import PictureShape


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
    monkeypatch.setattr(trainer, "MEASURED_STEPS", 1)
    often = learned()
    assert often.prior.id == seldom.prior.id
    assert (len(seldom.measurements), len(often.measurements)) == (1, 6)
    assert often.measurements[-1].held_out == seldom.measurements[-1].held_out
    assert len({measurement.held_out for measurement in often.measurements}) > 1


def test_an_interrupted_learning_ends_with_the_same_prior(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "MEASURED_STEPS", 2)
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
    picture = smooth_image(36, 40, seed=60)
    few, many = (ImageSimulation(prior, picture).cost(40) for prior in (start, untrained))
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


def test_learning_can_draw_shapes_of_the_noise():
    shaped = learned(steps=2, shapes=100)
    assert shaped.prior.id != learned(steps=2).prior.id
    assert np.isfinite(shaped.measurements[-1].training)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_noise_of_training_is_that_of_coding(number):
    noise = PictureShape((8, 6, 0, 0), 12, 10)
    picture = np.random.default_rng(0).normal(0, 4000, (1, 1, 24, 20)) * np.linspace(0.1, 3, 20)
    level = levels.new_level(number, np.array([50]), np.repeat(picture, 3, axis=1), shape=noise)
    passed = training.TrainingPass(None, np.random.default_rng(0), "cpu", noise)
    for stage, chroma in ((2, False), (4, True)):
        phases = levels.stage_phases(stage)
        exact = np.concatenate([level.noise(phase, level.all_units, chroma) for phase in phases])
        assert np.allclose(passed._octaves_of_noise(level, stage).numpy() * OCTAVE, exact, atol=1e-4)
        assert exact.std() > 1


def test_a_pass_takes_details_in_units_of_their_level(monkeypatch):
    taken = {}
    monkeypatch.setattr(
        training.TrainingPass, "_level", lambda _, level, true: taken.update({level.number: (level.noise_levels, true)})
    )
    picture, noise = np.random.default_rng(1).normal(0, 30, (1, 3, 64, 64)), PictureShape((16, 8, 0, 0))
    training.TrainingPass(None, np.random.default_rng(0), "cpu", noise).run(picture, np.array([30]))
    flat = dict(taken)
    training.TrainingPass(None, np.random.default_rng(0), "cpu").run(picture, np.array([30]))
    for number, sixteenths in ((1, 16), (2, 24), (3, 24)):
        assert flat[number][0] == taken[number][0] + sixteenths
        assert np.allclose(flat[number][1], taken[number][1] * 2 ** (sixteenths / 16))


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
