"""How training images are augmented; apart from the code, so that a command line needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from para.fields import number, word

GEOMETRIC = ("crop", "shift", "scale", "rotate_deg", "camera_rotate_deg")
"""Augmentations that move labels and camera matrices with the image, by key."""


@dataclass
class AugmentConfig:
    """Augmentation (configs/augment); the geometric ones move the camera with the image.

    A policy gets those that its labels can follow (`Policy.follows`); the others are set to 0
    before training, and the configuration that results keep says so.
    """

    name: str = word("none")
    """Part of the identity of runs and results: policies of several lie side by side."""
    without_geometry: str | None = word(None)
    """Name of what is left where the geometric ones are switched off; null: the same."""
    crop: float = number(0.0, least=0, below=1)
    """Largest fraction of the image cut away by a random crop (resized back to full size)."""
    shift: float = number(0.0, least=0, below=1)
    """Largest shift, as a fraction of the image size."""
    scale: float = number(0.0, least=0, below=1)
    """Scale is drawn from [1 - scale, 1 + scale]."""
    rotate_deg: float = number(0.0, least=0, most=180)
    """Largest in-plane rotation."""
    camera_rotate_deg: float = number(0.0, least=0, most=90)
    """Largest rotation of the camera about its own centre (pan and tilt): an exact homography."""
    camera_error_deg: float = number(0.0, least=0, most=90)
    """Largest error of the told camera's rotation: what is told turns, the image stays."""
    camera_error_mm: float = number(0.0, least=0, most=1000)
    """Largest error of the told camera's position."""
    brightness: float = number(0.0, least=0, most=1)
    contrast: float = number(0.0, least=0, most=1)
    saturation: float = number(0.0, least=0, most=1)
    hue: float = number(0.0, least=0, most=0.5)
    """Largest hue shift, as a fraction of the colour circle."""
    noise: float = number(0.0, least=0, most=1)
    """Standard deviation of additive Gaussian noise, images in [0, 1]."""
    force: bool = False
    """Keep what the policy cannot follow, too. Its labels then contradict its images: a control."""

    def followed(self, follows: Collection[str]) -> AugmentConfig:
        """What is left for a policy whose labels follow the keys in `follows`, of `GEOMETRIC`."""
        if self.force:
            return self
        left = replace(self, **{key: 0.0 for key in GEOMETRIC if key not in follows})
        if self.without_geometry and not any(getattr(left, key) for key in GEOMETRIC):
            left = replace(left, name=self.without_geometry, without_geometry=None)
        return left


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The augmentation of an older file, which had no name yet, with the name that it has now."""
    if "name" in values:
        return dict(values)
    if any(values.get(key) for key in GEOMETRIC):
        return {**values, "name": "camera"}
    return {**values, "name": "colour" if any(values.values()) else "none"}
