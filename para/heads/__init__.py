"""Heads: from a feature map to waypoints (where in the image, how high, gripper, rotation)."""

from __future__ import annotations

from para.heads.base import Decoded, Head, Labels, frame_weights
from para.heads.pixel import FactorisedHead
from para.heads.volume import VolumeHead

__all__ = ["HEADS", "Decoded", "FactorisedHead", "Head", "Labels", "VolumeHead", "frame_weights"]

HEADS: dict[str, type[Head]] = {"factorised": FactorisedHead, "volume": VolumeHead}
"""Value of model.head -> class."""
