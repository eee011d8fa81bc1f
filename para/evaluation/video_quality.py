"""How good are generated clips? PSNR and SSIM against what really happened after a first frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from para.backbones.video import VideoBackbone
from para.data.dataset import DemoDataset
from para.errors import ConfigError
from para.runs.policy_file import load_policy

_BATCH = 8


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] of images or clips in [0, 1]."""
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-10)))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of images (H, W, 3) in [0, 1] (Wang et al., 2004), mean over pixels.

    Gaussian windows of 1.5 px standard deviation and 11 px width, K1 = 0.01, K2 = 0.03, per
    channel.
    """

    def smooth(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, (1.5, 1.5, 0), truncate=5 / 1.5)

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return float(np.mean(luminance * structure))


def load_video_backbone(folder: Path | str) -> VideoBackbone:
    """The video backbone of a run on one (model=video, or a policy), in eval mode.

    Raises:
        ConfigError: The run has no video backbone.
        CheckpointError: See `para.runs.policy_file.load_policy`.
    """
    policy, _ = load_policy(folder)
    if not policy.backbone.learns_video:
        raise ConfigError(f"{folder} has no video backbone: nothing can be generated from it.")
    return policy.backbone


def first_samples(dataset: DemoDataset, times: Sequence[float]) -> np.ndarray:
    """Sample numbers of some moments of every demo: times in [0, 1) of each one's length."""
    lengths = np.array([meta.num_samples for meta in dataset.metas])
    starts = np.cumsum(lengths) - lengths
    return (starts[:, None] + np.floor(lengths[:, None] * np.array(times)).astype(int)).ravel()


def generate_clips(
    backbone: VideoBackbone, dataset: DemoDataset, samples: np.ndarray, steps: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """True and generated clips, each (N, F, H, W, 3) in [0, 1] at the size of the demos' images.

    Args:
        backbone: A trained video backbone.
        dataset: Demos with clips of the backbone's frames and stride.
        samples: N sample numbers: the first frames.
        steps: Passes of the UNet per clip.
    """
    true, generated = [], []
    for part in np.array_split(samples, max(1, len(samples) // _BATCH)):
        clip = dataset.batch(part)["clip"]
        made = backbone.generate(clip[:, 0], steps)
        if made.shape[3:] != clip.shape[3:]:
            made = torch.nn.functional.interpolate(
                made.flatten(0, 1), clip.shape[3:], mode="bilinear", antialias=True
            ).unflatten(0, clip.shape[:2])
        true.append(clip)
        generated.append(made.clamp(0, 1))
    return tuple(torch.cat(x).permute(0, 1, 3, 4, 2).numpy() for x in (true, generated))


def quality(true: np.ndarray, generated: np.ndarray) -> list[dict[str, Any]]:
    """Means per frame 1 ... F - 1 over clips (N, F, H, W, 3), and those of repeating frame 0.

    A clip that barely moves is predicted well by its first frame: the second pair of numbers is
    what a video model must beat.
    """
    rows = []
    for frame in range(1, true.shape[1]):
        row: dict[str, Any] = {"frame": frame, "clips": len(true)}
        for name, guess in (("generated", generated[:, frame]), ("first_frame", true[:, 0])):
            pairs = list(zip(true[:, frame], guess, strict=True))
            row[f"{name}_psnr_db"] = round(float(np.mean([psnr(*pair) for pair in pairs])), 2)
            row[f"{name}_ssim"] = round(float(np.mean([ssim(*pair) for pair in pairs])), 4)
        rows.append(row)
    return rows


def contact_sheet(true: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """(2 N h, F w, 3) uint8: each clip's true frames in a row, the generated ones below it."""
    rows = [row for pair in zip(true, generated, strict=True) for row in pair]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    return (sheet.clip(0, 1) * 255).round().astype(np.uint8)
