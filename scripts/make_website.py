"""Build the results website: `python scripts/make_website.py serve=true`."""

import sys
from pathlib import Path

from para.cli import para_main
from para.website.config import MakeWebsiteConfig

ASSETS = "assets"
"""Pictures and videos are kept in this folder of `outputs_dir`, so that they are made only once."""


@para_main(
    MakeWebsiteConfig,
    examples=[
        "serve=true",
        "out=public robot=hand",
        "results_dir=my_results only=[per_theta_chart,lr_success_map]",
    ],
)
def main(cfg: MakeWebsiteConfig) -> None:
    """Turn result files, training runs and demos into figures, videos and one page about them.

    Whatever is up to date is not made again. Exits with status 1 if a file had to be left out.
    """
    from para.figures.registry import build_assets
    from para.runs.folders import setting_of
    from para.system import available_cores
    from para.website.build import build_site, server

    folder = Path(cfg.outputs_dir) / ASSETS
    setting = setting_of(cfg)
    workers = cfg.workers or available_cores()
    assets = build_assets(
        cfg.results_dir, cfg.runs_dir, cfg.data_dir, folder, only=cfg.only, workers=workers,
        setting=setting, profile=cfg.profile,
    )  # fmt: skip
    out = cfg.out or Path(cfg.outputs_dir) / "website"
    site = build_site(cfg.results_dir, folder, assets, out, setting, cfg.profile)
    print(f"Website: {site.out / 'index.html'}")
    for item in site.left_out:
        print(f"Left out: {cfg.results_dir}/{item.name}: {item.reason}")
    for asset in site.failed:
        print(f"Not made: {asset.name}: {asset.message}")
    if cfg.serve:
        with server(site.out, cfg.port) as running:
            print(f"Serving on http://127.0.0.1:{running.server_port}/ until Ctrl-C", flush=True)
            try:
                running.serve_forever()
            except KeyboardInterrupt:
                print()
    if site.left_out or site.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
