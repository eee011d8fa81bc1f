"""The table: pure MuJoCo, a Franka Panda or its hand alone, and the tasks that stand on it."""

MAIN_TASK = "bowl_on_plate"
"""The task of the notes' experiments: what is done where nothing else is said."""
