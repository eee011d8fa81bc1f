"""Simulators behind one protocol (`envs.base`), the splits of the benchmark, Gymnasium's ids."""

from importlib import resources

from envs.table.rendering import choose_backend

choose_backend()  # before anything imports mujoco, which reads MUJOCO_GL only once

import gymnasium  # noqa: E402

from envs.table.robots import ROBOTS  # noqa: E402


def gymnasium_id(task: str, robot: str) -> str:
    """Id of one of our tasks: my_task, panda -> para/MyTaskPanda-v0."""
    words = f"{task}_{robot}".split("_")
    return f"para/{''.join(word.capitalize() for word in words)}-v0"


def _register(name: str, **options: str) -> None:
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point="envs.table.env:make", kwargs=options)


_register("para/Table-v0")  # any task, also a plug-in's: gymnasium.make("para/Table-v0", task=...)
for _file in resources.files("envs.table.tasks").iterdir():
    for _robot in ROBOTS:
        if _file.name.endswith(".py") and not _file.name.startswith("_"):
            _task = _file.name.removesuffix(".py")
            _register(gymnasium_id(_task, _robot), task=_task, robot=_robot)
