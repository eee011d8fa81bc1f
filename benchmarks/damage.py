"""What becomes of damaged files: `python benchmarks/damage.py [results_dir=results]`.

Every kind of file that PARA writes and reads again is damaged systematically: something else lies
in its place, it is cut short, bits are flipped, and every key in it is missing or of another type,
with its checksum as it was and with one that fits. Each is read through its public reader. Goal:
no traceback, nothing swallowed, nothing accepted. Takes minutes; a sample of it is a test
(tests/damage/test_damage.py). Writes <results_dir>/benchmarks/damage.json.
"""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.progress import track
from rich.table import Table

from para.cli import load_config, plainly
from para.common import CommonConfig
from para.files import atomic_write_json
from para.system import provenance
from tests.damage.campaign import BAD, OUTCOMES, Campaign, Case, counts
from tests.damage.kinds import KINDS

SEED = 0


def main() -> None:
    """Damage, read, count, write."""
    cfg = load_config(CommonConfig, sys.argv[1:])
    cases: list[Case] = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            campaign = Campaign(kind, Path(folder), SEED)
            alterations = track(
                campaign.alterations, kind.name, console=Console(stderr=True), transient=True
            )
            cases += [campaign.run(alteration) for alteration in alterations]
    show(cases)
    rows = {kind.name: counts([c for c in cases if c.kind == kind.name]) for kind in KINDS}
    path = f"{cfg.results_dir}/benchmarks/damage.json"
    result = {
        **provenance("benchmarks/damage.py", sys.argv[1:]),
        "seed": SEED,
        "n": len(cases),
        "outcomes": OUTCOMES,
        "kinds": rows,
        "total": counts(cases),
        "bad": [asdict(case) for case in cases if case.outcome in BAD],
    }
    atomic_write_json(path, result)
    print(path)


def show(cases: list[Case]) -> None:
    """A table of outcomes by kind, and every case that is bad."""
    good = [outcome for outcome in OUTCOMES if outcome not in BAD]
    table = Table("kind", "n", *good, "bad", box=None)
    for name in [*(kind.name for kind in KINDS), "all"]:
        chosen = [case for case in cases if name in (case.kind, "all")]
        found = counts(chosen)
        bad = sum(found[outcome] for outcome in BAD)
        table.add_row(name, str(len(chosen)), *(str(found[each]) for each in good), str(bad))
    Console().print(table)
    for case in cases:
        if case.outcome in BAD:
            forged = ", checksum fits" if case.forged else ""
            print(f"{case.outcome}: {case.kind}: {case.alteration}{forged}: {case.words[:200]}")


if __name__ == "__main__":
    plainly(main)
