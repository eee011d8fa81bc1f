"""Generated clips: their shape and repeatability, and the numbers that judge them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fixtures import video_config
from synthetic_demos import make_dataset

from para.backbones import build_backbone
from para.backbones.video_sampler import sample
from para.data.dataset import DemoDataset
from para.evaluation.video_quality import (
    contact_sheet,
    first_samples,
    generate_clips,
    psnr,
    quality,
    ssim,
)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return build_backbone(video_config(), 32, None).eval()


@pytest.mark.parametrize("sigma_min", [0.002, 2.0])
def test_a_perfect_denoiser_generates_its_clip(backbone, sigma_min):
    """Euler's steps end where D points, whatever the noise and the level of the last pass."""
    video = backbone.video
    target = torch.randn(2, *backbone.noise.shape[1:])
    seen = {}

    def output_of_perfect(scaled, times, condition):
        sigma = (4 * times).exp().view(-1, 1, 1, 1, 1)
        noisy = scaled * (sigma**2 + 1).sqrt()
        seen["last"] = times
        return (noisy / (sigma**2 + 1) - target) * (sigma**2 + 1).sqrt() / sigma

    video.unet_output = output_of_perfect
    clips = sample(video, torch.zeros(2, 3, 32, 32), backbone.noise.shape[1:], 10, 0, sigma_min)
    assert seen["last"].tolist() == pytest.approx([np.log(sigma_min) / 4] * 2, abs=1e-4)
    del video.unet_output
    expected = video.codec.decode(target.flatten(0, 1), 3).unflatten(0, (2, 3))
    torch.testing.assert_close(clips, expected, atol=2e-2, rtol=0)


def test_clips_are_repeatable_and_compared_with_the_demos(backbone, tmp_path):
    folder = make_dataset(tmp_path, episodes=2, size=32)
    dataset = DemoDataset(folder, range(2), clip=(3, 6))
    samples = first_samples(dataset, (0.0, 0.5))
    assert samples.tolist() == [0, 10, 20, 30]
    true, generated = generate_clips(backbone, dataset, samples, steps=2)
    again = generate_clips(backbone, dataset, samples, steps=2)[1]
    assert true.shape == generated.shape == (4, 3, 32, 32, 3)
    np.testing.assert_array_equal(generated, again)
    np.testing.assert_allclose(generated[:, 0], true[:, 0], atol=1e-6)  # frame 0 is given
    assert np.abs(generated[:, 1] - true[:, 1]).max() > 0.1
    rows = quality(true, generated)
    assert [row["frame"] for row in rows] == [1, 2]
    assert all(row["first_frame_psnr_db"] > row["generated_psnr_db"] for row in rows)
    assert contact_sheet(true[:2], generated[:2]).shape == (4 * 32, 3 * 32, 3)


def test_psnr_and_ssim():
    rng = np.random.default_rng(0)
    image = rng.random((32, 32, 3))
    assert psnr(image, image) == pytest.approx(100)
    assert psnr(np.zeros((4, 4)), np.full((4, 4), 0.1)) == pytest.approx(20)
    assert ssim(image, image) == pytest.approx(1)
    noisy = [ssim(image, image + s * rng.standard_normal(image.shape)) for s in (0.05, 0.2, 0.8)]
    assert 1 > noisy[0] > noisy[1] > noisy[2]
