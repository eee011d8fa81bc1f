"""What a bug report needs, and what a user who cannot render needs: one page about the machine."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
from pathlib import Path

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from omegaconf import OmegaConf

from envs.libero.package import problem_with_package
from envs.table.rendering import probe_backends
from para.backbones.video import VideoBackboneConfig
from para.common import CommonConfig
from para.errors import one_line
from para.places import CONFIGS
from para.system import available_cores, git_hash, hardware, versions

_INSTALL = "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri (egl) or libosmesa6 (osmesa)"
_CV2_LIBRARIES = "apt-get install libgl1 libglib2.0-0"
_CV2_BUILDS = [
    f"opencv-{build}python{headless}"
    for build in ("", "contrib-")
    for headless in ("", "-headless")
]
"""Packages that bring a cv2; one of them overwrites the other's files."""
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_VIDEO_FILES = ("unet/diffusion_pytorch_model.safetensors",)


def examine(cfg: CommonConfig) -> tuple[str, bool]:
    """Return a report for people and whether everything that PARA needs works."""
    machine, packages, backends = hardware(), versions(), probe_backends()
    missing = [name for name, version in packages.items() if version == "missing"]
    renders = any(backend["works"] for backend in backends.values())
    sections = {
        "Versions": {"para": git_hash()} | packages,
        "Machine": {
            "platform": machine["platform"],
            "cpu": machine["cpu"],
            "cores": f"{available_cores()} usable (os.cpu_count() says {os.cpu_count()})",
            "memory": f"{machine['memory_gb']} GB",
            "gpu": ", ".join(machine["gpus"]) or "none: training and evaluation use the CPU",
            "bf16 on the CPU": _bf16(),
            "disk": _free_space(cfg.data_dir),
        },
        f"Rendering (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')})": {
            name: f"works, {backend['fps']:.0f} fps on a 64 px test scene"
            if backend["works"]
            else f"does not work: {backend['reason']}"
            for name, backend in backends.items()
        },
        "Extras": {"libero": problem_with_package() or "works"},
        "Pretrained weights": _cached_weights(),
    }
    lines = []
    for title, rows in sections.items():
        lines += [title] + [f"  {name:<24} {value}" for name, value in rows.items()] + [""]
    if not renders:
        lines.append(f"PROBLEM: no rendering backend produces a frame. {_INSTALL}")
    if missing:
        lines.append(f"PROBLEM: not installed: {', '.join(missing)}. Run `make setup`.")
    problems = _cv2_problems()
    lines += [f"PROBLEM: {problem}" for problem in problems]
    healthy = renders and not missing and not problems
    lines.append("Everything that PARA needs works." if healthy else "See the problems above.")
    return "\n".join(lines), healthy


def _cv2_problems() -> list[str]:
    """What is wrong with cv2: it cannot be imported, or several packages bring one."""
    problems = []
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        problems.append(f"cv2 cannot be imported: {one_line(error)}. {_CV2_LIBRARIES}")
    builds = [name for name in _CV2_BUILDS if _installed(name)]
    if len(builds) > 1:
        problems.append(
            f"{' and '.join(builds)} are both installed, and each overwrites files of the other. "
            f"Run: pip uninstall {' '.join(builds)}, then: pip install opencv-python"
        )
    return problems


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _bf16() -> str:
    native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "native" if native else "emulated: training.precision=fp32 is faster"


def _free_space(folder: str) -> str:
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return f"{shutil.disk_usage(path).free / 1e9:.0f} GB free for {folder}/"


def _cached_weights() -> dict[str, str]:
    """Whether each backbone of configs/backbone finds its published weights without a download."""
    found = {}
    for path in sorted((CONFIGS / "backbone").glob("*.yaml")):
        config = OmegaConf.load(path)
        name = config.get("timm_name")
        if name and timm.is_model(name):
            hub, files = timm.get_pretrained_cfg(name).hf_hub_id, _WEIGHT_FILES
        elif config.get("weights") == "pretrained":
            hub, files = config.get("hub", VideoBackboneConfig.hub), _VIDEO_FILES
        else:
            continue
        cached = hub and any(isinstance(try_to_load_from_cache(hub, file), str) for file in files)
        found[path.stem] = f"cached ({hub})" if cached else f"not cached ({hub or 'no hub entry'})"
    return found
