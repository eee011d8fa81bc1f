"""Generating clips: from noise to frames in a few passes of the UNet."""

from __future__ import annotations

import torch
from torch import Tensor

from para.backbones.video_model import VideoModel

_SCHEDULE = {
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "use_karras_sigmas": True,
    "sigma_max": 700.0,
}
"""Noise levels of Karras et al. (2022), up to the one that Stable Video Diffusion starts from."""


def sample(
    video: VideoModel, images: Tensor, shape: torch.Size, steps: int, seed: int, sigma_min: float
) -> Tensor:
    """Clips (B, F, 3, H, W) in [-1, 1] that begin with images (B, 3, H, W) in [-1, 1].

    Without classifier-free guidance: these video models are trained on conditioned clips only.

    Args:
        video: The video model, in eval mode.
        images: First frames.
        shape: (F, C, h, w) of the latents.
        steps: Passes of the UNet.
        seed: Of the noise, the same for every image.
        sigma_min: Level of the last pass, which removes all noise that is left.
    """
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(**_SCHEDULE, sigma_min=sigma_min)
    scheduler.set_timesteps(steps, device=images.device)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, *shape, generator=generator).to(images.device)
    latents = noise.expand(len(images), *shape) * scheduler.init_noise_sigma
    condition = video.condition(images)
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, time)
        output = video.unet_output(scaled, time.expand(len(images)), condition)
        latents = scheduler.step(output.float(), time, latents).prev_sample
    with torch.autocast(images.device.type, enabled=False):
        frames = video.codec.decode(latents.flatten(0, 1), shape[0])
    return frames.unflatten(0, latents.shape[:2])
