"""Drive a robot through the policy server: `python scripts/serve.py`, and in another terminal

    python examples/robot_loop.py [ws://127.0.0.1:8000] [EPISODES]

The robot is the simulated one. On a real arm only `Robot` changes: `look` becomes a camera that is
calibrated and a joint state, `go` a motion of the tool (docs/robot.md).
"""

import sys

import numpy as np

from envs.base import load_task
from envs.splits import load_split, test_conditions
from para.serving.client import PolicyClient
from para.types import Observation

CONTROL_SECONDS = 0.02
IMAGE_SECONDS = 0.06
"""What a real camera's image is old when it arrives."""


class Robot:
    """What a policy's client needs of a robot, here the simulated one."""

    def __init__(self, image_size: int):
        task = load_task("bowl_on_plate")
        self.env = task.environment("panda", "together")
        self.env.image_size = 2 * image_size  # a camera of its own: the server fits the image

    def begin(self, start) -> None:
        """Put hand and objects where an episode starts."""
        self.env.begin(start)

    def look(self) -> Observation:
        """The image, its camera, and where the hand was when it was taken."""
        seen = self.env.observe()
        self.wait(IMAGE_SECONDS)
        return seen

    def go(self, position: np.ndarray, gripper: float, seconds: float) -> None:
        """Move the tool in a straight line, in at least so many seconds, then set the gripper."""
        first = self.env.target
        steps = round(seconds / CONTROL_SECONDS)
        for k in range(1, steps):
            self.env.control_step(first + (position - first) * k / steps, self.env.gripper_command)
        self.env.servo_to(position, gripper)

    def wait(self, seconds: float) -> None:
        """Hold still."""
        for _ in range(round(seconds / CONTROL_SECONDS)):
            self.env.control_step(self.env.target, self.env.gripper_command)


def episode(robot: Robot, client: PolicyClient) -> bool:
    """Look, ask, move, until it is done; hold still where the server refuses."""
    while not robot.env.done:
        answer = client.infer(robot.look(), age=IMAGE_SECONDS)
        if answer["refused"]:
            print("holds still:", answer["refused"])
            robot.wait(0.5)
            continue
        plan = zip(answer["actions"], answer["seconds"], strict=True)
        for (*position, gripper), seconds in list(plan)[: client.metadata["execute"]]:
            if not robot.env.done:
                robot.go(np.array(position), gripper, seconds)
    return robot.env.outcome.success


def main(address: str = "ws://127.0.0.1:8000", episodes: str = "5") -> None:
    """Run episodes on development starts of the split `lr` and say how many succeed."""
    with PolicyClient(address) as client:
        robot = Robot(client.metadata["image_size"])
        env, split = robot.env, load_split("lr")
        count = int(episodes)
        starts = test_conditions(split, "ood", env.task, env.layout, count, env.config, "dev")
        successes = 0
        for start in starts:
            robot.begin(start)
            successes += episode(robot, client)
        print(f"{successes} of {count} episodes succeeded.")


if __name__ == "__main__":
    main(*sys.argv[1:])
