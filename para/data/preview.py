"""Looking at a data set: a contact sheet, and videos of its first, middle and last demo.

The end effector's path is drawn with each frame's own camera matrices, so a wrong matrix is seen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from para.camera import Camera
from para.data.format import FRAME_SECONDS, Episode, EpisodeMeta, episode_path, read_episode
from para.video import draw_dot, draw_path, draw_text, resize, write_picture, write_video

TILES = 64
"""At most so many demos on a contact sheet, spread evenly over the set."""
TILE = 160
"""Size of a tile [px]."""
VIDEO = 448
"""Size of a video [px]."""
OPEN, CLOSED = (64, 196, 255), (255, 160, 48)
"""Colours of the path where the gripper is open, and where it is closed."""


def write_previews(folder: Path, metas: list[EpisodeMeta], output: Path) -> list[Path]:
    """Write contact_sheet.png and train_demo_<index>.mp4 of a data set into `output`."""
    paths = [contact_sheet(folder, metas, output / "contact_sheet.png")]
    chosen = sorted({0, len(metas) // 2, len(metas) - 1})
    for meta in (metas[place] for place in chosen):
        paths.append(demo_video(folder, meta, output / f"train_demo_{meta.index}.mp4"))
    return paths


def contact_sheet(folder: Path, metas: list[EpisodeMeta], path: Path) -> Path:
    """Write a picture of the first frames of up to TILES demos, with the path that follows."""
    chosen = np.unique(np.linspace(0, len(metas) - 1, TILES).round().astype(int))
    tiles = []
    for meta in (metas[place] for place in chosen):
        tile = annotated_frame(read_episode(episode_path(folder, meta.index)), 0, TILE)
        condition = meta.condition
        view = f"  {condition['theta_deg']:.0f}°/{condition['phi_deg']:.0f}°"
        label = f"{meta.index}{view if condition['theta_deg'] else ''}"
        draw_text(tile, label + ("" if meta.success else "  FAILED"), (5, 3), 12, outline=2)
        tiles.append(np.pad(tile, ((0, 2), (0, 2), (0, 0)), constant_values=255))
    columns = int(np.ceil(np.sqrt(len(tiles))))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    sheet = np.vstack(rows)
    title = np.full((34, sheet.shape[1], 3), 255, np.uint8)
    failed = sum(not meta.success for meta in metas)
    text = f"{folder.name}: {len(metas)} demos, {len(chosen)} shown"
    text += f", {failed} failed" if failed else ""
    draw_text(title, text, (8, 8), 16, (30, 30, 30))
    return write_picture(path, np.vstack([title, sheet]))


def demo_video(folder: Path, meta: EpisodeMeta, path: Path) -> Path:
    """Write a demo as H.264, in real time."""
    episode = read_episode(episode_path(folder, meta.index))
    frames = (annotated_frame(episode, i, VIDEO) for i in range(meta.num_samples))
    return write_video(path, frames, fps=round(1 / FRAME_SECONDS))


def annotated_frame(episode: Episode, frame: int, size: int) -> np.ndarray:
    """Frame of a demo at `size` x `size`, with where the end effector is and will be."""
    image = episode.images([frame])[0]
    camera = Camera(
        episode.arrays["obs/intrinsics"][frame],
        episode.arrays["obs/T_world_camera"][frame],
        image.shape[1],
        image.shape[0],
    ).resized(size, size)
    picture = resize(image, size, size)
    ahead = slice(frame, None)
    pixels = camera.project(episode.arrays["obs/ee_pose"][ahead, :3].astype(np.float64))[0]
    closed = episode.arrays["actions"][ahead, 3] < 0.5
    changes = np.flatnonzero(np.diff(closed)) + 1
    thickness = max(1, size // 200)
    for piece in np.split(np.arange(len(pixels)), changes):
        reach = np.append(piece, min(piece[-1] + 1, len(pixels) - 1))  # up to the next piece
        draw_path(picture, pixels[reach], CLOSED if closed[piece[0]] else OPEN, thickness)
    draw_dot(picture, pixels[0], size / 90, CLOSED if closed[0] else OPEN, outline=1)
    return picture
