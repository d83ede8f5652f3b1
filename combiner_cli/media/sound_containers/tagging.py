"""Tags and pictures of sound files: which there are, and which a format holds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from ...container.metadata import MOST_ENTRIES, WORDS, Metadata
from ...container.metadata import pictures as split_pictures
from . import chunks, headers, id3, ogg, vorbis_comments
from .tags import Tags, decoded

Note = Callable[[str], None]

_APE_TAG, _LYRICS_TAG = b"APETAGEX", b"LYRICS200"  # other tags at the end of an MP3 file
_AU_HEADER = 24  # bytes before the annotation
_END_OF_MP3 = 2**16  # bytes at the end in which they are looked for


def read(tag: bytes, data: bytes, path: Path, note: Note) -> Metadata:
    """What a sound file says besides its samples.

    Args:
        tag: of ID3, that is before the file, as with MP3; or nothing.
        data: the content behind it.
        path: of the file, for messages.
        note: told in one line which kinds are left out.
    """
    try:
        tags = _found(data)
        if tag:
            tags.fill_up(id3.read(tag))
        elif not tags.texts:  # version 1 has the same cut off
            tags.fill_up(id3.read_version_1(data))
    except (LookupError, ValueError, struct.error) as error:
        note(f"{path} has tags that cannot be read ({error}); they are left out")
        return Metadata()
    if len(tags.texts) > MOST_ENTRIES:
        tags.left_out.append("tags of too many names")
    if tags.left_out:
        note(f"{path} has metadata that are not kept; left out: {', '.join(dict.fromkeys(tags.left_out))}")
    return Metadata(tags=dict(list(tags.texts.items())[:MOST_ENTRIES]), pictures=b"".join(tags.pictures))


def _found(data: bytes) -> Tags:
    kind = data[8:12]
    if data[:4] == headers.FLAC:
        return vorbis_comments.read_flac(data)
    if data[:4] == ogg.MAGIC:
        first, *others = [vorbis_comments.read_ogg(link) for link in ogg.links(data)]
        if any(stream.texts != first.texts or stream.pictures != first.pictures for stream in others):
            first.left_out.append("tags of all streams but the first")
        return first
    if data[:4] in (b"RIFF", b"RIFX", b"RF64") and kind == b"WAVE":
        return chunks.read_wave(data)
    if data[:4] == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return chunks.read_aiff(data)
    if data[:4] == b"caff":
        return chunks.read_caf(data)
    if data[:4] == b".snd":
        annotated = Tags()
        start = int.from_bytes(data[4:8], "big")
        annotated.add("comment", decoded(data[_AU_HEADER:start].partition(b"\0")[0]))
        return annotated
    tags, end = Tags(), data[-_END_OF_MP3:]
    if data[:1] == b"\xff" and (_APE_TAG in end or _LYRICS_TAG in end):
        tags.left_out.append("APE or Lyrics3 tags")
    return tags


_WRITERS: dict[str, Callable[[bytes, Mapping[str, str], list[bytes]], tuple[bytes, list[str]]]] = {
    ".aif": chunks.written_to_aiff,
    ".aiff": chunks.written_to_aiff,
    ".caf": chunks.written_to_caf,
    ".flac": vorbis_comments.written_to_flac,
    ".oga": vorbis_comments.written_to_ogg,
    ".ogg": vorbis_comments.written_to_ogg,
    ".opus": vorbis_comments.written_to_ogg,
    ".wav": chunks.written_to_wave,
}


def written(content: bytes, suffix: str, metadata: Metadata, note: Note) -> bytes:
    """The content of a sound file with metadata, as far as its format holds them.

    Args:
        content: without them.
        suffix: that stands for the format.
        metadata: that may be hostile.
        note: told in one line which kinds are left out.
    """
    left_out = [WORDS.get(name, "what this program does not know") for name in metadata.parts()]
    left_out = [words for words in left_out if words not in (WORDS["tags"], WORDS["pictures"])]
    texts = {name: text for name, text in metadata.tags.items() if name and text.strip("\0")}
    pictures = split_pictures(metadata.pictures)
    if texts or pictures:
        if suffix in _WRITERS:
            content, kinds = _WRITERS[suffix](content, texts, pictures)
        elif suffix == ".mp3":
            tag, kinds = id3.written(texts, pictures)
            content = tag + content
        else:
            kinds = [WORDS[name] for name, part in (("tags", texts), ("pictures", pictures)) if part]
        left_out += kinds
    if left_out:
        kinds = list(dict.fromkeys(left_out))
        note(f"a {suffix} file cannot hold all of the metadata; left out: {', '.join(kinds)}")
    return content
