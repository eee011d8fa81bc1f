"""What scripts/check_data.py shows and says: contact sheet, films, findings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from para.camera import Camera
from para.data.check_config import CheckDataConfig
from para.data.checks import Finding, check_demos
from para.data.format import FRAME_SECONDS, Episode, episode_path, read_episode
from para.data.own import open_own
from para.data.preview import CLOSED, OPEN
from para.video import draw_dot, draw_path, draw_text, resize, write_picture, write_video

TILE, FILM = 224, 448
"""Widths [px]."""


@dataclass(frozen=True)
class Checked:
    """What was found, by which numbers, and the pictures to look at."""

    findings: list[Finding]
    numbers: dict[str, float]
    pictures: list[Path]

    def report(self) -> str:
        """A few lines for people."""
        known = self.numbers
        lines = [f"{known['demos']:.0f} demos looked at."]
        if "agreement" in known:
            lines.append(
                f"Projected poses move with the image: agreement {known['agreement']:.2f} (right "
                f"is 0.6 and more), poses {known['lag_s']:+.2f} s behind the images."
            )
        if "lowest_m" in known:
            lines.append(
                f"Lowest tool z = {known['lowest_m']:.3f} m, {100 * known['outside']:.0f} % of the "
                "labels outside the image."
            )
        for finding in self.findings:
            lines += [f"WRONG {finding.fault}: {finding.says}", f"  mend: {finding.mend}."]
        if not self.findings:
            lines.append("Nothing wrong was found. Look at the pictures all the same:")
        return "\n".join([*lines, *(f"  {path}" for path in self.pictures)])


def check_data(cfg: CheckDataConfig) -> Checked:
    """Look at a set of demos, and draw it.

    Raises:
        DataError: There are none, or one is damaged.
    """
    own = open_own(cfg.data)
    places = np.linspace(0, len(own.indices) - 1, min(cfg.demos, len(own.indices)))
    episodes = [
        read_episode(episode_path(own.folder, own.indices[k])) for k in places.round().astype(int)
    ]
    findings, numbers = check_demos(episodes)
    pictures = [write_picture(cfg.folder / "contact_sheet.png", _sheet(episodes))]
    for episode in episodes[: cfg.films]:
        frames = (_drawn(episode, t, FILM) for t in range(episode.meta.num_samples))
        path = cfg.folder / f"demo_{episode.meta.index:05d}.mp4"
        pictures.append(write_video(path, frames, fps=round(1 / FRAME_SECONDS)))
    return Checked(findings, numbers, pictures)


def _sheet(episodes: list[Episode]) -> np.ndarray:
    """A row per demo: its first frame, three between, and the last one."""
    rows = []
    for episode in episodes:
        times = np.linspace(0, episode.meta.num_samples - 1, 5).round().astype(int)
        rows.append(np.hstack([_drawn(episode, int(t), TILE) for t in times]))
        draw_text(rows[-1], f"demo {episode.meta.index}", (6, 4), 14, outline=2)
    height = max(len(row) for row in rows)
    return np.vstack([np.pad(r, ((0, height - len(r) + 2), (0, 0), (0, 0))) for r in rows])


def _drawn(episode: Episode, frame: int, width: int) -> np.ndarray:
    """A frame with the tool's projected path, its place now, and the world's axes on the table."""
    image = episode.images([frame])[0]
    height = 2 * round(width * image.shape[0] / image.shape[1] / 2)
    arrays = episode.arrays
    camera = Camera(
        arrays["obs/intrinsics"][frame],
        arrays["obs/T_world_camera"][frame],
        *(image.shape[1], image.shape[0]),
    ).resized(width, height)
    picture = resize(image, width, height)
    for axis, colour in zip(np.eye(3), ((230, 60, 60), (60, 200, 60), (80, 120, 255)), strict=True):
        ends, depth = camera.project(np.stack([np.zeros(3), 0.1 * axis]))
        if (depth > 0).all():
            draw_path(picture, ends, colour, 2)
    pixels, depth = camera.project(arrays["obs/ee_pose"][:, :3].astype(np.float64))
    ahead = pixels[frame:][depth[frame:] > 0]
    colour = OPEN if arrays["obs/gripper"][frame] > 0.5 else CLOSED
    if len(ahead) > 1:
        draw_path(picture, ahead, colour, 1)
    if depth[frame] > 0:
        draw_dot(picture, pixels[frame], width / 60, colour)
    return picture
