"""Messages name what exists, and stay readable however much that is."""

from __future__ import annotations

from para.errors import MOST_LISTED, UnknownNameError, one_line


def test_what_exists_is_named_and_the_nearest_first():
    message = str(UnknownNameError("split", "lrr", ["nf", "lr"]))
    assert message == "Unknown split 'lrr'. Did you mean 'lr'? Available: lr, nf."


def test_a_long_list_and_a_long_name_are_shortened():
    names = [f"model_{i:04d}" for i in range(1300)]
    message = str(UnknownNameError("timm model", "x" * 5000, names))
    assert len(message) < 1000
    assert f"model_0039 and {len(names) - MOST_LISTED} more." in message
    assert "model_0700" in str(UnknownNameError("timm model", "model_07000", names))


def test_what_is_too_long_keeps_both_ends():
    """Of a path the end tells most, and of a sentence the beginning."""
    path = f"/home/me/{'a_long_name/' * 20}policy.json"
    told = one_line(path)
    assert len(told) == 100
    assert told.startswith("/home/me/a_long_name/")
    assert told.endswith("/policy.json")
    assert one_line("x" * 100) == "x" * 100
    assert one_line("two\nlines ") == "two lines"
