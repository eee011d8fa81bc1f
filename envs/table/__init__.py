"""The table: pure MuJoCo, a Franka Panda or its hand alone, and the tasks that stand on it."""
