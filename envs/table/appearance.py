"""How an episode looks where appearance is varied: all of it drawn from its condition.

Colours of all objects, texture and colour of table and floor, direction and strength of the light:
a `Look` is painted onto the model just before it is drawn. Shapes decide which model it is.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.episodes import FIXED, UNSEEN, VARIED, Condition
from envs.table.robots import VISUAL
from envs.table.textures import SIZE, pattern

_DRAWN = 7000
"""Draws of one look do not depend on each other, or on those of the clutter of that number."""
Shapes = tuple[tuple[str, str], ...]
"""(kind, shape) of everything that comes in several shapes, by kind."""


@dataclass(frozen=True)
class Palette:
    """What an appearance may show.

    Attributes:
        hues: Lowest and highest hue of every colour, in [0, 1).
        patterns: Of `textures.PATTERNS`, for table and floor.
    """

    hues: tuple[float, float]
    patterns: tuple[str, ...]


PALETTES = {
    VARIED: Palette((0.0, 0.58), ("planks", "plain", "speckle", "tiles")),
    UNSEEN: Palette((0.64, 0.90), ("weave", "marble")),
}
"""Red to light blue is trained; blue, violet and pink never are. Hues are a circle,
with room at both ends."""
OBJECT, SURFACE = ((0.55, 1.0), (0.35, 0.95)), ((0.05, 0.35), (0.55, 1.0))
"""Saturation and value of the colours of objects, and of table and floor: fewest and most."""
APART = 0.25
"""Objects differ from each other and from the table by so much in RGB, if draws allow it."""
DRAWS = 30
ELEVATION_DEG = (45.0, 80.0)
"""Of the main light above the table."""
STRENGTH, FILL, AMBIENT = (0.40, 0.80), (0.08, 0.30), (0.18, 0.36)
"""Of the main light, the light from the other side, and the light from everywhere."""
WARMTH = 0.06
"""A light's red and blue differ by up to this share, either way."""


def shapes_of(
    condition: Condition, shapes: Mapping[str, Mapping[str, Sequence[str]]]
) -> Shapes | None:
    """The shapes of an episode's objects; None where its appearance is fixed.

    Args:
        condition: Start of the episode.
        shapes: The task's, `TableTask.shapes`.
    """
    if condition.appearance == FIXED:
        return None
    rng = np.random.default_rng([condition.look, _DRAWN])
    known = ((kind, shapes[kind][condition.appearance]) for kind in sorted(shapes))
    return tuple((kind, str(rng.choice(names))) for kind, names in known)


@dataclass(frozen=True)
class Look:
    """Colours are RGB in [0, 1].

    Attributes:
        colours: (N, 3) of the coloured parts of the objects.
        distractors: (M, 3) of M distractors.
        table, floor: Pattern, and (3,) the colour that tints it.
        light: (3,) unit vector along which the main light shines.
        strength, fill, ambient: (3,) colours of the lights.
    """

    colours: np.ndarray
    distractors: np.ndarray
    table: tuple[str, np.ndarray]
    floor: tuple[str, np.ndarray]
    light: np.ndarray
    strength: np.ndarray
    fill: np.ndarray
    ambient: np.ndarray


def draw_look(condition: Condition, parts: Sequence[np.ndarray | None]) -> Look:
    """The look of an episode whose appearance is not fixed.

    Args:
        condition: Start of the episode; nothing else decides.
        parts: For each coloured part of the objects its colour (3,), where it must keep it.
    """
    palette = PALETTES[condition.appearance]
    objects, others, room, lamp = (
        np.random.default_rng([condition.look, _DRAWN + k]) for k in range(1, 5)
    )
    table, floor = (
        (str(room.choice(palette.patterns)), _colour(room, palette, SURFACE)) for _ in range(2)
    )
    colours: list[np.ndarray] = []
    for kept in parts:
        taken = [table[1], *colours]
        colours.append(_apart(objects, palette, taken) if kept is None else kept)
    # A distractor's colour is one of the objects' as often as not.
    distractors = [
        _colour(others, palette, OBJECT)
        if others.random() < 0.5
        else colours[others.integers(len(colours))]
        for _ in range(condition.distractors)
    ]
    azimuth, elevation = lamp.uniform(-np.pi, np.pi), np.radians(lamp.uniform(*ELEVATION_DEG))
    along = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]) * np.cos(elevation)
    strength, fill, ambient = (_lamp(lamp, between) for between in (STRENGTH, FILL, AMBIENT))
    return Look(
        np.array(colours).reshape(-1, 3), np.array(distractors).reshape(-1, 3), table, floor,
        along - (0.0, 0.0, np.sin(elevation)), strength, fill, ambient,
    )  # fmt: skip


def _colour(
    rng: np.random.Generator, palette: Palette, tone: tuple[tuple[float, float], ...]
) -> np.ndarray:
    hue, saturation, value = (rng.uniform(*between) for between in (palette.hues, *tone))
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def _apart(rng: np.random.Generator, palette: Palette, taken: Sequence[np.ndarray]) -> np.ndarray:
    for _ in range(DRAWS):
        colour = _colour(rng, palette, OBJECT)
        if all(np.linalg.norm(colour - other) >= APART for other in taken):
            break
    return colour


def _lamp(rng: np.random.Generator, between: tuple[float, float]) -> np.ndarray:
    warmth = rng.uniform(-WARMTH, WARMTH)
    return rng.uniform(*between) * np.array([1 + warmth, 1.0, 1 - warmth])


def add_patterns(spec: mujoco.MjSpec) -> None:
    """Add a material for every pattern of every palette, for the table and for the floor."""
    for name in (name for palette in PALETTES.values() for name in palette.patterns):
        texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D)
        texture.width, texture.height, texture.nchannel = SIZE, SIZE, 3
        texture.data = pattern(name).tobytes()
        for place, options in (("table", {}), ("floor", {"texrepeat": (1, 1), "texuniform": True})):
            material = spec.add_material(name=f"{place}_{name}", specular=0.05, **options)
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


class Painter:
    """Paints looks onto one model that has `add_patterns`.

    Args:
        model: The compiled scene.
        bodies: Of the task's objects; all that hangs on them is painted.
        keep: They keep their colours.
    """

    def __init__(self, model: mujoco.MjModel, bodies: Sequence[int], keep: bool):
        self._model = model
        self._table, self._floor = model.geom("table").id, model.geom("floor").id
        # A part is all visible geoms of one object that have one colour.
        parts: dict[tuple[int, bytes], list[int]] = {}
        for geom in range(model.ngeom):
            root = int(model.body_rootid[model.geom_bodyid[geom]])
            if root in bodies and model.geom_group[geom] == VISUAL:
                parts.setdefault((root, self._rgb(geom).tobytes()), []).append(geom)
        self._geoms = [np.array(geoms) for geoms in parts.values()]
        self.parts = [self._rgb(geoms[0]).copy() if keep else None for geoms in parts.values()]

    def _rgb(self, geom: int) -> np.ndarray:
        material = int(self._model.geom_matid[geom])
        rgba = self._model.geom_rgba[geom] if material < 0 else self._model.mat_rgba[material]
        return rgba[:3]

    def paint(self, data: mujoco.MjData, look: Look) -> None:
        """Give model and data this look; to be called before drawing."""
        model = self._model
        for geoms, colour in zip(self._geoms, look.colours, strict=True):
            model.geom_rgba[geoms, :3] = colour
        for place, geom in (("table", self._table), ("floor", self._floor)):
            name, colour = getattr(look, place)
            model.geom_matid[geom] = model.material(f"{place}_{name}").id
            model.geom_rgba[geom, :3] = colour
        data.light_xdir[0], data.light_xpos[0] = look.light, model.stat.center - 2.2 * look.light
        model.light_diffuse[:2] = look.strength, look.fill
        model.vis.headlight.ambient[:] = look.ambient
