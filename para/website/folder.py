"""Where the site goes and what it is made from: looked at before anything is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from para.asides import aside_of, sweep
from para.cli import load_config
from para.errors import ConfigError, ResultError
from para.evaluation.result_set import ResultSet
from para.files import require_writable
from para.places import typed
from para.runs.folders import setting_of
from para.website.config import MakeWebsiteConfig

MARKER = ".para-website"
"""An empty file that says: this folder was made here and may be replaced."""


def site_folder(cfg: MakeWebsiteConfig) -> Path:
    """Where the site of `cfg` goes, if it can go there.

    Raises:
        ConfigError: `out` holds something else, which would be deleted.
        OSError: Nothing can be written there.
    """
    out = Path(cfg.out or Path(cfg.outputs_dir) / "website")
    _require_replaceable(out, Path(cfg.results_dir), cfg.reference)
    require_writable(out.absolute().parent)
    require_writable(cfg.outputs_dir)
    return out


def require_results_dir(cfg: MakeWebsiteConfig) -> None:
    """Refuse (`ResultError`) a `results_dir` that somebody named and that does not exist."""
    usual = load_config(MakeWebsiteConfig, [f"profile={cfg.profile}"]).results_dir
    if cfg.results_dir != usual and not Path(cfg.results_dir).is_dir():
        raise ResultError(
            f"results_dir={cfg.results_dir} does not exist; the usual one is results_dir={usual}."
        )


def nothing_to_show(cfg: MakeWebsiteConfig) -> ResultError:
    """What to say where no folder has a result that could be shown."""
    left_out = ResultSet.load(cfg.results_dir).left_out
    damage = f" (left out: {left_out[0].name}: {left_out[0].reason})" if left_out else ""
    setting = setting_of(cfg).name
    return ResultError(
        f"No results of {setting} with profile {cfg.profile} in results_dir={cfg.results_dir} or "
        f"reference_dir={cfg.reference}{damage}: there is nothing to show. Evaluate a policy "
        f"first ({typed('eval')}), or name the folder, robot, layout or profile of what there is."
    )


def _require_replaceable(out: Path, *sources: Path) -> None:
    real = out.resolve()
    if Path.cwd().is_relative_to(real):
        raise ConfigError(
            f"out={out} is the folder that you are in, or one above it, and the site replaces its "
            "folder as a whole. Choose a new or empty one, such as out=website."
        )
    for source in (source.resolve() for source in sources):
        if real.is_relative_to(source) or source.is_relative_to(real):
            raise ConfigError(
                f"out={out} and the results in {source} lie within each other. Choose another "
                "folder for the site."
            )
    _restore(real)
    if out.exists() and not (out.is_dir() and ((out / MARKER).exists() or not any(out.iterdir()))):
        raise ConfigError(
            f"out={out} holds something that is not a PARA website. Choose a new or empty folder."
        )


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out` that takes its place if the body succeeds.

    The last good site stays as it was until then; one that a killed swap left aside comes back.

    Raises:
        ConfigError: `out` holds something else.
    """
    _require_replaceable(out)
    out, previous = out.resolve(), _previous(out.resolve())
    out.parent.mkdir(parents=True, exist_ok=True)
    sweep(out.parent, [out.name])
    aside = aside_of(out)
    aside.mkdir()
    try:
        yield aside
        shutil.rmtree(previous, ignore_errors=True)
        if out.exists():
            os.rename(out, previous)
        os.rename(aside, out)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _previous(out: Path) -> Path:
    return out.with_name(f".{out.name}.previous")


def _restore(out: Path) -> None:
    """Bring back the site that a killed swap left aside."""
    if _previous(out).exists() and not out.exists():
        _previous(out).rename(out)
