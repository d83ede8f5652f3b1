"""Tags and pictures of sounds through files of every format and back, and hostile ones that do no harm."""

from __future__ import annotations

import base64
import io
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from conftest import tone
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.container import metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.media import files as media
from combiner_cli.media.sound_containers import ogg, tags, vorbis_comments

TAGS = {
    "title": "Tïtle 漢",
    "artist": "One\0Two",
    "album": "Album",
    "albumartist": "Various",
    "date": "2020",
    "comment": "a remark",
    "genre": "Jazz",
    "tracknumber": "7/12",
    "discnumber": "2",
    "isrc": "XX1234567890",
    "replaygain_track_gain": "-7.5 dB",
    "copyright": "somebody",
    "software": "Some tool",
    "license": "CC0",
    "lyrics": "la\nla",
}
COVER = tags.picture(3, "image/jpeg", "Frönt", b"\xff\xd8 a cover \xff\xd9" * 9000)
BACK = tags.picture(4, "image/png", "", b"\x89PNG")
GIVEN = Metadata(tags=TAGS, pictures=COVER + BACK)
SOUND = replace(tone(3000), sample_rate=48000)


def tagged(tags_, suffix=".flac"):
    return media.signal_bytes(tone(3000), suffix, Metadata(tags=tags_))


def read(content):
    """The metadata of a file, and what is told about them."""
    notes = []
    return media.read_with_metadata(content, Path("input"), notes.append)[1], notes


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".oga", ".opus", ".mp3", ".wav", ".aif", ".aiff"])
@pytest.mark.parametrize("channels", [1, 2])
def test_tags_and_pictures_of_sounds_survive(suffix, channels):
    signal = replace(tone(3000, channels), sample_rate=48000)
    content = media.signal_bytes(signal, suffix, GIVEN, pytest.fail)
    again, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert dict(found.tags) == TAGS
    assert found.pictures == GIVEN.pictures
    assert metadata.unpack(metadata.pack(found)) == found
    plain = media.read_signal_bytes(media.signal_bytes(signal, suffix), Path("input"))
    assert (again.samples == plain.samples).all()
    stripped = media.signal_bytes(signal, suffix, GIVEN, pytest.fail, strip=True)
    assert not media.read_with_metadata(stripped, Path("input"), pytest.fail)[1]
    info = soundfile.SoundFile(io.BytesIO(content)).copy_metadata()
    if suffix not in (".aif", ".aiff"):
        assert (info["title"], info["album"], info["date"]) == ("Tïtle 漢", "Album", "2020")


def test_caf_holds_single_texts():
    notes = []
    content = media.signal_bytes(SOUND, ".caf", GIVEN, notes.append)
    kinds = "pictures, tags of several texts"
    assert notes == [f"a .caf file cannot hold all of the metadata; left out: {kinds}"]
    found, notes = read(content)
    assert notes == []
    assert dict(found.tags) == {name: text for name, text in TAGS.items() if "\0" not in text}
    assert soundfile.SoundFile(io.BytesIO(content)).copy_metadata()["title"] == "Tïtle 漢"


def test_au_holds_no_tags_but_its_annotation_is_read():
    notes = []
    content = media.signal_bytes(SOUND, ".au", GIVEN, notes.append)
    assert content == media.signal_bytes(SOUND, ".au")
    assert notes == ["a .au file cannot hold all of the metadata; left out: tags, pictures"]
    annotated = content[:4] + struct.pack(">I", 32) + content[8:24] + b"hello\0\0\0" + content[24:]
    assert read(annotated) == (Metadata(tags={"comment": "hello"}), [])


def test_wave_keeps_what_it_can_in_a_list_that_every_program_reads():
    simple = {"title": "a", "artist": "b", "comment": "c", "tracknumber": "3"}
    content = media.signal_bytes(SOUND, ".wav", Metadata(tags=simple), pytest.fail)
    assert b"id3 " not in content
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert soundfile.SoundFile(io.BytesIO(content)).copy_metadata() == simple
    assert read(content) == (Metadata(tags=simple), [])


# ---- what other programs write ---------------------------------------------------------------------------------------


def flac_with(*blocks):
    """A FLAC file with more blocks behind the first one, of which kinds and contents are given."""
    content = media.signal_bytes(SOUND, ".flac")
    added = b"".join(bytes([kind]) + len(block).to_bytes(3, "big") + block for kind, block in blocks)
    return content[:42] + added + content[42:]


def test_other_blocks_of_flac_are_named():
    sheet = bytes(395) + b"\1" + struct.pack(">QB", 3000, 255) + bytes(27)
    _, notes = read(flac_with((2, b"riff" + bytes(8)), (5, sheet), (6, COVER)))
    kinds = "FLAC application block, FLAC cue sheet"
    assert notes == [f"input has metadata that are not kept; left out: {kinds}"]
    found, notes = read(id3(4, (b"TIT2", b"\3a"), (b"TCOM", b"\3b")) + tagged({"title": "c"}))
    assert (dict(found.tags), notes) == ({"title": "c", "composer": "b"}, [])


def test_names_of_vorbis_comments_are_in_any_case_and_the_encoder_is_not_kept():
    comments = [b"Title=a", b"TITLE=b", b"title=a", b"ENCODER=some", b"empty=", b"nothing", b"x=caf\xe9"]
    block = struct.pack("<II", 0, len(comments)) + b"".join(struct.pack("<I", len(one)) + one for one in comments)
    content = flac_with((4, block))
    assert read(content) == (Metadata(tags={"title": "a\0b", "x": "café"}), [])


def test_flac_in_ogg():
    plain = media.signal_bytes(SOUND, ".flac", Metadata(tags={"title": "a"}))
    blocks, place = [], 4
    while (plain[place - 4 :] and not blocks) or not blocks[-1][0] & 0x80:
        length = int.from_bytes(plain[place + 1 : place + 4], "big")
        blocks.append(plain[place : place + 4 + length])
        place += 4 + length
    first = b"\x7fFLAC\1\0" + struct.pack(">H", len(blocks) - 1) + b"fLaC" + blocks[0]
    pages = ogg._written([first], 7, 0) + ogg._written(blocks[1:], 7, 1)
    content = b"".join(ogg._packed(page) for page in pages)
    assert vorbis_comments.read_ogg(content).texts == {"title": "a"}


def id3(version, *frames, flags=0, extended=b""):
    """A tag of ID3, of which names and contents of frames are given."""
    content = extended
    for name, frame in frames:
        if version == 2:
            content += name + len(frame).to_bytes(3, "big") + frame
        else:
            digits = digits_of(len(frame)) if version == 4 else struct.pack(">I", len(frame))
            content += name + digits + bytes(2) + frame
    if flags & 0x80 and version < 4:
        content = content.replace(b"\xff", b"\xff\0")
    content += bytes(20)
    return b"ID3" + bytes([version, 0, flags]) + digits_of(len(content)) + content


def digits_of(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


MP3 = media.signal_bytes(SOUND, ".mp3")
OTHERS = (b"TPE2", b"\0Various"), (b"TPE1", b"\0One\0Two")
WIDE = b"\xff\xfe" + "Tïtle 漢".encode("utf-16-le")


@pytest.mark.parametrize(
    "tag",
    [
        id3(
            4,
            (b"TIT2", b"\3" + "Tïtle 漢".encode()),
            (b"TPE2", b"\0Various"),
            (b"TPE1", b"\3One\0Two"),
            (b"TDRC", b"\x002020"),
        ),
        id3(3, (b"TIT2", b"\1" + WIDE), (b"TPE2", b"\0Various\0"), (b"TPE1", b"\0One\0Two"), (b"TYER", b"\x002020")),
        id3(
            3,
            (b"TIT2", b"\1" + WIDE),
            (b"TPE2", b"\0Various"),
            (b"TPE1", b"\0One\0Two"),
            (b"TYER", b"\x002020"),
            flags=0x80,
        ),
        id3(2, (b"TT2", b"\1" + WIDE), (b"TP2", b"\0Various"), (b"TP1", b"\0One\0Two"), (b"TYE", b"\x002020")),
        id3(
            3,
            *((b"TIT2", b"\1" + WIDE), *OTHERS, (b"TYER", b"\x002020")),
            flags=0x40,
            extended=struct.pack(">IHI", 6, 0, 0),
        ),
    ],
    ids=["2.4", "2.3", "2.3 unsynchronised", "2.2", "2.3 extended"],
)
def test_all_versions_of_id3_are_read(tag):
    wanted = {"title": "Tïtle 漢", "albumartist": "Various", "artist": "One\0Two", "date": "2020"}
    assert read(tag + MP3) == (Metadata(tags=wanted), [])


def test_frames_of_id3():
    frames = [
        (b"TXXX", b"\3REPLAYGAIN_TRACK_GAIN\0-7.5 dB"),
        (b"TXXX", b"\1" + "Mood".encode("utf-16") + b"\0\0" + "calm".encode("utf-16")),
        (b"COMM", b"\0engiTunNORM\0 000002"),
        (b"COMM", b"\3eng\0a remark"),
        (b"COMM", b"\3engplace\0there"),
        (b"USLT", b"\1eng\xff\xfe\0\0" + "la".encode("utf-16")),
        (b"APIC", b"\1image/jpeg\0\3" + "Frönt".encode("utf-16") + b"\0\0" + b"\xff\xd8\xff\xd9"),
        (b"TSSE", b"\3LAME"),
        (b"TLEN", b"\x0099"),
        (b"PRIV", b"owner\0data"),
        (b"POPM", b"a@b\0\xff"),
    ]
    found, notes = read(id3(3, *frames) + MP3)
    assert dict(found.tags) == {
        "replaygain_track_gain": "-7.5 dB",
        "mood": "calm",
        "comment": "a remark",
        "comment:place": "there",
        "lyrics": "la",
    }
    assert found.pictures == tags.picture(3, "image/jpeg", "Frönt", b"\xff\xd8\xff\xd9")
    assert notes == ["input has metadata that are not kept; left out: ID3 frame PRIV, ID3 frame POPM"]
    again, notes = read(media.signal_bytes(SOUND, ".mp3", found, pytest.fail))
    assert (again, notes) == (found, [])
    older = id3(2, (b"PIC", b"\0PNG\4\0\x89PNG"), (b"COM", b"\0eng\0hello"), (b"ULT", b"\0eng\0la")) + MP3
    assert read(older) == (Metadata(tags={"comment": "hello", "lyrics": "la"}, pictures=BACK), [])


def test_id3_of_version_1_is_read_where_there_is_no_other():
    field = lambda text, length: text.ljust(length, b"\0")  # noqa: E731
    fields = [(b"Title", 30), (b"Artist", 30), (b"Album", 30), (b"1999", 4), (b"hello", 28), (b"\0\7\x11", 3)]
    tag = b"TAG" + b"".join(field(text, length) for text, length in fields)
    wanted = {"title": "Title", "artist": "Artist", "album": "Album", "date": "1999", "comment": "hello"}
    found, _ = read(MP3 + tag)
    assert dict(found.tags) == {**wanted, "tracknumber": "7"}
    found, _ = read(id3(4, (b"TIT2", b"\3Another")) + MP3 + tag)
    assert dict(found.tags) == {"title": "Another"}
    _, notes = read(MP3 + b"APETAGEX" + bytes(24))
    assert any("APE or Lyrics3 tags" in note for note in notes)


def riff(*chunks):
    content = media.signal_bytes(SOUND, ".wav")
    content += b"".join(name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for name, part in chunks)
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def test_chunks_of_wave_files():
    listed = b"INFO" + b"".join(
        name + struct.pack("<I", len(text)) + text + bytes(len(text) % 2)
        for name, text in [(b"INAM", b"caf\xe9\0"), (b"IENG", b"somebody"), (b"IABC", b"else\0"), (b"ISRC", b"tape\0")]
    )
    tag = id3(3, (b"TIT2", b"\0Another"), (b"TSRC", b"\0XX1234567890"))
    found, notes = read(riff((b"bext", bytes(602)), (b"cue ", bytes(4)), (b"LIST", b"adtl"), (b"LIST", listed)))
    assert dict(found.tags) == {"title": "café", "engineer": "somebody", "iabc": "else", "source": "tape"}
    assert notes == ["input has metadata that are not kept; left out: WAV chunk bext, WAV chunk cue, WAV list adtl"]
    found, notes = read(riff((b"LIST", listed), (b"id3 ", tag)))
    assert found.tags["title"] == "Another"
    assert (found.tags["isrc"], found.tags["source"]) == ("XX1234567890", "tape")
    assert notes == []


def test_chunks_of_aiff_files():
    content = media.signal_bytes(SOUND, ".aiff")
    texts = [(b"NAME", b"Title"), (b"AUTH", b"One"), (b"ANNO", b"hello"), (b"ANNO", b"more"), (b"MARK", bytes(2))]
    added = b"".join(name + struct.pack(">I", len(part)) + part + bytes(len(part) % 2) for name, part in texts)
    content = content[:4] + struct.pack(">I", len(content) + len(added) - 8) + content[8:] + added
    found, notes = read(content)
    assert dict(found.tags) == {"title": "Title", "artist": "One", "comment": "hello\0more"}
    assert notes == ["input has metadata that are not kept; left out: AIFF chunk MARK"]


def test_tags_of_the_first_stream_of_a_chain_are_kept():
    first, second = (media.signal_bytes(SOUND, ".ogg", Metadata(tags={"title": text})) for text in "ab")
    assert read(first + first) == (Metadata(tags={"title": "a"}), [])
    found, notes = read(first + second)
    assert found.tags == {"title": "a"}
    assert notes == ["input has metadata that are not kept; left out: tags of all streams but the first"]


def test_damaged_tags_are_left_out_with_a_note():
    content = flac_with((4, struct.pack("<II", 0, 9)))
    found, notes = read(content)
    assert not found
    (note,) = notes
    assert note.startswith("input has tags that cannot be read (")
    found, notes = read(id3(4, (b"TIT2", b"\x09what")) + MP3)
    assert not found
    assert notes == ["input has tags that cannot be read (the encoding of a text is unknown); they are left out"]


def test_more_names_than_a_file_may_have_are_left_out():
    comments = [f"k{number}=x".encode() for number in range(300)]
    block = struct.pack("<II", 0, 300) + b"".join(struct.pack("<I", len(one)) + one for one in comments)
    found, notes = read(flac_with((4, block)))
    assert len(found.tags) == 256
    assert notes == ["input has metadata that are not kept; left out: tags of too many names"]


# ---- hostile ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [("artist", "before\ufffeafter"), ("artist", "\uffff"), ("software", "é" * 64), ("software", "x" + "漢" * 50)],
)
@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".wav", ".mp3"])
def test_texts_that_libsndfile_would_stumble_over(name, text, suffix):
    """libsndfile 1.2 frees memory twice when it writes such tags to a FLAC file, which it is not given."""
    given_ = {"title": "short", name: text}
    assert read(tagged(given_, suffix)) == (Metadata(tags=given_), [])


def test_pictures_and_tags_that_are_too_large_do_not_take_others_with_them():
    large = tags.picture(3, "image/png", "", bytes(2**24))
    notes = []
    content = media.signal_bytes(SOUND, ".flac", Metadata(tags={"title": "a"}, pictures=large + BACK), notes.append)
    assert read(content) == (Metadata(tags={"title": "a"}, pictures=BACK), [])
    assert notes == ["a .flac file cannot hold all of the metadata; left out: picture (too large)"]
    notes = []
    content = media.signal_bytes(SOUND, ".flac", Metadata(tags={"title": "a" * 2**24}, pictures=BACK), notes.append)
    assert read(content) == (Metadata(pictures=BACK), [])
    assert notes == ["a .flac file cannot hold all of the metadata; left out: tags (too many)"]


@pytest.mark.parametrize(
    "content", [bytes(31), struct.pack(">II", 3, 2**31), struct.pack(">III", 3, 0, 99) + bytes(30), COVER + b"\0"]
)
def test_pictures_that_make_no_sense_are_damage(content):
    with pytest.raises(ValueError, match="a picture is"):
        metadata.pictures(content)


def test_parts_of_images_are_named_as_left_out():
    notes = []
    given_ = Metadata(exif=b"x", icc=b"x", xmp=b"x", tags={"title": "a"}, unknown={"later": b"x"})
    content = media.signal_bytes(SOUND, ".wav", given_, notes.append)
    kinds = "EXIF, colour profile, XMP, what this program does not know"
    assert notes == [f"a .wav file cannot hold all of the metadata; left out: {kinds}"]
    assert read(content)[0] == Metadata(tags={"title": "a"})


PICTURES = st.lists(
    st.builds(
        tags.picture, st.integers(0, 2**32 - 1), st.text(max_size=9), st.text(max_size=9), st.binary(max_size=20)
    ),
    max_size=2,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*TAGS, "comment:x", "x"]) | st.text(max_size=6), st.text(max_size=30), max_size=4),
    PICTURES,
    st.sampled_from([".wav", ".aiff", ".flac", ".ogg", ".opus", ".mp3", ".caf", ".au"]),
)
def test_hostile_tags_do_no_harm(texts, pictures, suffix):
    notes = []
    signal = replace(tone(200), sample_rate=48000)
    plain = media.read_signal_bytes(media.signal_bytes(signal, suffix), Path("input"))
    content = media.signal_bytes(signal, suffix, Metadata(tags=texts, pictures=b"".join(pictures)), notes.append)
    again, _ = media.read_with_metadata(content, Path("input"), notes.append)
    assert again.shape == plain.shape
    assert all(note and "\n" not in note for note in notes)


NAMES = st.sampled_from([*TAGS, "x", "my_own"])


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        NAMES, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), min_size=1)
    ),
    st.sampled_from([".wav", ".aiff", ".flac", ".ogg", ".opus", ".mp3", ".caf"]),
)
def test_tags_come_back(texts, suffix):
    content = media.signal_bytes(replace(tone(200), sample_rate=48000), suffix, Metadata(tags=texts), pytest.fail)
    found = media.read_with_metadata(content, Path("input"), pytest.fail)[1]
    assert dict(found.tags) == texts


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 510, 255 * 255 - 1, 255 * 255, 255 * 256, 200_000])
def test_packets_of_any_size_are_written_and_read(size):
    content = media.signal_bytes(SOUND, ".ogg")
    packets, _ = ogg.head_packets(content, 3)
    changed = ogg.with_head_packets(content, [packets[0], b"x" * size, packets[2]])
    assert ogg.head_packets(changed, 3)[0] == [packets[0], b"x" * size, packets[2]]
    assert ogg.is_whole(changed)
    assert [page.sequence for page in ogg.pages(changed)] == list(range(len(list(ogg.pages(changed)))))
    assert ogg.with_head_packets(content, packets) == content  # checksums too, as libsndfile makes them


def test_pictures_of_vorbis_comments_that_are_damaged_are_named():
    block = base64.b64encode(COVER[:50])
    comment = b"METADATA_BLOCK_PICTURE=" + block
    content = flac_with((4, struct.pack("<II", 0, 1) + struct.pack("<I", len(comment)) + comment))
    assert read(content)[1] == ["input has metadata that are not kept; left out: damaged picture"]
    comment = b"METADATA_BLOCK_PICTURE=!"
    content = flac_with((4, struct.pack("<II", 0, 1) + struct.pack("<I", len(comment)) + comment))
    assert read(content)[1] == ["input has metadata that are not kept; left out: damaged picture"]
