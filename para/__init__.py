"""PARA: pixel-aligned robot actions.

Predict *where* in the image the end effector goes (a heatmap), then *how high* above the table
(height bins), and intersect the pixel's ray with that height to get a 3D waypoint.
"""

__version__ = "0.1.0"
