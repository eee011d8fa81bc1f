"""Building the site into a folder that can be opened from disk or served from anywhere."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import para
from envs.perturbations import SWEEPS
from para.evaluation.result_set import LeftOut, ResultSet, StoredResult
from para.evaluation.results import MAIN_MODELS, stage_counts, stage_steps
from para.figures import libero, study, video_charts
from para.figures.build import BuiltAsset
from para.figures.drawing import published_name
from para.figures.sources import published
from para.figures.splits import ALL_TASKS, corner_splits, split_title, sweep_splits
from para.figures.style import model_style
from para.places import shipped
from para.runs.identity import Setting
from para.runs.labels import PROFILE
from para.statistics import Rate, format_p
from para.website import content, media
from para.website.content import Number, Numbers
from para.website.demo import Demo
from para.website.differences import differences
from para.website.folder import MARKER, replaced_folder
from para.website.libero import VIEWS, libero_rows
from para.website.longer import FILE as LONGER_FILE
from para.website.longer import longer
from para.website.many_tasks import task_rows, varied_rows
from para.website.opponents import opponent_rows, three_way_differences

SOURCE = shipped("website")
OWN = "own"
"""Folder of the second page, about what the user measured."""

PITCH = (
    "Actions predicted in pixel space, trained on images whose camera moves along, hold where "
    "neither objects nor camera have been: one demonstration can serve a whole table. The same "
    "pixels make video models natural policy backbones."
)
SECTIONS = (
    ("method", "Method"),
    ("spatial", "Positions"),
    ("viewpoints", "Viewpoints"),
    ("faults", "Faults"),
    ("tasks", "Many tasks"),
    ("libero", "LIBERO"),
    ("video", "Video"),
    ("bonus", "Clutter"),
    ("numbers", "Every run"),
    ("reproduce", "Reproduce"),
    ("cite", "Cite"),
)
OWN_SECTION = ("yours", "Your results")
DEMO_SECTION = ("try", "Try it")
CLAIMS = (
    ("lr", "New positions", "Trained on the left half, tested on the right."),
    ("demos_n1", "One demonstration", "Trained on a single one, tested all over the table."),
    (
        "vp_default_to_all",
        "New viewpoints",
        "Trained from one camera, tested from many.",
    ),
    ("distractor", "Clutter", "Trained on a clean table, tested on a cluttered one."),
)
"""One claim per axis, fixed in advance: they are not chosen by how they came out."""


@dataclass(frozen=True)
class Source:
    """What a page is made from.

    Attributes:
        results_dir: Result files; all of them are copied to `results/` beside the page.
        assets_dir: Where the files of `assets` lie.
        assets: Figures and videos, built or not.
    """

    results_dir: Path | str
    assets_dir: Path | str
    assets: Sequence[BuiltAsset] = ()


@dataclass(frozen=True)
class Site:
    """What was built.

    Attributes:
        out: The folder; open its index.html.
        left_out: Files among the results that no page uses, and why.
        failed: Assets whose inputs are unusable.
    """

    out: Path
    left_out: tuple[LeftOut, ...]
    failed: tuple[BuiltAsset, ...]


def build_site(
    results_dir: Path | str,
    assets_dir: Path | str,
    assets: Sequence[BuiltAsset],
    out: Path | str,
    setting: Setting | None = None,
    profile: str = PROFILE,
    own: Source | None = None,
    demo: Demo | None = None,
) -> Site:
    """Write the site to `out`, replacing an earlier site there only when the new one is complete.

    Args:
        results_dir: See `Source`.
        assets_dir: See `Source`.
        assets: See `Source`.
        out: A folder that does not exist, is empty, or holds an earlier site.
        setting: Results of this setting fill the sections; the table of all runs has every one.
        profile: Likewise.
        own: What the user measured, where that is another folder: it gets a page of its own,
            `<out>/own/`, and a table beside the same policies of `results_dir`. No number is made
            of both.
        demo: Policies that a visitor can run, on the first page; None: no such section.

    Raises:
        ConfigError: `out` holds something else, which would be deleted.
    """
    sources = [Source(results_dir, assets_dir, assets), *([own] if own else [])]
    pages = [
        (
            Numbers(ResultSet.load(source.results_dir), setting, profile),
            media.Gallery(source.assets, source.results_dir),
        )
        for source in sources
    ]
    beside = content.beside(pages[1][0], pages[0][0]) if own else []
    with replaced_folder(Path(out)) as folder:
        for name, source, page in zip(("", OWN), sources, pages, strict=False):
            first = {} if name else {"beside": beside, "demo": demo}
            _write_page(folder / name, source, *page, is_own=bool(name), **first)
        (folder / MARKER).touch()
    return Site(
        Path(out),
        tuple(item for numbers, _ in pages for item in numbers.every.left_out),
        tuple(asset for _, gallery in pages for asset in gallery.failed),
    )


def _write_page(
    folder: Path,
    source: Source,
    numbers: Numbers,
    gallery: media.Gallery,
    is_own: bool,
    beside: Sequence[content.Beside] = (),
    demo: Demo | None = None,
) -> None:
    """A page and all that it needs, in a folder of its own."""
    shutil.copytree(SOURCE / "static", folder / "static")
    for run in (*numbers.runs, *numbers.every.aligned.results):
        _copy(run.path, folder / "results" / content.folder(run))
    if (gallery.results_dir / LONGER_FILE).exists():
        _copy(gallery.results_dir / LONGER_FILE, folder / "results" / LONGER_FILE)
    for name in {name for asset in source.assets for name in gallery.sources(asset)}:
        _copy(gallery.results_dir / name, folder / "results" / name)
    for file in gallery.files:
        _copy(Path(source.assets_dir) / file, folder / media.FOLDER / file)
    if demo:
        demo.copy(folder)
    page = render(numbers, gallery, beside, is_own, demo)
    (folder / "index.html").write_text(page, encoding="utf-8")


def render(
    numbers: Numbers,
    gallery: media.Gallery,
    beside: Sequence[content.Beside] = (),
    is_own: bool = False,
    demo: Demo | None = None,
) -> str:
    """The page as HTML. Text from results and configurations is escaped.

    Args:
        numbers: What its sections show.
        gallery: Figures and videos.
        beside: What the user measured, for a section of its own.
        is_own: This is the page of what the user measured.
        demo: For a section of its own.
    """
    environment = Environment(
        loader=FileSystemLoader(SOURCE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "numbers": numbers,
        "gallery": gallery,
        "published": published(),
        "published_name": published_name,
        "main_models": MAIN_MODELS,
        "split_title": split_title,
        "style": model_style,
        "folder": content.folder,
        "href": content.href,
        "anchor": content.anchor,
        "format_p": format_p,
        "points": points,
        "differences": differences,
        "backbone": content.backbone,
        "stage_steps": stage_steps,
        "quote": quote,
        "hardware": content.hardware,
        "short": content.short,
        "stage_counts": stage_counts,
        "one_run": one_run,
    }
    in_libero = [*libero_rows(numbers)]
    return environment.get_template("index.html.j2").render(
        pitch=PITCH,
        sections=[
            *([DEMO_SECTION] if demo else []),
            *SECTIONS[:-2],
            *([OWN_SECTION] if beside else []),
            *SECTIONS[-2:],
        ],
        demo=demo,
        beside=beside,
        own=OWN,
        is_own=is_own,
        claims=CLAIMS,
        corners=corner_splits(),
        pair_splits=gallery.pair_splits,
        recipes=video_charts.RECIPES,
        main_tables=video_charts.MAIN_TABLES,
        recipe_tables=video_charts.RECIPE_TABLES,
        recipe_split=video_charts.RECIPE_SPLIT,
        three_way=content.three_way(numbers),
        three_way_splits=study.THREE_WAY_SPLITS,
        three_way_layout=study.LAYOUT,
        three_way_differences=three_way_differences(numbers),
        opponents=[*opponent_rows(numbers, gallery.results_dir)],
        longer_trainings=longer(numbers, gallery.results_dir),
        longer_file=f"results/{LONGER_FILE}",
        task_rows=[*task_rows(numbers)],
        varied_rows=[*varied_rows(numbers)],
        all_tasks=ALL_TASKS,
        libero_rows=in_libero,
        libero_views=VIEWS,
        libero_words=content.describe([run for row in in_libero for run in row.runs]),
        libero_film=libero.filmed_split(numbers.every, numbers.profile),
        followers=study.followers(),
        sweeps=list(SWEEPS.options()),
        scaling_splits=sweep_splits(),
        scaling_models=video_charts.SCALING_MODELS,
        seed_words=seed_words(numbers),
        bibtex=bibtex(numbers),
        version=para.__version__,
    )


def points(difference: float) -> str:
    """A difference of two rates in percentage points: '+95.8', '−2', '0'."""
    text = f"{100 * difference:+.1f}".removesuffix(".0")
    return "0" if text in ("+0", "-0") else text.replace("-", "\N{MINUS SIGN}")


def one_run(run: StoredResult, test: str) -> Number | None:
    """Success rate of one result file; None if it has no such episodes."""
    rate = Rate.of([e["success"] for e in run.episodes(test)])
    return Number(run.split, run.model, test, None, rate, (run,)) if rate.n else None


def seed_words(numbers: Numbers) -> str:
    """How many training seeds the results have."""
    seeds = {run.seed for run in numbers.runs}
    if len(seeds) <= 1:
        return "One training seed."
    return f"{len(seeds)} training seeds at most; the table of all runs says how many each has."


def bibtex(numbers: Numbers) -> str:
    """The entry that cites this code, with the year of the newest result."""
    dates = [run.data["created"][:4] for run in numbers.runs]
    year = max(dates) if dates else str(datetime.date.today().year)
    return (
        "@software{para,\n"
        "  title   = {{PARA}: Predicting Robot Actions in Pixel Space},\n"
        "  author  = {{The PARA contributors}},\n"
        f"  year    = {{{year}}},\n"
        f"  version = {{{para.__version__}}}\n"
        "}"
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
