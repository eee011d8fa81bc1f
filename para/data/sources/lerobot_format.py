"""What LeRobot's data sets v3 look like, for reading and for writing (pyarrow, not lerobot).

    meta/info.json                          codebase_version, fps, features, path templates
    meta/stats.json                         per feature: min, max, mean, std, count, quantiles
    meta/tasks.parquet                      instruction (index) -> task_index
    meta/episodes/chunk-000/file-000.parquet   per episode: length, tasks, where its rows and
                                            films lie
    data/chunk-000/file-000.parquet         per frame: all features but films
    videos/<key>/chunk-000/file-000.mp4     several episodes, one after the other

There is no agreed place for camera matrices (lerobot #4417). Here they are features of each frame:
`camera.<name>.intrinsics` (9,) and `camera.<name>.T_world_camera` (16,), row by row in float64,
beside `observation.images.<name>`: policies of LeRobot take no feature of that name for an input.
"""

from __future__ import annotations

from pathlib import Path

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES, TASKS = "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"
EPISODE_FILES = "meta/episodes/*/*.parquet"
INFO, STATS = "meta/info.json", "meta/stats.json"
OURS = "meta/para.json"
"""What demo files say besides numbers per frame; LeRobot does not read it."""
IMAGES = "observation.images."
STATE, ACTION = "observation.state", "action"
OBJECTS = "objects."
"""Beginning of the features that hold poses of objects."""
NUMBERED = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Features that every set has."""
FILES_PER_CHUNK = 1000


def matrices(camera: str) -> tuple[str, str]:
    """Features with the intrinsics and the extrinsics of a camera."""
    return f"camera.{camera}.intrinsics", f"camera.{camera}.T_world_camera"


def numbered(template: str, file: int, key: str = "") -> Path:
    """Path of the n-th file of a kind."""
    chunk, index = divmod(file, FILES_PER_CHUNK)
    return Path(template.format(chunk_index=chunk, file_index=index, video_key=key))
