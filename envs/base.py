"""The scene's camera and budget: what every environment is told."""

from __future__ import annotations

from dataclasses import dataclass

from para.fields import number


@dataclass
class EnvConfig:
    """The simulated scene and its default camera (configs/env)."""

    image_size: int = number(128, least=16)
    """Height and width of policy images [px]."""
    camera_distance: float = number(1.5, above=0)
    """From the camera to the point that it looks at [m]."""
    camera_elevation_deg: float = 50.0
    camera_fovy_deg: float = number(45.0, above=0, below=180)
    theta_max_deg: float = number(25.0, least=0)
    """Largest polar angle of the viewpoint cap."""
    max_steps: int = number(600, least=1)
    """Control steps (20 ms each) that an episode may take."""
