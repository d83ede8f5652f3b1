"""Where priors are found."""

import pytest
from support.priors import tiny_siren

from combiner_cli.errors import InputError, PriorError
from combiner_cli.priors import library, store


def test_find_by_name_file_and_id(prior_folder):
    prior = library.find("tiny-image")
    assert library.find(str(prior_folder / "tiny-image.safetensors")).id == prior.id
    assert library.find_id(prior.id).id == prior.id


def test_missing_priors_are_named(prior_folder):
    with pytest.raises(PriorError, match=r"no prior is called nothing; known: .*tiny-image"):
        library.find("nothing")
    with pytest.raises(PriorError, match="id 00000007"):
        library.find_id(7)
    with pytest.raises(InputError, match="cannot read prior"):
        library.find(str(prior_folder / "none.safetensors"))


def test_a_stray_file_among_the_priors_does_no_harm(prior_folder):
    (prior_folder / "a-stray.safetensors").write_bytes(b"nonsense")
    (prior_folder / "b-folder.safetensors").mkdir()
    (prior_folder / "c-link.safetensors").symlink_to(prior_folder / "nowhere")
    assert library.find_id(tiny_siren("sound").id).kind == "sound"


def test_priors_are_listed_as_far_as_their_files_say(prior_folder):
    (prior_folder / "a-stray.safetensors").write_bytes(b"nonsense")
    entries = {entry.name: entry for entry in library.entries()}
    assert "a-stray" not in entries
    tiny, shipped = entries["tiny-image"], entries["photo-8"]
    assert (tiny.family, tiny.kind, tiny.origin) == ("siren", "image", "path")
    assert tiny.id == f"{tiny_siren().id:08x}" and tiny.rates == (tiny_siren().bits_per_point,)
    assert (shipped.family, shipped.kind, shipped.origin) == ("pyramid", "image", "shipped")
    assert shipped.rates[0] < shipped.rates[1] and shipped.bytes == shipped.path.stat().st_size


def test_an_id_that_a_file_only_states_is_not_believed(prior_folder):
    stated = tiny_siren(bits=3.0)
    path = prior_folder / "liar.safetensors"
    store.save(tiny_siren(), path)
    content = path.read_bytes().replace(f"{tiny_siren().id:08x}".encode(), f"{stated.id:08x}".encode())
    path.write_bytes(content)
    with pytest.raises(PriorError, match=f"id {stated.id:08x}"):
        library.find_id(stated.id)


def test_what_comes_with_the_program_is_told_from_what_does_not(prior_folder):
    assert library.is_shipped(library.find("photo-8"))
    assert not library.is_shipped(tiny_siren())


def test_shipped_priors_load_and_have_cards():
    paths = library.shipped()
    assert paths
    assert sum(path.stat().st_size for path in paths) < 50 * 2**20
    for path in paths:
        card = path.with_suffix(".md").read_text()
        assert card.startswith(f"# {path.stem}\n")
        assert f"{store.load(path).id:08x}" in card
