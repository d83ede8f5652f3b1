"""Messages are one line, whatever is in the names of files."""

import pickle

import pytest

from combiner_cli.errors import CombinerError, InputError, one_line


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("photo.png", "photo.png"),
        ("Süß 日本 🎉.png", "Süß 日本 🎉.png"),
        ("family 👨‍👩‍👧.png", "family 👨‍👩‍👧.png"),
        ("a b\u00a0c", "a b\u00a0c"),
        ("a\nb", r"a\nb"),
        ("a\r\tb\0", r"a\r\tb\x00"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("gnp.\u202etxt", r"gnp.\u202etxt"),
        ("\udcff\udc80", r"\xff\x80"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_would_break_a_line_is_escaped(words, shown):
    assert one_line(words) == shown
    assert one_line(shown) == shown
    assert str(InputError(words)) == shown


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(InputError("a\nb")))
    assert isinstance(error, CombinerError)
    assert (str(error), error.exit_code) == (r"a\nb", 3)
