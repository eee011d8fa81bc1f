"""The table: pure MuJoCo, a Franka Panda or its hand alone, and the tasks that stand on it."""

MAIN_TASK = "bowl_on_plate"
"""The task of the notes' experiments: what is done where nothing else is said."""

PHYSICS = 2
"""Version of the simulated table, `envs.base.Task.version`: raise it when the same actions end
otherwise.

1: inverse kinematics that never read the arm back, links that met nothing, gravity compensated
beyond the torque limits. 2: the tool's target is corrected by its measured position, links collide,
gravity is compensated within the limits, and the elbow keeps still where the arm is folded.
"""
