"""Choose the learning rate of every policy from the same three: `python benchmarks/tuning.py`.

    python benchmarks/tuning.py models=[para,regression,act] splits=[lr] seeds=[0]
    python benchmarks/tuning.py models=[act] --train augment=camera --eval starts=dev episodes=60

Keys are those of scripts/reproduce.py (models, splits, seeds, robot, layout, executor, workers,
folders); what follows --train goes to every training, what follows --eval to every evaluation. All
tries are written to <results_dir>/tuning/; a killed call goes on with the same command.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.campaign.config import ReproduceConfig  # noqa: E402
from para.campaign.tuning import tune  # noqa: E402
from para.cli import load_config, plainly  # noqa: E402
from para.fields import check  # noqa: E402
from para.statistics import Rate  # noqa: E402


def main() -> None:
    """Train, evaluate and write down all tries; then name what was chosen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--train", nargs="*", default=[], metavar="key=value")
    parser.add_argument("--eval", nargs="*", default=[], metavar="key=value")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(ReproduceConfig, arguments.overrides)
    check(cfg)
    paths = tune(cfg, arguments.train, arguments.eval)
    for path in paths:
        record = json.loads(path.read_text())
        logging.info("%s on %s: %g", record["model"], record["split"], record["chosen"])
        for one in record["tries"]:
            rate = Rate(one["successes"], one["n"])
            logging.info("  %g: %s, %.1f minutes", one["learning_rate"], rate, one["minutes"])


if __name__ == "__main__":
    plainly(main)
