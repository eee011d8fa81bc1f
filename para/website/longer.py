"""What longer training makes of a policy, beside the same training as it is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from para.errors import ResultError
from para.evaluation.result_set import StoredResult
from para.evaluation.results import success_rate
from para.figures.study import LAYOUT
from para.files import read_json
from para.statistics import Rate
from para.website.content import TEST_WORDS, Numbers

FILE = "tuning/more_steps.json"
"""In a folder of results."""


@dataclass(frozen=True)
class Longer:
    """One training of more steps than usual, evaluated on dev starts.

    Attributes:
        split: Name of the split.
        model: The policy's label.
        seed: Of the training.
        steps: Of the optimiser.
        rates: Its success by test.
        usual: The published training of the same seed; None: not run.
    """

    split: str
    model: str
    seed: int
    steps: int
    rates: Mapping[str, Rate]
    usual: StoredResult | None

    def usual_rate(self, test: str) -> Rate | None:
        """Success of the published training, on the starts that it is published on."""
        return success_rate(self.usual.data, test) if self.usual else None


def longer(numbers: Numbers, results_dir: Path) -> list[Longer]:
    """The trainings of FILE, in its order; none where there is no such file."""
    path = results_dir / FILE
    if not path.exists():
        return []
    here = numbers.laid(LAYOUT)
    found = []
    for tried in read_json(path, ResultError)["tries"]:
        told = tried["split"], tried["model"], tried["seed"]
        runs = here.select(*told[:2])
        rates = {
            test: Rate(tried[test]["successes"], tried[test]["n"]) for test in TEST_WORDS.values()
        }
        usual = next((run for run in runs if run.seed == tried["seed"]), None)
        found.append(Longer(*told, tried["steps"], rates, usual))
    return found
