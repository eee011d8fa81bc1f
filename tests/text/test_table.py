"""Words of instructions: known ones in a new combination are understood, others are refused."""

from __future__ import annotations

import pytest
import torch

from para.errors import UnknownNameError
from para.text import TEXTS, build_text
from para.text.table import Table, TableConfig

HEARD = [
    "put the red bowl on the blue plate",
    "put the green bowl on the blue plate",
    "put the green bowl on the black plate",
]


def _table(*instructions: str) -> Table:
    return Table(TableConfig("table", instructions=list(instructions)))


def test_an_unheard_pair_is_what_its_words_are_in_heard_ones():
    table = _table(*HEARD)
    assert table.channels == 4  # two bowls, two plates; the other words say nothing
    red_blue, green_blue, green_black = table.features(HEARD)
    (red_black,) = table.features(["Put the red bowl on the black plate"])
    assert torch.equal(red_black, red_blue - green_blue + green_black)
    assert (table.features(HEARD).sum(1) == 2).all()


@pytest.mark.parametrize(
    "instruction",
    [
        "put the purple bowl on the blue plate",
        "put the blue bowl on the red plate",  # known words, never heard in these places
        "put the red bowl on the blue",
        "",
    ],
)
def test_what_was_not_heard_is_refused_and_what_was_is_named(instruction):
    with pytest.raises(UnknownNameError, match="put the green bowl on the black plate"):
        _table(*HEARD).features([HEARD[0], instruction])


def test_sentences_of_several_tasks_do_not_mix():
    table = _table("put the bowl on the plate", "put the small block on the large block")
    assert len(set(map(tuple, table.features(table.cfg.instructions).tolist()))) == 2
    with pytest.raises(UnknownNameError):
        table.features(["put the small plate"])


def test_one_instruction_says_nothing():
    assert _table("put the bowl on the plate").channels == 0
    assert build_text(None) is None
    assert build_text(TEXTS.load("none")) is None
