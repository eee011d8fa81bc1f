"""What the bins of a head count, where training is asked to choose (`model.head.along=auto`).

Decided once, before a run's folder is claimed, by how high the cameras of its demos stand. The
answer and the elevation stand in the run's configuration, and so in config.json and policy.json:
neither a resumed run nor a loaded policy decides again.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from para.data.dataset import DemoDataset
from para.heads.base import AUTO, COUNTED, HeadConfig
from para.runs.config import TrainConfig
from para.training.claims import config_before
from para.training.data import open_datasets
from para.training.stages import stage_configs

LEAST_FOR_HEIGHTS_DEG = 35.0
"""Cameras lower over the table than this [deg] are served by bins of depth.

Source: results/benchmarks/elevation.json (benchmarks/elevation.py), the pixel wrong by 1 of 128 and
the bin by a half: the median error of depths is the smaller one up to 30 degrees (18 mm, of heights
20), that of heights from 40 degrees on (16 mm, of depths 18).
"""

_logger = logging.getLogger(__name__)


def decided(
    cfg: TrainConfig, datasets: tuple[DemoDataset, DemoDataset | None] | None
) -> TrainConfig:
    """`cfg` with what `model.head.along=auto` comes to; as it is where nothing is to be decided.

    Args:
        cfg: What was asked for.
        datasets: Demos to train on and held-out ones; None opens those of the last stage of `cfg`.
            An earlier run of `cfg` that decided keeps its answer, and needs no demos.

    Raises:
        DataError: Demos are damaged.
        CheckpointError: The earlier run's configuration is damaged.
    """
    head = getattr(cfg.model, "head", None)
    if not isinstance(head, HeadConfig) or head.along != AUTO:
        return cfg
    run = stage_configs(cfg)[-1]
    before = _decided_before(run)
    if before:
        along, elevation = before
    else:
        elevation = round((datasets or open_datasets(run))[0].camera_elevation_deg(), 2)
        along = "depth" if elevation < LEAST_FOR_HEIGHTS_DEG else "height"
    _logger.info(
        "model.head.along=auto: %s, as the cameras stand %.1f degrees over the table (depth below "
        "%.0f)%s.",
        *(along, elevation, LEAST_FOR_HEIGHTS_DEG),
        "; decided when this run began" if before else "",
    )
    head = replace(head, along=along, elevation_deg=elevation)
    return replace(cfg, model=replace(cfg.model, head=head))


def _decided_before(run: TrainConfig) -> tuple[str, float] | None:
    """What an earlier run in the folder of `run` decided, and the elevation; None: it did not."""
    head = config_before(run).get("model", {}).get("head")
    head = head if isinstance(head, dict) else {}
    along, elevation = head.get("along"), head.get("elevation_deg")
    if along not in COUNTED or not isinstance(elevation, float):
        return None
    return along, elevation
