"""The MuJoCo benchmark: scene, robots, viewpoints, scripted expert, Gymnasium environments."""

from envs.rendering import choose_backend

choose_backend()  # before anything imports mujoco, which reads MUJOCO_GL only once

import gymnasium  # noqa: E402

for _robot in ("panda", "hand"):
    _id = f"para/PickPlace{_robot.capitalize()}-v0"
    if _id not in gymnasium.registry:
        gymnasium.register(
            _id, entry_point="envs.pick_place:PickPlaceEnv", kwargs={"robot": _robot}
        )
