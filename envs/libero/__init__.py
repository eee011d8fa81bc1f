"""LIBERO behind the environment protocol: its scenes, official starts and success, our servo.

Liu et al., "LIBERO: Benchmarking Knowledge Transfer for Lifelong Robot Learning", NeurIPS 2023; the
swapped scenes are those of LIBERO-PRO. Needs the extra `libero`; nothing here imports its packages
before an episode begins.
"""

VERSION = 1
"""Version of the simulated world, `envs.base.Task.version`: raise it when the same actions end
otherwise."""
TABLE_TOP = 0.90
"""Height of LIBERO's table above its floor [m]: in our world frame the table top is z = 0."""
