"""Geometry that is not a MuJoCo primitive: the Panda's meshes, turned dishes, a wooden table top.

The Panda's visual meshes come with the `gymnasium-robotics` package (Apache 2.0). Their 134,000
faces would be most of the cost of software rendering, so each is decimated to about 1500 faces when
a model is built, and kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from envs.table.cache import cache_dir
from para.errors import ParaError
from para.files import atomic_write

FACES = 1500
_VERSION = 1  # part of the cache key: raise it when `_decimate` changes


class AssetError(ParaError):
    """A mesh that is not where its package should have put it."""


def _panda_folder() -> Path:
    # find_spec does not import the package, whose import is slow and registers environments.
    spec = importlib.util.find_spec("gymnasium_robotics")
    if spec is None or spec.origin is None:
        raise AssetError(
            "The Panda's meshes come with gymnasium-robotics, which is not installed. "
            "Install it with: pip install gymnasium-robotics"
        )
    root = Path(spec.origin).parent / "envs" / "assets" / "kitchen_franka"
    return root / "franka_assets" / "meshes" / "visual"


def _read_stl(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a binary STL file, equal vertices merged."""
    count = int(np.frombuffer(content, "<u4", 1, offset=80)[0])
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.frombuffer(content, record, count, offset=84)["corners"].reshape(-1, 3)
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    faces = index.reshape(-1, 3)
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])
    return vertices, faces[proper & (faces[:, 2] != faces[:, 0])]


def _decimate(content: bytes, faces: int) -> tuple[np.ndarray, np.ndarray]:
    import fast_simplification

    vertices, triangles = _read_stl(content)
    if len(triangles) <= faces:
        return vertices, triangles
    vertices, triangles = fast_simplification.simplify(
        np.ascontiguousarray(vertices, np.float32),
        np.ascontiguousarray(triangles, np.int32),
        target_count=faces,
    )
    return vertices, triangles


def panda_mesh(name: str, faces: int = FACES) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) float32 [m] and faces (F, 3) int32 of a Panda mesh, F <= about `faces`.

    Args:
        name: link0 ... link7, hand or finger.
        faces: Where decimation stops.

    Raises:
        AssetError: The mesh, or its package, is not installed.
    """
    source = _panda_folder() / f"{name}.stl"
    if not source.is_file():
        raise AssetError(
            f"gymnasium-robotics is installed without its mesh {name}.stl. "
            "Reinstall it with: pip install --force-reinstall gymnasium-robotics"
        )
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    cached = cache_dir() / "meshes" / f"{name}-{digest}-{faces}-v{_VERSION}.npz"
    if not cached.is_file():
        vertices, triangles = _decimate(content, faces)
        with atomic_write(cached) as aside:
            np.savez(aside, vertices=vertices.astype("f4"), faces=triangles.astype("i4"))
    with np.load(cached) as stored:
        return stored["vertices"], stored["faces"]


def lathe(profile: np.ndarray, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn a closed profile (N, 2) of (radius, height) [m] about z.

    Returns vertices (N * segments, 3) and faces (2 * N * segments, 3), outward for a profile that
    runs counter-clockwise in the (radius, height) plane. Radii must be positive (the axis is left
    open by a pin hole; use 1e-4).
    """
    angles = 2 * np.pi * np.arange(segments) / segments
    r, z = profile.T
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    xy = r[:, None, None] * ring[None]
    height = np.broadcast_to(z[:, None, None], (len(r), segments, 1))
    vertices = np.concatenate([xy, height], axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(len(r)), np.arange(segments), indexing="ij")
    i1, j1 = (i + 1) % len(r), (j + 1) % segments
    a, b, c, d = (p * segments + q for p, q in ((i, j), (i1, j), (i1, j1), (i, j1)))
    faces = np.concatenate([np.stack([a, d, c], -1), np.stack([a, c, b], -1)])
    return vertices.astype("f4"), faces.reshape(-1, 3).astype("i4")


def wood_texture(size: int = 512, planks: int = 5, seed: int = 3) -> np.ndarray:
    """A (size, size, 3) uint8 picture of matte light planks that run along the second axis."""
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")
    plank = np.minimum((v * planks).astype(int), planks - 1)
    shift = rng.uniform(0, 10, planks)[plank]
    tone = rng.uniform(-0.035, 0.035, planks)[plank]
    wave = 0.25 * np.sin(2 * np.pi * (1.3 * u + shift)) + 0.12 * np.sin(
        2 * np.pi * (3.1 * u + shift)
    )
    grain = np.sin(2 * np.pi * (planks * 4 * v + wave + shift))
    fine = rng.normal(0, 1, (size, 1)) * np.ones((1, size))
    light = 1.0 + tone + 0.022 * grain + 0.012 * fine
    seam = np.abs((v * planks) % 1.0 - 0.5) > 0.5 - 0.008 * planks / 5
    light = np.where(seam, light * 0.86, light)
    colour = np.array([0.80, 0.70, 0.575])
    return np.clip(255 * light[..., None] * colour, 0, 255).astype(np.uint8)
