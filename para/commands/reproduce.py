"""Train and evaluate everything, then build the website: `python scripts/reproduce.py`."""

from para.campaign.config import ReproduceConfig
from para.cli import para_main, say


@para_main(
    ReproduceConfig,
    examples=[
        "dry_run=true",
        "figure=demonstrations",
        "table=opponents seeds=[0] website=false",
        "splits=[lr,vp_default_to_all] models=[para,regression,act]",
    ],
)
def main(cfg: ReproduceConfig) -> None:
    """Make everything that is published, or one figure or table; kill and repeat at will.

    Says first how many trainings, evaluations and core-hours that is. What several figures need is
    made once, and what is there already is kept. Outputs of all jobs are in outputs/campaign/.
    """
    import time

    from rich.console import Console

    from para.campaign.cost import estimate, estimate_table
    from para.campaign.plan import plan
    from para.campaign.run import reproduce

    planned = plan(cfg)
    Console().print(estimate_table(estimate(cfg, planned)))
    if cfg.dry_run:
        return
    start = time.monotonic()
    campaign = reproduce(cfg, planned.jobs)
    minutes = (time.monotonic() - start) / 60
    say(f"{len(campaign.jobs)} jobs done in {minutes:.1f} minutes; results: {cfg.results_dir}/")


if __name__ == "__main__":
    main()
