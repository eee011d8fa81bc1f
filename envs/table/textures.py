"""Patterns for table and floor where appearance is varied: grey pictures, to be tinted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.table.assets import wood_texture

SIZE = 256
"""Side of a pattern [px]."""


def _plane() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (SIZE, SIZE) in [0, 1) down and to the right."""
    axis = np.arange(SIZE) / SIZE
    return tuple(np.meshgrid(axis, axis, indexing="ij"))  # type: ignore[return-value]


def _smooth(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise (SIZE, SIZE) in about [-1, 1] that repeats without a seam."""
    v, u = _plane()
    noise = np.zeros((SIZE, SIZE))
    for _ in range(24):
        down, right = rng.integers(-cells, cells + 1, 2)
        noise += np.sin(2 * np.pi * (down * v + right * u + rng.uniform()))
    return noise / np.sqrt(24 / 2) / 2


def _planks() -> np.ndarray:
    grey = wood_texture(SIZE).mean(axis=-1)
    return grey / grey.max()


def _plain() -> np.ndarray:
    return 0.95 + 0.02 * _smooth(np.random.default_rng(11), 5)


def _speckle() -> np.ndarray:
    rng = np.random.default_rng(12)
    grains = _smooth(rng, 40)
    return 0.88 + 0.10 * (grains > 0.55) - 0.22 * (grains < -0.6)


def _tiles() -> np.ndarray:
    rng, count = np.random.default_rng(13), 6
    v, u = (axis * count for axis in _plane())
    tone = rng.uniform(-0.05, 0.05, (count, count))[v.astype(int), u.astype(int)]
    seam = np.maximum(np.abs(v % 1 - 0.5), np.abs(u % 1 - 0.5)) > 0.47
    return np.where(seam, 0.62, 0.92 + tone)


def _weave() -> np.ndarray:
    v, u = (axis * 12 for axis in _plane())
    over = (v.astype(int) + u.astype(int)) % 2 == 0
    bulge = np.where(over, np.cos(np.pi * (v % 1 - 0.5)), np.cos(np.pi * (u % 1 - 0.5)))
    return 0.62 + 0.32 * bulge


def _marble() -> np.ndarray:
    rng = np.random.default_rng(14)
    v, u = _plane()
    veins = np.abs(np.sin(np.pi * (4 * u + 2 * v + 0.7 * _smooth(rng, 6))))
    return 0.96 - 0.40 * (1 - veins) ** 4 + 0.02 * _smooth(rng, 30)


PATTERNS: dict[str, Callable[[], np.ndarray]] = {
    "planks": _planks,
    "plain": _plain,
    "speckle": _speckle,
    "tiles": _tiles,
    "weave": _weave,
    "marble": _marble,
}


def pattern(name: str) -> np.ndarray:
    """One of PATTERNS, (SIZE, SIZE, 3) uint8, all channels alike."""
    grey = np.clip(255 * PATTERNS[name](), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
