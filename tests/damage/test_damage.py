"""A sample of `python benchmarks/damage.py`: damaged files of every kind, read, and counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import damage
from para.errors import DataError
from para.files import seal
from tests.damage.alterations import Alteration, of_values
from tests.damage.campaign import BAD, Campaign, Case, counts
from tests.damage.kinds import KINDS, Kind

SAMPLE = 12
"""Cut and altered files per kind, besides all that can lie in the place of a file."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_files_are_named_or_repaired(kind, tmp_path):
    campaign = Campaign(kind, tmp_path)
    of_place = [a for a in campaign.alterations if a.name in PLACES]
    others = [a for a in campaign.alterations if a.name not in PLACES]
    assert len(of_place) == len(PLACES)
    chosen = np.random.default_rng(0).choice(len(others), min(SAMPLE, len(others)), replace=False)
    cases = [campaign.run(a) for a in [*of_place, *(others[i] for i in chosen)]]
    assert [case for case in cases if case.outcome in BAD] == []
    assert sum(case.outcome in ("refused", "repaired") for case in cases) > 0.8 * len(cases)


PLACES = (
    *("missing", "folder", "named pipe", "socket", "dangling link", "link to itself"),
    *("endless device", "empty device", "empty file", "oversized file", "zeros", "a picture"),
    *("endless brackets", "endless objects"),
)


def test_a_reader_that_believes_everything_is_found_out(tmp_path):
    """The campaign itself: each outcome occurs where it should."""
    said = {
        "1": lambda: 1,
        "refused": lambda: _raise(DataError("a.json is damaged.")),
        "unclear": lambda: _raise(DataError("Something is damaged.")),
        "traceback": lambda: {}["a key"],
        "swallowed": lambda: {},
        "accepted": lambda: {"a": 2},
        "unchanged": lambda: {"a": 1},
    }

    def make(folder):
        (folder / "a.json").write_text('{"a": 1}')
        return folder / "a.json"

    def read(folder):
        text = (folder / "a.json").read_text()
        return json.loads(text) if text.startswith("{") else said[text]()

    campaign = Campaign(Kind("made up", make, read), tmp_path)
    for outcome in list(said)[1:]:
        alteration = Alteration(outcome, False, lambda path, o=outcome: path.write_text(o))
        assert campaign.run(alteration).outcome == outcome
    case = Case("made up", "a missing", False, "swallowed", "")
    assert counts([case])["swallowed"] == 1
    damage.show([case])


def _raise(error):
    raise error


def test_every_key_is_altered_with_and_without_a_checksum_that_fits():
    content = seal({"steps": 3, "condition": {"position": [0.5, 1.5]}, "start": None})
    made = list(of_values(content, sealed=True))
    keys = {name.rpartition(" ")[0] for name, _, _ in made}
    assert {"steps", "condition", "condition.position", "condition.position.0", "start"} < keys
    assert ("steps NaN", False) in {(name, forged) for name, forged, _ in made}
    for name, forged, text in made:
        if forged:
            value = json.loads(text)
            checksum = value.pop("checksum")
            assert checksum == seal(value)["checksum"], name
