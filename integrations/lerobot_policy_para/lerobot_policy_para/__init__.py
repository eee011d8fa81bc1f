"""PARA as a plug-in of LeRobot: `--policy.type=para`, and our table as `--env.type=para_table`.

LeRobot finds and imports this package by its name; importing it registers both.
"""

from lerobot_policy_para.configuration_para import ParaConfig
from lerobot_policy_para.table import ParaTableConfig

__all__ = ["ParaConfig", "ParaTableConfig"]
