"""A file of demonstrations as LIBERO publishes them, from recorded states of its simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

FURNITURE = {
    "wooden_cabinet_1_main": (0.03, -0.27, 0.905, 0.21, 0.0, 0.0, 0.98),
    "flat_stove_1_main": (-0.42, -0.15, 0.905, 1.0, 0.0, 0.0, 0.0),
}
"""Body -> position [m] and quaternion (w, x, y, z), about where both stand."""


def libero_set(
    path: Path,
    scene: str,
    states: np.ndarray,
    ee_pos: np.ndarray,
    *furniture: Mapping[str, np.ndarray],
    rate: float = 20.0,
) -> Path:
    """Write a file with the same demo once for each `furniture`; the gripper is open, then closed.

    Args:
        path: Of the file.
        scene: Name of its BDDL file.
        states: (N, 1 + nq + nv).
        ee_pos: (N, 3) tool centre, LIBERO's frame [m].
        furniture: As FURNITURE.
        rate: Frames per second.
    """
    n = len(states)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        bddl = f"chiliocosm/bddl_files/libero_spatial/{scene}.bddl"
        data.attrs["bddl_file_name"] = bddl
        data.attrs["env_name"] = "Libero_Tabletop_Manipulation"
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": rate}})
        said = {"language_instruction": scene.replace("_", " ")}
        data.attrs["problem_info"] = json.dumps(said)
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["num_demos"], data.attrs["total"] = len(furniture), n * len(furniture)
        for k, poses in enumerate(furniture):
            demo = data.create_group(f"demo_{k}")
            demo.attrs["num_samples"], demo.attrs["init_state"] = n, states[0]
            demo.attrs["model_file"] = _mjcf(poses)
            demo["states"] = states
            gripper = np.where(np.arange(n) < n // 2, -1.0, 1.0)
            demo["actions"] = np.column_stack([np.zeros((n, 6)), gripper])
            demo["robot_states"] = np.zeros((n, 9))
            demo["dones"] = demo["rewards"] = np.eye(1, n, n - 1, dtype=np.uint8)[0]
            demo["obs/ee_pos"], demo["obs/ee_ori"] = ee_pos, np.zeros((n, 3))
            demo["obs/ee_states"] = np.zeros((n, 6))
            demo["obs/joint_states"], demo["obs/gripper_states"] = (
                np.zeros((n, 7)),
                np.zeros((n, 2)),
            )
            for camera in ("agentview_rgb", "eye_in_hand_rgb"):
                demo[f"obs/{camera}"] = np.zeros((n, 16, 16, 3), np.uint8)
    return path


def _mjcf(furniture: Mapping[str, np.ndarray]) -> str:
    """What is read of a demo's model; MuJoCo leaves out a quaternion that turns nothing."""
    bodies = ['<body name="table" pos="0 0 0.875"/>']
    for name, pose in furniture.items():
        position, quaternion = (" ".join(map(str, part)) for part in (pose[:3], pose[3:]))
        turned = f' quat="{quaternion}"' if pose[3] != 1 else ""
        bodies.append(f'<body name="{name}" pos="{position}"{turned}><geom size="1"/></body>')
    return f'<mujoco model="base"><worldbody>{"".join(bodies)}</worldbody></mujoco>'
