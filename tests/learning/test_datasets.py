"""Data sets: what a folder holds, which parts are held out, and what crops and recordings are taken from it."""

import numpy as np
import pytest
from support.signals import smooth_image, tone

from combiner_cli.errors import DatasetError
from combiner_cli.learning import datasets
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal


def images(folder, *sizes):
    for number, (height, width) in enumerate(sizes):
        media.write_signal(smooth_image(height, width, seed=number), folder / f"{number:03}.png")
    return datasets.open_dataset(folder)


def test_a_folder_holds_images_or_sounds(tmp_path):
    assert images(tmp_path, (4, 4)).kind == "image"
    media.write_signal(tone(100), tmp_path / "voice.wav")
    with pytest.raises(DatasetError, match=r"mixes images and sounds \(as 000.png, voice.wav\)"):
        datasets.open_dataset(tmp_path)
    (tmp_path / "000.png").unlink()
    (tmp_path / "notes.txt").write_text("of no use")
    dataset = datasets.open_dataset(tmp_path)
    assert (dataset.kind, len(dataset.files)) == ("sound", 1)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"neither a folder nor an \.npz"):
        datasets.open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="neither a folder"):
        datasets.open_dataset(tmp_path / ("n" * 400))
    with pytest.raises(DatasetError, match="holds no images and no sounds"):
        datasets.open_dataset(tmp_path)
    np.savez(tmp_path / "numbers.npz", x=np.zeros(4))
    with pytest.raises(DatasetError, match="one array of images"):
        datasets.open_dataset(tmp_path / "numbers.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    with pytest.raises(DatasetError, match="cannot read"):
        datasets.open_dataset(tmp_path / "broken.npz")


def test_a_broken_file_is_named(tmp_path):
    dataset = images(tmp_path, (20, 20), (20, 20))
    (tmp_path / "000.png").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"training file .*000.png"):
        list(dataset.signals())
    media.write_signal(tone(100), tmp_path / "voice.wav")
    (tmp_path / "voice.wav").rename(tmp_path / "000.png")
    with pytest.raises(DatasetError, match="is a sound in a data set of images"):
        list(dataset.signals())


def test_an_array_is_a_data_set_too(tmp_path):
    array = np.stack([smooth_image(8, 12, seed=n).samples for n in range(4)])
    np.savez(tmp_path / "images.npz", train=array, test=array[:2], labels=np.zeros(3))
    dataset = datasets.open_dataset(tmp_path / "images.npz")
    assert [signal.shape for signal in dataset.signals()] == [(8, 12)] * 4
    assert datasets.usual_side(dataset, 256, 4) == 8


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([32] * 8, 32),
        ([300, 400, 500, 600], 256),
        ([100] + [300] * 11, 256),  # a small one among many is left out
        ([100] * 4 + [300] * 8, 96),
        ([40, 44, 50], 32),
    ],
)
def test_crops_are_as_large_as_most_images(tmp_path, sides, expected):
    dataset = images(tmp_path, *((side, side + 30) for side in sides))
    assert datasets.usual_side(dataset, 256, 16) == expected


def test_too_small_images_are_refused_with_what_to_do(tmp_path):
    dataset = images(tmp_path, (12, 90), (13, 90), (40, 40))
    with pytest.raises(DatasetError, match="smaller than 16x16 pixels, the least to learn from; take larger ones"):
        datasets.usual_side(dataset, 256, 16)
    with pytest.raises(DatasetError, match="1 images of at least 32x32 pixels; it takes two or more: give more or"):
        datasets.sample_pictures(dataset, 32, 50, 2**20, 0)


def test_images_without_a_size_are_left_to_be_refused_when_they_are_read(tmp_path):
    dataset = images(tmp_path, (32, 32), (32, 32))
    (tmp_path / "001.png").write_bytes(b"broken")
    assert datasets.usual_side(dataset, 256, 16) == 32


def test_every_twentieth_picture_is_held_out(tmp_path):
    sample = datasets.sample_pictures(images(tmp_path, *[(16, 20)] * 22), 16, 5, 2**20, 0)
    assert (len(sample.training), len(sample.held_out), sample.signals, sample.size) == (20, 2, 22, 20)
    assert np.array_equal(sample.held_out[0], smooth_image(16, 20, seed=1).samples)
    assert np.array_equal(sample.training[1], smooth_image(16, 20, seed=2).samples)


def test_pictures_have_three_channels_of_eight_bits(tmp_path):
    for number, channels in enumerate((1, 2, 3, 4)):
        media.write_signal(smooth_image(16, 16, channels), tmp_path / f"{number}.png")
    sample = datasets.sample_pictures(datasets.open_dataset(tmp_path), 16, 50, 2**20, 0)
    assert {picture.shape for picture in (*sample.training, *sample.held_out)} == {(16, 16, 3)}
    grey = sample.training[0]
    assert (grey == smooth_image(16, 16, 1).samples).all()


def test_of_more_pictures_than_there_is_room_for_some_are_drawn(tmp_path):
    dataset = images(tmp_path, *[(16, 16)] * 30)
    room = 6 * 16 * 16 * 3
    drawn = [datasets.sample_pictures(dataset, 16, 10, room, seed) for seed in (0, 0, 1)]
    assert [len(sample.training) for sample in drawn] == [6, 6, 6]
    assert np.array_equal(drawn[0].training, drawn[1].training)
    assert not np.array_equal(drawn[0].training, drawn[2].training)


def test_tiles_of_a_signal_are_all_learned_from_or_all_held_out(tmp_path):
    dataset = images(tmp_path, *[(20, 18)] * 6)
    training, held_out, signals = datasets.sample_tiles(dataset, (8, 8), 3, 1000, 20, 0)
    assert (training.shape, held_out.shape, signals) == ((20, 3, 64), (4, 3, 64), 6)
    few, one, _ = datasets.sample_tiles(dataset, (8, 8), 3, 5, 20, 0)
    assert (len(few), len(one)) == (5, 1)
    whole = {tile.tobytes() for tile in training}
    assert {tile.tobytes() for tile in few} < whole
    assert not {tile.tobytes() for tile in held_out} & whole
    with pytest.raises(DatasetError, match="holds 0 images of at least 64x64 samples"):
        datasets.sample_tiles(dataset, (64, 64), 3, 5, 20, 0)


def test_whole_signals_are_cut_to_pairs_of_tiles_and_mirrored(tmp_path):
    dataset = images(tmp_path, *[(20, 34)] * 4)
    sample = datasets.sample_signals(dataset, (8, 8), 3, 1000, 25, True)
    (training,), (held_out,) = sample.training, sample.held_out
    assert (training.shape, held_out.shape) == ((6, 3, 16, 32), (1, 3, 16, 32))
    assert np.array_equal(training[3], training[0][..., ::-1])
    with pytest.raises(DatasetError, match="of at least 32x32 samples"):
        datasets.sample_signals(dataset, (16, 16), 3, 1000, 25, True)


@pytest.fixture
def sounds(tmp_path):
    """Three sounds, two of them pairs of one channel, one of another sample rate."""
    for number, rate in enumerate((8000, 16000, 16000)):
        samples = np.repeat(tone(800, 1, rate, number).samples, 1 + (number > 0), axis=1)
        media.write_signal(Signal("sound", samples, rate, 16), tmp_path / f"{number}.wav")
    return datasets.open_dataset(tmp_path)


def test_recordings_are_brought_to_one_rate_and_prepared(sounds):
    def halved(samples):
        return samples / 2

    sample = datasets.sample_recordings(sounds, 16000, 30, 2**20, halved)
    assert (sample.signals, sample.size, sample.sample_rate) == (3, 800, 16000)
    assert sorted(recording.shape for recording in sample.training) == [(1, 1600), (2, 800)]
    (held_out,) = sample.held_out
    assert np.array_equal(held_out, np.repeat(tone(800, 1, 16000, 1).samples, 2, axis=1).T / 2)
    assert datasets.sample_recordings(sounds, None, 30, 2**20, halved).sample_rate == 8000


def test_one_recording_is_too_few(sounds):
    for path in sounds.files[1:]:
        path.unlink()
    with pytest.raises(DatasetError, match="1 sounds; it takes two"):
        datasets.sample_recordings(datasets.open_dataset(sounds.source), None, 10, 2**20, np.copy)
