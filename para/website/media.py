"""Figures and videos as the page shows them: what goes together, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from para.figures.build import BuiltAsset, Media
from para.figures.style import model_style

FOLDER = "assets"
"""Where pictures and videos lie on the site."""
OUTCOMES = {"success": "placed", "fail": "failed"}


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
    def label(self) -> str:
        """Name of the policy, or of the file where no policy acts."""
        return model_style(self.model).label if self.model else PurePath(self.media.file).stem


@dataclass(frozen=True)
class Group:
    """Videos that play in step."""

    clips: tuple[Clip, ...]
    rule: str
    """How they were chosen."""


class Gallery:
    """Hands out assets to the sections of the page and remembers which ones it has handed out."""

    def __init__(self, assets: Iterable[BuiltAsset]):
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
        """The grids of rollouts of a viewpoint split, policies side by side."""
        return self._groups(
            lambda m: m.data.get("split") == split and "_rollout_grid" in m.file, lambda m: split
        )

    def heatmaps(self) -> list[Group]:
        """Videos of what the policy predicts while it acts, each on its own."""
        return self._groups(lambda m: "_heatmap_" in m.file, lambda m: m.file)

    def demos(self) -> list[Group]:
        """Training demonstrations."""
        return self._groups(lambda m: m.file.startswith("train_demo"), lambda m: "")

    def rest(self) -> list[BuiltAsset]:
        """Assets that no section has shown."""
        return [a for name, a in self.assets.items() if name not in self._used and a.media]

    def clips(self, asset: BuiltAsset) -> Group:
        """All videos of an asset."""
        return Group(_ordered(asset.media, self), "")

    def _groups(
        self, chosen: Callable[[Media], bool], together: Callable[[Media], Any]
    ) -> list[Group]:
        """The chosen videos, those with the same value of `together` in one group."""
        groups: dict[Any, list[Media]] = {}
        for asset in self.assets.values():
            for media in asset.media if asset.kind == "video" else ():
                if chosen(media):
                    self._used.add(asset.name)
                    groups.setdefault(together(media), []).append(media)
        return [Group(_ordered(media, self), _rule(media)) for media in groups.values()]


def _rule(media: Sequence[Media]) -> str:
    rules = [str(m.data["rule"]) for m in media if m.data.get("rule")]
    return f"Chosen by rule: {rules[0]}." if rules else ""


def _ordered(media: Sequence[Media], gallery: Gallery) -> tuple[Clip, ...]:
    """Clips, PARA first, then ACT, then by name."""
    rank = {"para": 0, "act": 1}
    ordered = sorted(media, key=lambda m: (rank.get(m.data.get("model"), 2), m.file))
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
