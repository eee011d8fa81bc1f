"""The whole website of a configuration: figures, videos, pages."""

from __future__ import annotations

import logging
from pathlib import Path

from para.evaluation.result_set import ResultSet
from para.figures.curves import keep_curves
from para.figures.registry import build_assets
from para.figures.sources import Sources
from para.runs.folders import setting_of
from para.system import available_cores
from para.website.build import OWN, Site, Source, build_site
from para.website.config import MakeWebsiteConfig
from para.website.demo import read_demo, shipped_demo
from para.website.folder import nothing_to_show, require_results_dir, site_folder

ASSETS = "assets"
"""Pictures and videos are kept in this folder of `outputs_dir`, so that they are made only once."""

log = logging.getLogger(__name__)


def make_website(cfg: MakeWebsiteConfig) -> Site:
    """Make the site: a page about the reference, one about `results_dir` where it has results.

    Where the reference has nothing of this setting and profile, the user's results are the only
    page. Learning curves of finished runs are kept with them, never with the reference.

    Raises:
        ResultError: There is nothing to show: an empty site would replace a good one.
        ConfigError: The site cannot go where it is asked to go.
    """
    out = site_folder(cfg)
    require_results_dir(cfg)
    demo = None if cfg.demo == "none" else Path(cfg.demo) if cfg.demo else shipped_demo()
    shown = read_demo(demo) if demo else None
    setting, own = setting_of(cfg), Path(cfg.results_dir)
    keep_curves(Sources.open(own, cfg.runs_dir, cfg.data_dir, setting, cfg.profile))
    folders = [own] if ResultSet.load(own).results else []
    if not cfg.is_reference and ResultSet.load(cfg.reference).of(setting, cfg.profile).results:
        folders = [cfg.reference, *folders]
    if not folders:
        raise nothing_to_show(cfg)
    pages = []
    for folder in folders:
        assets_dir = Path(cfg.outputs_dir) / ASSETS / (OWN if pages else "")
        assets = build_assets(
            *(folder, cfg.runs_dir, cfg.data_dir, assets_dir),
            only=cfg.only,
            workers=cfg.workers or available_cores(),
            setting=setting,
            profile=cfg.profile,
            beside=Path(pages[0].assets_dir) if pages else None,
        )
        pages.append(Source(folder, assets_dir, assets))
    first, *second = pages
    if not second:
        log.info("The page shows %s alone.", first.results_dir)
    return build_site(
        *(first.results_dir, first.assets_dir, first.assets, out, setting, cfg.profile),
        own=second[0] if second else None,
        demo=shown,
    )
