"""Nonsense as the value of every key.

    python benchmarks/nonsense.py [every=1] [results_dir=results]

For each field of every schema, built-in components' among them, values that cannot be meant, by the
kind of the field: a number gets inf, nan, 1e26, text, lists; a name gets "../../x" and 300 letters;
a folder gets a device. Each is one command line, run in this process up to the point where the
script's work would begin. Counts what was refused in one sentence, what ended in anything else, and
what was accepted; what may be accepted, and why, is said here. `every=7` takes each seventh.
Writes <results_dir>/benchmarks/nonsense.json.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.hydra import Hydra
from hydra.types import RunMode

from envs.base import build_task
from envs.splits import test_conditions, training_indices
from para.campaign.config import ReproduceConfig
from para.campaign.plan import plan as plan_campaign
from para.cli import load_config, para_main, plainly
from para.common import CommonConfig
from para.compose import Composer
from para.data.generate import GenerateConfig
from para.data.generate import plan as plan_demos
from para.evaluation.config import EvalConfig
from para.files import atomic_write_json
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.system import provenance, worker_count
from para.training.stages import stage_configs
from para.website.config import MakeWebsiteConfig
from para.website.folder import require_results_dir, site_folder

ENORMOUS = ("1e26", f"{10**26}")
NUMBERS = (*ENORMOUS, "inf", "-inf", "nan", "-1e26", "''", "zzz", "[[1]]", "{a:1}")
ELEMENTS = ("[nan]", "[inf]", f"[{10**26}]", "[[1]]", "['']", "[{a:1}]", "zzz", "{a:1}")
NAMES = ("''", "' '", "../../x", "a/b", "..", "/x", "n" * 300, "a b", "[a]", "{a:1}", "'a\tb'")
FOLDERS = ("''", "' '", "/dev/null", "/etc/passwd", "/etc/passwd/x", "f" * 300, "p/" * 2500, "[a]")
SWITCHES = ("2", "maybe", "nan", "''", "[true]", "{a:1}")
WORDS = ("[]", "[a]", "{a:1}")
PERHAPS = ("0", "-1", "null", "[]", "{}")
"""May be meant, by some fields: no count of none, no limit."""

FREE_TEXT = ("title", "hub")
MEANT = {
    "=2": "true, as all whole numbers but 0",
    **{f"clip_norm={value}": "gradients are not clipped" for value in ENORMOUS},
    **{f"minutes={value}": "no limit of time" for value in ENORMOUS},
    **{f"{key}={value}": "free text" for key in FREE_TEXT for value in NAMES},
}
"""Values that look like nonsense, and what they mean; by the ends of keys."""

CALLS = (
    (TrainConfig, ()),
    (TrainConfig, ("model=act",)),
    (TrainConfig, ("model=diffusion",)),
    (TrainConfig, ("model=regression", "backbone=svd_tiny", "recipe=two_stage")),
    (EvalConfig, ()),
    (GenerateConfig, ()),
    (ReproduceConfig, ("splits=[lr]", "models=[para]")),
    (MakeWebsiteConfig, ()),
)
"""What a key is added to; the first call that has a field with a certain schema tests it."""


@dataclass(frozen=True)
class Case:
    """One command line."""

    config_class: type[CommonConfig]
    base: tuple[str, ...]
    key: str
    value: str

    @property
    def meaning(self) -> str:
        """What the value may mean; "" if it is nonsense."""
        if self.value in PERHAPS:
            return "within the bounds"
        text = f"{self.key}={self.value}"
        return next((meaning for end, meaning in MEANT.items() if text.endswith(end)), "")

    @property
    def arguments(self) -> list[str]:
        """Without the script."""
        return [*self.base, f"{self.key}={self.value}"]


def values_for(item: Field[Any], value: Any) -> tuple[str, ...]:
    """Nonsense for a field, whose usual value is `value`."""
    kind = str(item.type)
    if "list" in kind:
        return ELEMENTS
    if kind == "bool":
        return SWITCHES
    if "folder" in item.metadata:
        return FOLDERS
    if "bounds" in item.metadata:
        return NUMBERS
    if "word" in item.metadata or "choices" in item.metadata or isinstance(value, str):
        return NAMES
    return WORDS


def cases() -> Iterator[Case]:
    """Every field of every schema once, with all its values."""
    seen: set[tuple[type, str]] = set()
    for config_class, base in CALLS:
        for key, owner, item, value in walk(load_config(config_class, base), ""):
            if (owner, item.name) not in seen and key != "plugins":
                seen.add((owner, item.name))
                for nonsense in (*values_for(item, value), *PERHAPS):
                    yield Case(config_class, base, key, nonsense)


def walk(config: Any, prefix: str) -> Iterator[tuple[str, type, Field[Any], Any]]:
    """(dotted key, class that declares it, field, value) of a configuration, inner ones too."""
    for item in fields(config):
        key, value = prefix + item.name, getattr(config, item.name)
        inner = value.items() if isinstance(value, dict) else [("", value)]
        nested = [(name, part) for name, part in inner if is_dataclass(part)]
        for name, part in nested:
            yield from walk(part, f"{key}.{name}." if name else f"{key}.")
        if not nested:
            declared = (
                c
                for c in reversed(type(config).__mro__)
                if item.name in vars(c).get("__annotations__", {})
            )
            yield key, next(declared), item, value


def start(cfg: Any) -> None:
    """What a script does before its work begins."""
    worker_count(cfg.workers)
    if isinstance(cfg, TrainConfig):
        for stage in stage_configs(cfg):
            run_dir(stage)
            training_indices(stage.split, build_task(stage.task), stage.layout)
            backbone = replace(stage.backbone, weights="random")
            with torch.device("meta"):  # which has shapes and no memory
                build_policy(stage.model, backbone, stage.env.image_size)
    elif isinstance(cfg, EvalConfig):
        for test in cfg.tests:
            test_conditions(cfg.split, test, build_task(cfg.task), cfg.layout, 2)
    elif isinstance(cfg, GenerateConfig):
        plan_demos(cfg.dataset, build_task(cfg.task), cfg.layout, cfg.limit or 2, cfg.env)
    elif isinstance(cfg, ReproduceConfig):
        plan_campaign(cfg)
    elif isinstance(cfg, MakeWebsiteConfig):
        site_folder(cfg)
        require_results_dir(cfg)


def outcome(case: Case) -> tuple[str, str]:
    """("refused", the sentence), ("accepted", "") or ("traceback", what)."""
    out, err = io.StringIO(), io.StringIO()

    def main(cfg: Any) -> None:
        """Starts."""
        start(cfg)

    try:
        with redirect_stdout(out), redirect_stderr(err):
            para_main(case.config_class, examples=[])(main)(case.arguments)
    except SystemExit as leaving:
        said = err.getvalue().strip().splitlines()
        if leaving.code == 2 and said and said[-1].startswith("error: ") and len(said[-1]) < 3000:
            return "refused", said[-1]
        return "traceback", f"exit status {leaving.code}: {said[-1:]}"
    except BaseException:
        return "traceback", traceback.format_exc().strip().splitlines()[-1]
    return "accepted", ""


def mode_of(self: Hydra, config_name: str, overrides: list[str]) -> RunMode | None:
    """What Hydra composes everything for once more, and says nothing about mistakes."""
    return RunMode.MULTIRUN if "hydra.mode=MULTIRUN" in overrides else None


@contextmanager
def quick() -> Iterator[None]:
    """Inside, what never changes is composed, or copied by Hydra, only once: four times faster."""
    default, known = Composer.__dict__["_default"], {}

    def once(self: Composer) -> Any:
        key = (self.view, self.files)
        if key not in known:
            known[key] = default.func(self)
        return known[key]

    prop = cached_property(once)
    prop.__set_name__(Composer, "_default")
    with (
        patch.object(Composer, "_default", prop),
        patch.object(Hydra, "get_mode", mode_of),
        patch.object(StructuredConfigSource, "__deepcopy__", lambda self, memo: self, create=True),
    ):
        yield


def count(chosen: Sequence[Case]) -> dict[str, Any]:
    """Run the cases in an empty folder; what became of them."""
    ended: Counter[str] = Counter()
    kept: dict[str, dict[str, str]] = {"meant": {}, "accepted": {}, "traceback": {}}
    with tempfile.TemporaryDirectory() as folder, chdir(folder), quick():
        for case in chosen:
            kind, said = outcome(case)
            kind = "meant" if kind == "accepted" and case.meaning else kind
            ended[kind] += 1
            if kind in kept:
                line = " ".join([case.config_class.script, *case.arguments])
                kept[kind][line] = said or case.meaning
    return {"n": len(chosen), **{k: ended[k] for k in ("refused", *kept)}, "lines": kept}


def main() -> None:
    """Run every n-th case, write the counts."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    every = int(words.get("every", 1))
    counts = count(list(cases())[::every])
    results_dir = words.get("results_dir", load_config(CommonConfig).results_dir)
    path = Path(results_dir) / "benchmarks" / "nonsense.json"
    atomic_write_json(path, {**provenance("benchmarks/nonsense.py", sys.argv[1:]), **counts})
    logging.info("%s", json.dumps(counts, indent=1))


if __name__ == "__main__":
    plainly(main)
