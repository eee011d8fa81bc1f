"""What the image's camera is, as an input: the Pluecker coordinates of its rays.

After "Know Where Your Camera Is" (arXiv 2510.02268): a ray from the camera's centre c has the
direction d = normalise(R K^-1 [u + .5, v + .5, 1]) and the moment m = c x d, which is the same for
every point on it. A small network reads the map of the rays, and joins the image's features late.
Rays are made from the matrices that belong to the image, so they follow every warp of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from para.camera import Camera

CHANNELS = 32
"""Features per cell that join the image's."""
_FINER = 4


def pluecker(camera: Camera, rows: int, columns: int) -> Tensor:
    """Directions and moments (B, 6, rows, columns) of the rays through the centres of a grid.

    Args:
        camera: A batch (B,) of torch matrices.
        rows: The grid's cells; they tile the image.
        columns: As `rows`.
    """
    device = camera.intrinsics.device
    v = (torch.arange(rows, device=device) + 0.5) * (camera.height / rows)
    u = (torch.arange(columns, device=device) + 0.5) * (camera.width / columns)
    pixels = torch.cartesian_prod(v, u).flip(-1).to(camera.intrinsics.dtype)
    centres, directions = camera.rays(pixels.expand(len(camera.intrinsics), -1, -1))
    directions = torch.nn.functional.normalize(directions, dim=-1)
    moments = torch.linalg.cross(centres, directions)
    return torch.cat([directions, moments], -1).transpose(1, 2).unflatten(2, (rows, columns))


class RayEncoder(nn.Module):
    """Cameras -> features (B, CHANNELS, h, w), one per cell of the image's features.

    Args:
        cells: (h, w).
    """

    def __init__(self, cells: tuple[int, int]):
        super().__init__()
        self.cells = cells
        self.network = nn.Sequential(
            nn.Conv2d(6, CHANNELS, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
            nn.GELU(),
        )

    def forward(self, camera: Camera) -> Tensor:
        """Cameras (B,) with torch matrices -> (B, CHANNELS, h, w)."""
        rows, columns = (_FINER * n for n in self.cells)
        with torch.autocast(camera.intrinsics.device.type, enabled=False):
            rays = pluecker(camera, rows, columns)
        return self.network(rays)
