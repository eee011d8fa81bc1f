"""Figures and videos as the page shows them: what goes together, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from para.evaluation.results import model_order
from para.figures.build import BuiltAsset, Media
from para.figures.style import model_style
from para.runs.labels import label_parts

FOLDER = "assets"
"""Where pictures and videos lie on the site."""


@dataclass(frozen=True)
class Clip:
    """A video and its caption."""

    media: Media
    src: str
    poster: str
    model: str | None
    outcome: str | None
    """success | fail | None (a grid, a training demo)."""

    @property
    def stage(self) -> str:
        """How the episode ended, in words."""
        words = {"success": "succeeded", "fail": "failed"}.get(self.outcome or "", "")
        return str(self.media.data.get("meaning", words))

    @property
    def label(self) -> str:
        """Name of the policy, or of the file where no policy acts."""
        return model_style(self.model).label if self.model else PurePath(self.media.file).stem


@dataclass(frozen=True)
class Group:
    """Videos that play in step.

    Attributes:
        title: What they show.
        clips: One per policy, or per demonstration.
        rule: How they were chosen, and what is missing.
    """

    title: str
    clips: tuple[Clip, ...]
    rule: str


class Gallery:
    """Hands out assets to the sections of the page and remembers which ones it has handed out."""

    def __init__(self, assets: Iterable[BuiltAsset], results_dir: Path | str):
        self.results_dir = Path(results_dir).resolve()
        self.assets = {asset.name: asset for asset in assets}
        self._used: set[str] = set()

    @property
    def failed(self) -> list[BuiltAsset]:
        """Assets whose inputs are unusable."""
        return [asset for asset in self.assets.values() if asset.status == "failed"]

    @property
    def files(self) -> list[str]:
        """Files that the site needs, below `FOLDER`: all but the PNG forms of figures."""
        return [
            file
            for asset in self.assets.values()
            for media in asset.media
            for file in (
                media.file,
                *(f for role, f in media.variants.items() if not role.endswith("png")),
            )
        ]

    def sources(self, asset: BuiltAsset) -> list[PurePath]:
        """Files in the results folder that an asset was made from, relative to that folder."""
        paths = [Path(name).resolve() for name in asset.inputs]
        inside = (p for p in paths if p.is_relative_to(self.results_dir) and p.is_file())
        return [path.relative_to(self.results_dir) for path in inside]

    @property
    def pair_splits(self) -> set[str]:
        """Splits that have side-by-side videos."""
        media = (m for asset in self.assets.values() for m in asset.media if "outcome" in m.data)
        return {str(m.data.get("split")) for m in media}

    def asset(self, name: str) -> BuiltAsset | None:
        """An asset by name; it counts as used."""
        self._used.add(name)
        return self.assets.get(name)

    def url(self, file: str) -> str:
        """URL of an asset's file, relative to the page."""
        return f"{FOLDER}/{quote(file)}"

    def rollouts(self, split: str, test: str) -> list[Group]:
        """Side-by-side videos of a test ("ood" | "sanity"): each policy on the same start."""
        return self._groups(
            lambda m: (
                (m.data.get("split"), m.data.get("test")) == (split, test) and "outcome" in m.data
            ),
            lambda m: m.data["index"],
        )

    def grids(self, split: str) -> list[Group]:
        """The grids of rollouts of a split, policies side by side."""
        return self._groups(
            lambda m: m.data.get("split") == split and "_rollout_grid" in m.file, lambda m: split
        )

    def heatmaps(self, split: str) -> list[Group]:
        """Videos of what PARA predicts while it acts."""
        return self._groups(
            lambda m: m.data.get("split") == split and "_heatmap_" in m.file, lambda m: m.file
        )

    def demos(self) -> list[Group]:
        """Training demonstrations."""
        return self._groups(lambda m: m.file.startswith("train_demo"), lambda m: "")

    def rest(self) -> list[BuiltAsset]:
        """Assets that no section has shown."""
        return [a for name, a in self.assets.items() if name not in self._used and a.media]

    def clips(self, asset: BuiltAsset) -> Group:
        """All videos of an asset."""
        return Group(asset.description, _ordered(asset.media, self), "")

    def _groups(
        self, chosen: Callable[[Media], bool], together: Callable[[Media], Any]
    ) -> list[Group]:
        """The chosen videos, those with the same value of `together` in one group."""
        groups: dict[Any, list[tuple[BuiltAsset, Media]]] = {}
        for asset in self.assets.values():
            for media in asset.media if asset.kind == "video" else ():
                if chosen(media):
                    self._used.add(asset.name)
                    groups.setdefault(together(media), []).append((asset, media))
        return [
            Group(pairs[0][0].description, _ordered([m for _, m in pairs], self), _remarks(pairs))
            for pairs in groups.values()
        ]


def _remarks(pairs: Sequence[tuple[BuiltAsset, Media]]) -> str:
    rules = [f"Chosen by rule: {m.data['rule']}." for _, m in pairs if m.data.get("rule")]
    notes = {note: None for asset, _ in pairs for note in asset.notes}
    return " ".join([*rules[:1], *notes])


def _ordered(media: Sequence[Media], gallery: Gallery) -> tuple[Clip, ...]:
    """Clips, those of the main policies first, then by name."""

    def order(clip: Media) -> tuple[Any, ...]:
        model = label_parts(str(clip.data.get("model"))).model
        return *model_order(model)[:1], clip.file

    ordered = sorted(media, key=order)
    return tuple(
        Clip(
            m,
            gallery.url(m.file),
            gallery.url(m.variants["poster"]),
            m.data.get("model"),
            m.data.get("outcome"),
        )
        for m in ordered
    )
