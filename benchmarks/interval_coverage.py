"""Do the 95 % intervals over seeds and starts cover?

    python benchmarks/interval_coverage.py [--studies 2000] [results_dir=results]

Writes <results_dir>/benchmarks/coverage.json.

A study is simulated: the log odds of success of (seed, start) are a constant plus a normal effect
of the seed plus a normal effect of the start, which all seeds share; 100 starts. Counted is how
often `para.statistics.hierarchical_interval` contains the true mean over all seeds and starts.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.polynomial.hermite_e import hermegauss  # noqa: E402
from scipy.special import expit  # noqa: E402

from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.fields import require  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.statistics import hierarchical_interval  # noqa: E402
from para.system import provenance  # noqa: E402

SEEDS = (3, 5)
STARTS = 100
LOG_ODDS = (0.0, 2.0, 3.5, 4.2)
SEED_SDS = (0.0, 0.3, 1.0)
START_SDS = (0.0, 1.5)
DRAWS = 500
"""Per interval; the percentiles of 500 draws are good enough to count."""


def true_rate(log_odds: float, seed_sd: float, start_sd: float) -> float:
    """Mean success probability over all seeds and starts (Gauss-Hermite quadrature)."""
    nodes, weights = hermegauss(60)
    probabilities = expit(log_odds + np.hypot(seed_sd, start_sd) * nodes)
    return float(weights @ probabilities / weights.sum())


def simulated(
    rng: np.random.Generator, seeds: int, log_odds: float, seed_sd: float, start_sd: float
) -> np.ndarray:
    """Outcomes (seeds, STARTS) of one study."""
    of_seeds = seed_sd * rng.standard_normal((seeds, 1))
    of_starts = start_sd * rng.standard_normal((1, STARTS))
    return rng.random((seeds, STARTS)) < expit(log_odds + of_seeds + of_starts)


def coverage(studies: int, seeds: int, log_odds: float, seed_sd: float, start_sd: float) -> dict:
    """How often the interval holds the truth, and how wide it is."""
    rng = np.random.default_rng(0)
    truth = true_rate(log_odds, seed_sd, start_sd)
    bounds = np.array(
        [
            hierarchical_interval(simulated(rng, seeds, log_odds, seed_sd, start_sd), DRAWS)
            for _ in range(studies)
        ]
    )
    covered = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    return {
        "seeds": seeds,
        "rate": round(truth, 3),
        "seed_sd": seed_sd,
        "start_sd": start_sd,
        "studies": studies,
        "covered": round(float(covered.mean()), 4),
        "width": round(float((bounds[:, 1] - bounds[:, 0]).mean()), 3),
    }


def main() -> None:
    """Simulate every row and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies per row")
    arguments, overrides = parser.parse_known_args()
    require(arguments.studies > 0, f"--studies {arguments.studies}: at least 1.")
    results_dir = load_config(CommonConfig, overrides).results_dir
    rows = [
        coverage(arguments.studies, *row) for row in product(SEEDS, LOG_ODDS, SEED_SDS, START_SDS)
    ]
    for row in rows:
        sys.stdout.write(f"{row}\n")
    path = f"{results_dir}/benchmarks/coverage.json"
    atomic_write_json(
        path,
        {
            **provenance("benchmarks/interval_coverage.py", sys.argv[1:]),
            "starts": STARTS,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    plainly(main)
