"""A table of the words that demos were made with, by their place in the sentence.

A table of whole sentences could say nothing about a sentence that it has not heard. Of words, known
ones are understood in a new combination: after "put the red bowl on the blue plate" and "put the
green bowl on the black plate" also "put the red bowl on the black plate".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from para.errors import UnknownNameError
from para.text.base import TEXTS, Text, TextConfig

Place = tuple[int, str]
"""A word and its place in the sentence."""


@dataclass
class TableConfig(TextConfig):
    """configs/text/table.yaml"""

    kind: str = "table"


@TEXTS.register("table", TableConfig)
class Table(Text):
    """One number per word and place that not all known instructions share: 1 where it is said.

    An instruction is known if each pair of neighbouring words was heard at that place in one of the
    known ones, its ends among them. A linear layer on the features is an embedding per word.
    """

    def __init__(self, cfg: TableConfig):
        super().__init__(cfg)
        heard = [set(_places(instruction)) for instruction in cfg.instructions]
        shared = set.intersection(*heard) if heard else set()
        self._columns = {
            place: column for column, place in enumerate(sorted(set().union(*heard) - shared))
        }
        self._pairs = {pair for known in cfg.instructions for pair in pairwise(_places(known))}
        self.channels = len(self._columns)

    def features(self, instructions: Sequence[str]) -> Tensor:
        """See `Text`."""
        rows = torch.zeros(len(instructions), self.channels)
        for row, instruction in zip(rows, instructions, strict=True):
            places = _places(instruction)
            if not set(pairwise(places)) <= self._pairs:
                raise UnknownNameError("instruction", instruction, self.cfg.instructions)
            for place in places:
                if place in self._columns:
                    row[self._columns[place]] = 1
        return rows


def _places(instruction: str) -> list[Place]:
    """Words with their places, and an empty one at each end."""
    return list(enumerate(["", *instruction.lower().split(), ""]))
