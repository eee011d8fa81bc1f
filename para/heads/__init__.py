"""Heads: from a feature map to waypoints (where in the image, how high, gripper, rotation)."""

from para.heads.base import HEADS, Decoded, Head, HeadConfig, Labels, frame_weights

__all__ = ["HEADS", "Decoded", "Head", "HeadConfig", "Labels", "frame_weights"]
