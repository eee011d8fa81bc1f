"""What a run leaves in its folder (`para.runs.folders.run_dir`), by name.

    config.json            the resolved configuration
    log.jsonl, log.csv     one row per `training.log_every` steps
    augmented_batch.png    what the policy sees in training, labels drawn in
    policy.safetensors     averaged (EMA) weights and normalisation: what evaluation loads
    policy.json            what is known about them (keys: para/runs/policy_file.py)
    checkpoint/            everything that resuming needs (keys: para/training/checkpoint.py):
        policy.safetensors, ema.safetensors, optimizer.safetensors
        state.json         step, seconds, checksums of the three files
    checkpoint.previous/   the one before
    wandb/                 what Weights & Biases keeps, with wandb=offline|online

All tensors are safetensors, all the rest is JSON (with a checksum of its content) or text. Every
file is written aside and renamed, a checkpoint as a whole; a crash at any moment leaves
`checkpoint` or `checkpoint.previous` complete. Beside the folder lies .<name>.lock, which the
process that trains it holds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from para.asides import is_aside_of, sweep
from para.errors import ConfigError

CONFIG = "config.json"
LOG = "log.jsonl"
LOG_TABLE = "log.csv"
BATCH_PICTURE = "augmented_batch.png"
POLICY = "policy.safetensors"
POLICY_META = "policy.json"
CHECKPOINT = "checkpoint"
PREVIOUS_CHECKPOINT = "checkpoint.previous"
CHECKPOINT_STATE = "state.json"
WANDB = "wandb"

_FILES = (CONFIG, LOG, LOG_TABLE, BATCH_PICTURE, POLICY, POLICY_META)
_IN_CHECKPOINT = (CHECKPOINT_STATE, POLICY, "ema.safetensors", "optimizer.safetensors")


def lock_path(folder: Path) -> Path:
    """The file that a process locks while it trains in `folder`."""
    return folder.parent / f".{folder.name}.lock"


def strangers(folder: Path) -> list[str]:
    """Paths in a run's folder, relative to it, that no run writes; sorted."""
    found = []
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_symlink():
            found.append(path.name)
        elif not path.is_dir():
            found += [path.name] * (not _written(path.name, _FILES))
        elif _written(path.name, (CHECKPOINT, PREVIOUS_CHECKPOINT)):
            inside = [p for p in path.iterdir() if not _is_file_of(p, _IN_CHECKPOINT)]
            found += [f"{path.name}/{p.name}" for p in inside]
        elif path.name != WANDB:
            found.append(f"{path.name}/")
    return sorted(found)


def delete_run(folder: Path) -> None:
    """Delete what a run left in `folder`; nothing is touched where there is anything else.

    Raises:
        ConfigError: There is something that no run writes.
    """
    if other := strangers(folder):
        listed = ", ".join(other[:6]) + (f" and {len(other) - 6} more" if len(other) > 6 else "")
        raise ConfigError(
            f"fresh=true deletes what a run wrote, but {folder} also holds {listed}: nothing was "
            "deleted. Move that elsewhere, or choose another runs_dir, model.name or seed."
        )
    # the configuration goes last: until then, whoever looks knows whose checkpoints these are
    for path in sorted(folder.glob("*"), key=lambda path: path.name == CONFIG):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def sweep_run(folder: Path) -> None:
    """Remove what a killed process left half written; nobody else may be writing in `folder`."""
    sweep(folder, (*_FILES, CHECKPOINT))


def _is_file_of(path: Path, names: tuple[str, ...]) -> bool:
    return path.is_file() and not path.is_symlink() and _written(path.name, names)


def _written(name: str, names: tuple[str, ...]) -> bool:
    """Is `name` one of `names`, or what a killed process left while it wrote one?"""
    return name in names or any(is_aside_of(name, Path(known)) for known in names)
