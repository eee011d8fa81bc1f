"""What the attributes of a demo file must be like; `para.data.format.EpisodeMeta` explains them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from para.records import Count, Record, Text


class MetaRecord(Record):
    """`EpisodeMeta` in a file."""

    index: Count
    seed: Count
    dataset: Text
    task: dict[str, Any]
    robot: Text
    layout: Text
    condition: dict[str, Any]
    env: dict[str, Any]
    success: bool
    instruction: str
    num_samples: int = Field(ge=1)
    environment_version: int = Field(ge=1)
    code_version: str
    mujoco_version: str
