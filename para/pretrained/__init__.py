"""Trained policies that come with the code, a folder each: `policy=para_lr`.

A folder holds policy.safetensors, policy.json and a page about them, README.md;
`para.pretrained.ship` makes one of a finished run.
"""

from __future__ import annotations

import os
from pathlib import Path

from para.errors import CheckpointError, did_you_mean, one_line
from para.runs.contents import POLICY, POLICY_META

FOLDER = Path(__file__).parent
"""Where they lie."""


def names() -> list[str]:
    """Names of the policies that come with the code, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"[!.]*/{POLICY_META}"))


def policy_folder(policy: str) -> Path:
    """The folder of a policy.

    Args:
        policy: Name of one that comes with the code, or the path of any.

    Raises:
        CheckpointError: It is neither; lists the names.
    """
    if policy in names():
        return FOLDER / policy
    folder = os.path.expanduser(policy)
    if os.path.isdir(folder):
        return Path(folder)
    what = (
        "is a file"
        if os.path.isfile(folder)
        else "is no folder, and no policy that comes with PARA"
    )
    raise CheckpointError(
        f"policy={one_line(policy)} {what}. {did_you_mean(policy, names())} Or give the path of a "
        f"folder that holds {POLICY} and {POLICY_META}, as training leaves one in runs/."
    )
