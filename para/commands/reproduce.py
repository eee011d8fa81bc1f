"""Train and evaluate everything, then build the website: `python scripts/reproduce.py`."""

from para.campaign.config import ReproduceConfig
from para.cli import para_main


@para_main(
    ReproduceConfig,
    examples=[
        "",
        "splits=[lr,vp_default_to_all] models=[para,regression,act]",
        "campaign=video_recipes",
        "seeds=[0,1,2] website=false",
    ],
)
def main(cfg: ReproduceConfig) -> None:
    """Run the whole campaign: demos, trainings, evaluations, website; kill and repeat at will.

    Splits with the same training set share one run. Outputs of all jobs are in outputs/campaign/.
    """
    import time

    from para.campaign.run import reproduce

    start = time.monotonic()
    campaign = reproduce(cfg)
    minutes = (time.monotonic() - start) / 60
    print(f"{len(campaign.jobs)} jobs done in {minutes:.1f} minutes; results: {cfg.results_dir}/")


if __name__ == "__main__":
    main()
