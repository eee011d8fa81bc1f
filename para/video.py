"""H.264 videos that browsers play, and the drawing on their frames.

Frames and pictures are (H, W, 3) uint8 RGB arrays. Pixel coordinates follow para/camera.py: (u, v)
with the first pixel's centre at (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image, ImageDraw, ImageFont

from para.errors import ParaError
from para.files import atomic_write

Colour = tuple[int, int, int]

HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#2b0a3d", "#7b1f6b", "#d8424f", "#f9a03f", "#fff6c9"]
)
"""Colours of heatmaps: dark to light, so that they also read in grey."""


class VideoError(ParaError):
    """A video that cannot be written or read."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself."""

    width: int
    height: int
    frames: int
    fps: float
    codec: str
    pixel_format: str
    comment: str
    """Free text given to `open_video`."""

    @property
    def seconds(self) -> float:
        """Duration [s]."""
        return self.frames / self.fps


class VideoWriter:
    """Takes the frames of a video one by one (made by `open_video`)."""

    def __init__(self, container: av.container.OutputContainer, fps: int, crf: int):
        self._container, self._fps, self._crf = container, fps, crf
        self._stream: av.VideoStream | None = None

    def add(self, frame: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8; all must have one size. Odd sizes lose a row or column.

        Raises:
            VideoError: The frame is not such an array or has another size than the first.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise VideoError(f"A frame is (H, W, 3) uint8, got {frame.shape} {frame.dtype}.")
        height, width = (n - n % 2 for n in frame.shape[:2])  # yuv420p halves the colour planes
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._fps)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            # One thread: videos are made by one of several processes that share the cores.
            self._stream.codec_context.thread_count = 1
            self._stream.options = {"crf": str(self._crf), "preset": "medium"}
        if (self._stream.width, self._stream.height) != (width, height):
            raise VideoError(
                f"All frames have one size: the first was {self._stream.width} x "
                f"{self._stream.height}, this one is {width} x {height}."
            )
        picture = np.ascontiguousarray(frame[:height, :width])
        self._mux(av.VideoFrame.from_ndarray(picture, format="rgb24"))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is None:
            raise VideoError("A video needs at least one frame.")
        self._mux(None)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        self._container.mux(self._stream.encode(picture))


@contextmanager
def open_video(
    path: Path | str, fps: int = 25, crf: int = 23, comment: str = ""
) -> Iterator[VideoWriter]:
    """Write an H.264 video (yuv420p, faststart) frame by frame.

    The file appears under its name when the block ends, and not at all if it raises.

    Args:
        path: Ends in .mp4.
        fps: Frames per second.
        crf: Quality of x264: 18 is visually lossless, 6 more halve the size.
        comment: Stored in the file's metadata.
    """
    # faststart: the index comes first, so that a browser plays before it has the whole file.
    options = {"movflags": "+faststart"}
    with (
        atomic_write(path) as aside,
        av.open(str(aside), "w", format="mp4", options=options) as container,
    ):
        container.metadata["comment"] = comment
        video = VideoWriter(container, fps, crf)
        yield video
        video.finish()


def write_video(
    path: Path | str, frames: Iterable[np.ndarray], fps: int = 25, crf: int = 23, comment: str = ""
) -> Path:
    """Write frames (H, W, 3) uint8 as H.264 (yuv420p, faststart), atomically; return the path."""
    with open_video(path, fps, crf, comment) as video:
        for frame in frames:
            video.add(frame)
    return Path(path)


def read_video(path: Path | str) -> np.ndarray:
    """All frames of a video, (N, H, W, 3) uint8 RGB."""
    with _open(path) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def read_frames(path: Path | str, indices: Iterable[int]) -> list[np.ndarray]:
    """Some frames of a video, each (H, W, 3) uint8 RGB, in the order of the video.

    Raises:
        VideoError: It has no such frame.
    """
    wanted, found = set(indices), []
    with _open(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
    if len(found) < len(wanted):
        raise VideoError(f"{path} has no frame {max(wanted)}.")
    return found


def write_picture(path: Path | str, image: np.ndarray) -> Path:
    """Write an (H, W, 3) uint8 RGB picture as PNG, atomically; return the path."""
    with atomic_write(path) as aside:
        Image.fromarray(image).save(aside, "PNG")
    return Path(path)


def probe_video(path: Path | str) -> VideoInfo:
    """Size, length and codec of a video, without decoding it."""
    with _open(path) as container:
        stream = container.streams.video[0]
        return VideoInfo(
            width=stream.width,
            height=stream.height,
            frames=stream.frames,
            fps=float(stream.average_rate),
            codec=stream.codec_context.name,
            pixel_format=stream.pix_fmt,
            comment=container.metadata.get("comment", ""),
        )


def _open(path: Path | str) -> av.container.InputContainer:
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path} is not a readable video: {error}.") from error


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Image (H, W, 3) at another size: smooth when enlarged, area-averaged when reduced."""
    smaller = width < image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)


def overlay_heatmap(image: np.ndarray, heatmap: np.ndarray, strength: float = 0.8) -> np.ndarray:
    """Lay a heatmap (h, w) >= 0 over an image (H, W, 3); where it is near zero the image shows.

    The heatmap is scaled by its maximum; its square root is drawn, so that faint modes are seen.
    """
    height, width = image.shape[:2]
    top = float(heatmap.max())
    if top <= 0:
        return image.copy()
    level = np.sqrt(np.clip(heatmap, 0, None).astype(np.float32) / top)
    level = np.clip(cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    alpha = strength * np.clip(1.25 * level, 0, 1)[..., None]
    heat = 255 * HEAT(level)[..., :3]
    return np.round(image * (1 - alpha) + heat * alpha).astype(np.uint8)


def draw_dot(
    image: np.ndarray, pixel: Sequence[float], radius: float, colour: Colour, outline: int = 2
) -> None:
    """Draw a filled, outlined, antialiased disc at pixel (u, v) into `image`, in place.

    Nothing is drawn for NaN: the waypoint has no place (`ActionChunk.missed`).
    """
    if np.isnan(pixel).any():
        return
    centre = _fixed_point(pixel)
    for r, c in ((radius + outline, (20, 20, 20)), (radius, colour)):
        cv2.circle(image, centre, round(r * 16), c, cv2.FILLED, cv2.LINE_AA, shift=4)


def draw_path(image: np.ndarray, pixels: np.ndarray, colour: Colour, thickness: int = 2) -> None:
    """Draw an outlined line through pixels (n, 2) into `image`, in place."""
    points = np.array([_fixed_point(p) for p in pixels], np.int32).reshape(-1, 1, 2)
    for width, c in ((thickness + 2, (20, 20, 20)), (thickness, colour)):
        cv2.polylines(image, [points], False, c, width, cv2.LINE_AA, shift=4)


def draw_text(
    image: np.ndarray,
    text: str,
    xy: tuple[int, int],
    size: int = 16,
    colour: Colour = (255, 255, 255),
    bold: bool = False,
    outline: int = 0,
    anchor: str = "la",
) -> None:
    """Draw text into `image`, in place.

    Args:
        image: (H, W, 3) uint8.
        text: One or several lines.
        xy: Where the anchor goes, (x, y) [px].
        size: Height of the type [px].
        colour: Of the letters.
        bold: Heavier type.
        outline: Width of a dark outline, for text over pictures [px].
        anchor: Pillow's text anchor: la is left top, ra right top, mm the middle.
    """
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(
        xy,
        text,
        fill=colour,
        font=_font(size, bold),
        anchor=anchor if "\n" not in text else None,
        stroke_width=outline,
        stroke_fill=(20, 20, 20),
    )
    image[...] = np.asarray(picture)


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of a line as `draw_text` draws it [px]."""
    return math.ceil(_font(size, bold).getlength(text))


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    properties = font_manager.FontProperties(
        family="DejaVu Sans", weight="bold" if bold else "normal"
    )
    return ImageFont.truetype(font_manager.findfont(properties), size)


def _fixed_point(pixel: Sequence[float]) -> tuple[int, int]:
    """(u, v) in OpenCV's fixed point with 4 fractional bits, whose pixel centres are integers."""
    u, v = np.clip(np.asarray(pixel, np.float64), -4000, 8000)
    return round((u - 0.5) * 16), round((v - 0.5) * 16)
