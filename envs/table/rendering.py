"""One place that decides how pictures are made, and the renderer that makes them.

`choose_backend` runs when `envs` is imported, before mujoco: mujoco reads MUJOCO_GL only once.
"""

from __future__ import annotations

import atexit
import ctypes.util
import importlib.util
import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.table.cache import cache_dir
from para.camera import Camera
from para.errors import ParaError, RenderError, UnknownNameError
from para.files import atomic_write_json, read_json
from para.places import typed

if TYPE_CHECKING:
    import mujoco

log = logging.getLogger(__name__)

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_PACKAGES = {"egl": "libegl1 libegl-mesa0 libgl1-mesa-dri", "osmesa": "libosmesa6"}
_OFF = ("disable", "disabled", "off", "false", "0")
_BACKENDS = (*_LIBRARIES, "glfw", "glx", "wgl", "cgl", "enable", "enabled", "on", "true", "1")
_REFUSED = "PARA_RENDERING_REFUSED"
"""Environment variable in which our processes learn why the user's MUJOCO_GL was turned off."""
_WATCHDOG_S = 60.0
_PROBE = """
import sys, time, mujoco
xml = '<mujoco><worldbody><light pos="0 0 3"/><geom size=".5" rgba="1 0 0 1"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 64, 64)
renderer.update_scene(data)
lit = renderer.render().max() > 0
start = time.perf_counter()
for _ in range(50):
    renderer.update_scene(data)
    renderer.render()
fps = 50 / (time.perf_counter() - start)
sys.stdout.write(f"{'FPS' if lit else 'BLACK'} {fps}")
sys.stdout.flush()
import os; os._exit(0)
"""


def probe_backend(name: str) -> dict[str, Any]:
    """Render 50 small frames with a backend in a process of its own, so that nothing can hang here.

    Returns {"works": bool, "fps": float | None, "reason": str}.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
    environment["MUJOCO_GL"] = name
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=environment, capture_output=True, text=True, timeout=_WATCHDOG_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"works": False, "fps": None, "reason": f"no frame in {_WATCHDOG_S:.0f} s"}
    words = done.stdout.split()
    if done.returncode == 0 and words[:1] == ["FPS"]:
        return {"works": True, "fps": float(words[1]), "reason": ""}
    error = done.stderr.strip().splitlines()
    reason = error[-1] if error else "the frame was black"
    return {"works": False, "fps": None, "reason": reason}


def probe_backends() -> dict[str, dict[str, Any]]:
    """Try every headless backend of this system (for the doctor); see `probe_backend`."""
    names = list(_LIBRARIES) if platform.system() == "Linux" else ["glfw"]
    return {name: probe_backend(name) for name in names}


def _machine_key() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text().strip() if boot.is_file() else ''} {sys.prefix}"


def choose_backend() -> str:
    """Set MUJOCO_GL unless the user has, and return it.

    With a value of the user's that mujoco could not even be imported with, MUJOCO_GL is "disable".
    On Linux: egl if it renders a frame, else osmesa if that does; tried once a boot, in a
    subprocess, and remembered in the cache folder. If neither works MUJOCO_GL is "disable": physics
    still runs, and the first `Renderer` raises an error that names the packages to install.
    """
    chosen = _choose()
    if chosen.lower().strip() == "osmesa":  # its library brings LLVM along when mujoco is imported
        _load_triton_first()
    return chosen


def _choose() -> str:
    if chosen := os.environ.get("MUJOCO_GL"):
        if reason := _unusable(chosen):
            os.environ[_REFUSED] = f"MUJOCO_GL={chosen!r}: {reason}"
            os.environ["MUJOCO_GL"] = chosen = "disable"
        return chosen
    if platform.system() != "Linux":
        return ""
    if "mujoco" in sys.modules:
        log.warning("mujoco was imported before envs: set MUJOCO_GL=egl if rendering fails")
        return ""
    memory, key = cache_dir() / "rendering.json", _machine_key()
    try:
        remembered = read_json(memory)
        if remembered.get("key") == key and remembered["backend"] in _LIBRARIES:
            os.environ["MUJOCO_GL"] = remembered["backend"]
            return remembered["backend"]
    except (ParaError, KeyError, TypeError):
        pass
    for name, library in _LIBRARIES.items():
        if ctypes.util.find_library(library) and probe_backend(name)["works"]:
            os.environ["MUJOCO_GL"] = name
            try:
                atomic_write_json(memory, {"key": key, "backend": name})
            except OSError:
                log.debug("the cache folder %s is not writable", memory.parent)
            return name
    os.environ["MUJOCO_GL"] = "disable"
    return "disable"


def _unusable(chosen: str) -> str:
    """Why `import mujoco` fails with this MUJOCO_GL; "" if nothing is known against it."""
    name = chosen.lower().strip()
    if name not in (*_BACKENDS, *_OFF):
        return f"there is no such backend; use {' or '.join(_LIBRARIES)}, or leave it unset"
    library = _LIBRARIES.get(name)
    if library and not ctypes.util.find_library(library) and not probe_backend(name)["works"]:
        return f"its library {library} is not installed"
    return ""


def _render_error(reason: str) -> RenderError:
    ways = "; or ".join(f"apt-get install {p} (then {b} works)" for b, p in _PACKAGES.items())
    refused = os.environ.get(_REFUSED)
    what = refused or f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r}: {reason}"
    return RenderError(
        f"MuJoCo cannot render a frame on this machine with {what}. For rendering without a "
        f"display: {ways}. `{typed('doctor')}` tries every backend."
    )


def _load_triton_first() -> None:
    """Load triton's copy of LLVM before Mesa's: in the other order the process crashes.

    timm imports torchvision, which imports triton where it is installed, so a process that has
    rendered a frame would die (segmentation fault) when it loads a policy.
    """
    if importlib.util.find_spec("triton") is not None:
        import triton  # noqa: F401


@dataclass(frozen=True)
class Preset:
    """How much a picture may cost."""

    samples: int
    """Multisampling; 0 is off."""
    shadow_size: int
    """Side of the shadow map [px]; 0 is no shadows."""


PRESETS = {"fast": Preset(samples=0, shadow_size=0), "beauty": Preset(samples=8, shadow_size=4096)}
"""fast: what policies see. beauty: videos and figures."""


class Renderer:
    """Draws a model from a `Camera`, exactly as its matrices say.

    One per (model, preset, size), made by `envs.table.scene`, never closed while the process runs:
    closing one can break another. It belongs to the thread that made it.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        preset: str,
        width: int,
        height: int,
        hidden_groups: Sequence[int] = (),
    ):
        """Make one; geometries of `hidden_groups` are not drawn."""
        import mujoco

        if preset not in PRESETS:
            raise UnknownNameError("render preset", preset, PRESETS)
        if os.environ.get("MUJOCO_GL", "").lower() in _OFF:
            raise _render_error("no backend was found")
        self.model, self.width, self.height = model, width, height
        quality, chosen = model.vis.quality, PRESETS[preset]
        quality.offsamples, quality.shadowsize = chosen.samples, max(chosen.shadow_size, 1)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        watchdog = threading.Timer(_WATCHDOG_S, self._complain)
        watchdog.daemon = True
        watchdog.start()
        _load_triton_first()
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        except Exception as error:
            raise _render_error(f"{type(error).__name__}: {error}") from error
        finally:
            watchdog.cancel()
        if not _open_renderers:
            # Registered after the backend's own exit hook, which shuts OpenGL down, so run before.
            atexit.register(_close_all)
        _open_renderers.append(self)
        self.scene = mujoco.MjvScene(model, maxgeom=1000)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = chosen.shadow_size > 0
        self.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = chosen.shadow_size > 0
        self._option = mujoco.MjvOption()
        self._option.geomgroup[list(hidden_groups)] = 0
        self._perturb = mujoco.MjvPerturb()
        self._free_camera = mujoco.MjvCamera()
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    @staticmethod
    def _complain() -> None:
        log.error(
            "No OpenGL context after %.0f s (MUJOCO_GL=%s). If this goes on, interrupt it and set "
            "MUJOCO_GL=osmesa, or see `%s`.",
            _WATCHDOG_S,
            os.environ.get("MUJOCO_GL", ""),
            typed("doctor"),
        )

    def render(self, data: mujoco.MjData, camera: Camera, light: float = 1.0) -> np.ndarray:
        """The picture (height, width, 3) uint8 RGB of `data` seen by `camera`.

        `camera` must have this renderer's width and height; its intrinsics may have any focal
        lengths and principal point, but no skew. `light` multiplies all lamps.
        """
        import mujoco

        if (camera.width, camera.height) != (self.width, self.height):
            raise RenderError(
                f"The camera is {camera.width} x {camera.height} px, this renderer "
                f"{self.width} x {self.height}: use `camera.resized`, or another renderer."
            )
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self.model, data, self._option, self._perturb, self._free_camera,
            mujoco.mjtCatBit.mjCAT_ALL, self.scene,
        )  # fmt: skip
        for lamp in self.scene.lights[: self.scene.nlight] if light != 1.0 else ():
            for part in (lamp.ambient, lamp.diffuse, lamp.specular):
                part *= light
        self._place(camera)
        mujoco.mjr_render(self._viewport, self.scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
        return np.ascontiguousarray(self._pixels[::-1])  # OpenGL's first row is the bottom one

    def _place(self, camera: Camera) -> None:
        """Write the matrices of `camera` into both eyes of the OpenGL scene."""
        near, far = 0.05, 20.0
        K, T = camera.intrinsics, camera.T_world_camera
        left = -K[0, 2] / K[0, 0]
        right = (camera.width - K[0, 2]) / K[0, 0]
        for eye in self.scene.camera:
            eye.pos, eye.forward, eye.up = T[:3, 3], T[:3, 2], -T[:3, 1]
            eye.orthographic = 0
            eye.frustum_near, eye.frustum_far = near, far
            eye.frustum_center = near * (left + right) / 2
            eye.frustum_width = near * (right - left) / 2
            eye.frustum_top = near * K[1, 2] / K[1, 1]
            eye.frustum_bottom = -near * (camera.height - K[1, 2]) / K[1, 1]

    def _close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()


_open_renderers: list[Renderer] = []


def _close_all() -> None:
    """Free OpenGL in order, before the interpreter tears modules down and destructors complain."""
    while _open_renderers:
        _open_renderers.pop()._close()
