"""Targets, decoding, and the two heads: numbers with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fixtures import default_camera
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from para.doubles import double_on_cpu
from para.heads import HEADS, Labels
from para.heads.base import sample
from para.heads.decode import peak_cells, refine_bins, refine_cells
from para.heads.pixel import FactorisedHead
from para.heads.targets import bin_target, circular_bin_target, divergence, gaussian_target

settings.register_profile("shared_machine", deadline=None, max_examples=50)
settings.load_profile("shared_machine")
coordinate = st.floats(-0.5, 31.49)


@given(x=coordinate, y=coordinate, sigma=st.floats(0.5, 3))
def test_gaussian_target_sums_to_one_at_borders_too(x, y, sigma):
    rows, columns = gaussian_target(torch.tensor([x, y]), (32, 32), sigma)
    target = rows[:, None] * columns[None, :]
    assert float(target.sum()) == pytest.approx(1, abs=1e-5)
    peak = peak_cells(target[None])[0]
    assert (peak - torch.tensor([x, y])).abs().max() <= 0.5 + 1e-3


@given(value=st.floats(-0.05, 0.4))
def test_bin_target_keeps_the_value(value):
    target = bin_target(torch.tensor(value), 0.0, 0.32, 32)
    assert float(target.sum()) == pytest.approx(1, abs=1e-5)
    centres = torch.linspace(0, 0.32, 32)
    assert float((target * centres).sum()) == pytest.approx(min(max(value, 0), 0.32), abs=1e-5)


@given(angle=st.floats(-math.pi, math.pi - 1e-3))
def test_circular_bins_decode_to_the_angle(angle):
    target = circular_bin_target(torch.tensor(angle), 24)
    assert float(target.sum()) == pytest.approx(1, abs=1e-5)
    logits = target.clamp(min=1e-9).log()
    decoded = refine_bins(logits, logits.argmax(-1), circular=True) * 2 * math.pi / 24 - math.pi
    difference = float(decoded) - angle
    assert math.remainder(difference, 2 * math.pi) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_features_are_read_as_grid_sample_reads_them(layout):
    maps = torch.rand(3, 5, 7, 9).contiguous(memory_format=layout).requires_grad_()
    cells = torch.rand(3, 40, 2) * torch.tensor([11.0, 9.0]) - 1.5  # some outside
    cells[:, 0], cells[:, 1] = torch.tensor([8.0, 6.0]), torch.tensor([0.0, 0.0])
    grid = (2 * cells + 1) / torch.tensor([9, 7]) - 1
    usual = {"padding_mode": "border", "align_corners": False}
    expected = torch.nn.functional.grid_sample(maps, grid[:, :, None], **usual)
    expected = expected[..., 0].transpose(1, 2)
    read = sample(maps, cells)
    torch.testing.assert_close(read, expected)
    weight = torch.rand_like(read)
    gradients = [torch.autograd.grad((x * weight).sum(), maps)[0] for x in (read, expected)]
    torch.testing.assert_close(*gradients)


@given(x=coordinate, y=coordinate)
def test_gaussian_decodes_exactly_anywhere(x, y):
    rows, columns = gaussian_target(torch.tensor([[x, y]]), (32, 32), 1.5)
    logits = rows.log()[:, :, None] + columns.log()[:, None, :]
    cells = refine_cells(logits, peak_cells(logits))
    assert (cells - torch.tensor([x, y])).abs().max() < 2e-3


def test_refinement_stays_near_the_peak_on_flat_and_noisy_maps():
    torch.manual_seed(0)
    for logits in (torch.zeros(4, 8, 8), torch.randn(64, 8, 8), torch.randn(64, 2, 3)):
        peaks = peak_cells(logits)
        cells = refine_cells(logits, peaks)
        assert torch.isfinite(cells).all()
        assert (cells - peaks).abs().max() <= 1


class Fixed(torch.nn.Module):
    """A layer that always returns the same."""

    def __init__(self, value: torch.Tensor):
        super().__init__()
        self.value = value

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.value


def perfect_head(kind: str, cells: torch.Tensor, heights: torch.Tensor, size: tuple[int, int]):
    """A head whose logits are the logs of its own targets for labels (B, T, 2), (B, T)."""
    cfg = HEADS.config(kind)()
    head = HEADS[kind](cfg, cells.shape[1], 8)
    rows, columns = gaussian_target(cells, size, cfg.target_sigma)
    where = rows.clamp(min=1e-30).log()[..., :, None] + columns.clamp(min=1e-30).log()[..., None, :]
    bins = bin_target(heights, cfg.height_min, cfg.height_max, cfg.height_bins).clamp(min=1e-9)
    head.trunk = torch.nn.Identity()
    if isinstance(head, FactorisedHead):
        head.heatmaps = Fixed(where)
        read = head.read

        def read_perfectly(trunk, at):
            _, gripper, rotations = read(torch.zeros(len(at), cfg.hidden, *size), at)
            return bins.log()[:, :, None].expand(*gripper.shape, -1), gripper, rotations

        head.read = read_perfectly
    else:
        volume = bins.log()[..., None, None] + where[:, :, None]
        head.volume = Fixed(volume.flatten(1, 2))
        read = head.read
        head.read = lambda trunk, at: read(torch.zeros(len(at), cfg.hidden, *size), at)
    return head


@pytest.mark.parametrize("kind", sorted(HEADS))
@given(seed=st.integers(0, 2**31))
@settings(max_examples=10)
def test_project_target_decode_unproject_is_below_a_millimetre(kind, seed):
    generator = np.random.default_rng(seed)
    camera = default_camera(128)
    points = generator.uniform([-0.19, -0.3, 0.0], [0.19, 0.3, 0.31], (3, 4, 3))
    pixels, depth = camera.project(points)
    assert camera.in_view(pixels, depth).all()
    cells = torch.from_numpy(pixels / 4 - 0.5).float()
    heights = torch.from_numpy(points[..., 2]).float()
    head = perfect_head(kind, cells, heights, (32, 32))
    features = torch.zeros(3, 8, 32, 32)

    def error_mm(subcell: bool) -> np.ndarray:
        decoded = head.decode(features, subcell=subcell)
        where = (decoded.cells.double().numpy() + 0.5) * 4
        found = camera.unproject_to_height(where, decoded.heights.double().numpy())
        return 1000 * np.linalg.norm(found - points, axis=-1)

    assert error_mm(True).max() < 1
    if kind != "keypoint":  # which has no argmax
        assert error_mm(False).mean() > 5, "plain argmax is a cell of about 4 cm"

    everything = torch.ones(3, 4, dtype=torch.bool)
    labels = Labels(
        cells,
        heights,
        cells[:, :, None],
        heights[:, :, None],
        torch.ones(3, 4),
        torch.zeros(3, 4, 3),
        everything,
    )
    parts = head.loss(features, labels)
    where = "keypoint" if kind == "keypoint" else "heatmap"
    assert float(parts[where]) == pytest.approx(0, abs=1e-3 if kind == "keypoint" else 1e-4)
    assert float(parts["height"]) == pytest.approx(0, abs=1e-4)


def test_the_volume_head_reads_heights_at_its_refined_pixel():
    """Perfect logits of a surface that rises from cell to cell; the truth lies between cells.

    Bin 10 is the likeliest everywhere, and bin 11 the less likely the further to the left, so the
    height at column x is that of bin 10 + sigmoid(0.4 x - 4).
    """
    cells = torch.tensor([[[7.42, 9.31], [6.6, 3.8], [5.0, 5.0]]])
    head = perfect_head("volume", cells, torch.zeros(1, 3), (16, 16))
    rows, columns = gaussian_target(cells, (16, 16), head.cfg.target_sigma)
    where = rows.log()[..., :, None] + columns.log()[..., None, :]
    volume = torch.full((1, 3, head.cfg.height_bins, 16, 16), -60.0)
    volume[:, :, 10] = where
    volume[:, :, 11] = where + 0.4 * torch.arange(16.0) - 4
    head.volume = Fixed(volume.flatten(1, 2))
    decoded = head.decode(torch.zeros(1, 8, 16, 16), subcell=True)
    torch.testing.assert_close(decoded.cells, cells, rtol=0, atol=1e-3)
    truth = (10 + (0.4 * cells[..., 0] - 4).sigmoid()) * (0.32 / 31)
    torch.testing.assert_close(decoded.heights, truth, rtol=0, atol=1e-5)

    plain = head.decode(torch.zeros(1, 8, 16, 16), subcell=False)
    assert plain.cells.tolist() == [[[7, 9], [7, 4], [5, 5]]]
    torch.testing.assert_close(plain.heights, torch.full((1, 3), 10 * 0.32 / 31))


class NoDoubles(TorchDispatchMode):
    """Refuses 64-bit floats anywhere but on the CPU, as Apple's devices do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                assert tensor.device.type == "cpu", f"{func} makes float64 on {tensor.device}"
        return result


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_heads_decode_on_a_device_without_float64(kind):
    """With tensors that have a device and no values, so that no such device is needed."""
    with FakeTensorMode(), NoDoubles(), torch.device("cuda"):
        head = HEADS[kind](HEADS.config(kind)(), 3, 8)
        decoded = head.decode(torch.zeros(2, 8, 16, 16), subcell=True)
        assert decoded.cells.device.type == decoded.heights.device.type == "cuda"
        assert decoded.cells.dtype == decoded.heights.dtype == torch.float32
        assert double_on_cpu(decoded.cells).dtype == torch.float64


def test_a_narrow_heatmap_is_decoded_where_its_mass_is():
    """What the network says of cells that weigh nothing does not move the peak."""
    truth = torch.tensor([[7.4, 8.3]])
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    squared = (columns - truth[0, 0]) ** 2 + (rows - truth[0, 1]) ** 2
    logits = (-0.5 * squared / 0.75**2)[None]
    peak = peak_cells(logits)
    assert (refine_cells(logits, peak, radius=1) - truth).abs().max() < 1e-4
    light = logits < logits.max() - 3.5
    torch.manual_seed(0)
    taught_little = torch.where(light, logits + torch.randn(64, 16, 16), logits)
    off = [
        (refine_cells(taught_little, peak.expand(64, 2), radius=radius) - truth).norm(dim=1).mean()
        for radius in (1, 2)
    ]
    assert off[0] < 0.05 < off[1]


def test_plain_argmax_decodes_to_cell_centres():
    head = perfect_head("factorised", torch.tensor([[[3.4, 7.2]]]), torch.tensor([[0.1]]), (16, 16))
    decoded = head.decode(torch.zeros(1, 8, 16, 16), subcell=False)
    assert decoded.cells.tolist() == [[[3.0, 7.0]]]


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_masked_labels_give_no_gradient(kind):
    torch.manual_seed(0)
    cfg = HEADS.config(kind)(rotation_bins=8)
    head = HEADS[kind](cfg, 2, 8)

    def gradient(second_cell: float, visible: list[bool]) -> torch.Tensor:
        torch.manual_seed(1)
        features = torch.randn(1, 8, 16, 16, requires_grad=True)
        cells = torch.tensor([[[3.0, 4.0], [second_cell, 9.0]]])
        heights = torch.tensor([[0.1, 0.2 if second_cell else 0.3]])
        labels = Labels(
            cells=cells,
            heights=heights,
            read_cells=cells[:, :, None],
            read_heights=heights[:, :, None],
            gripper=torch.tensor([[1.0, float(second_cell > 0)]]),
            rotations=torch.tensor([[[0.0] * 3, [second_cell] * 3]]),
            visible=torch.tensor([visible]),
        )
        total = sum(head.loss(features, labels).values())
        total.backward()
        return features.grad

    nothing = gradient(5.0, [False, False])
    assert nothing.abs().max() == 0
    torch.testing.assert_close(gradient(5.0, [True, False]), gradient(0.0, [True, False]))
    assert (gradient(5.0, [True, True]) - gradient(0.0, [True, True])).abs().max() > 1e-4


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_loss_of_a_uniform_prediction_does_not_depend_on_the_batch(kind):
    """A mean over labels, not over pixels or batch entries; the value is known."""
    cfg = HEADS.config(kind)()
    head = HEADS[kind](cfg, 2, 8)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    for batch, size in ((1, 16), (3, 16), (2, 32)):
        cells = torch.full((batch, 2, 2), size / 2)
        rows, _ = gaussian_target(cells[0, 0], (size, size), cfg.target_sigma)
        entropy = -2 * float((rows * rows.log()).sum())
        labels = Labels(
            cells,
            torch.full((batch, 2), 0.16),
            cells[:, :, None],
            torch.full((batch, 2, 1), 0.16),
            torch.ones(batch, 2),
            torch.zeros(batch, 2, 3),
            torch.ones(batch, 2, dtype=torch.bool),
        )
        parts = head.loss(torch.zeros(batch, 8, size, size), labels)
        parts = {name: part.detach() for name, part in parts.items()}
        if kind == "keypoint":  # the middle of all cells is half a cell off, in both directions
            assert float(parts["keypoint"]) == pytest.approx(1, abs=1e-4)
        else:
            assert float(parts["heatmap"]) == pytest.approx(2 * math.log(size) - entropy, abs=1e-4)
        # 0.16 m lies half-way between two of the 32 bins
        assert float(parts["height"]) == pytest.approx(math.log(32) - math.log(2), abs=1e-4)
        assert float(parts["gripper"]) == pytest.approx(math.log(2), abs=1e-5)


def test_divergence_is_zero_at_the_target_only():
    target = torch.tensor([0.2, 0.8, 0.0])
    assert float(divergence(torch.tensor([0.2, 0.8, 1e-12]).log(), target)) == pytest.approx(
        0, abs=1e-5
    )
    assert float(divergence(torch.zeros(3), target)) > 0.5


def test_features_are_read_between_cells():
    head = HEADS["factorised"](HEADS.config("factorised")(hidden=2), 1, 2)
    head.waypoint.data.zero_()
    head.reader = torch.nn.Identity()
    head.outputs.data = torch.eye(2)[None]
    head.bias.data = torch.zeros(1, 1, 2)
    head.sizes = (1, 1, 0)
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    trunk = torch.stack([columns, rows])[None]
    at = torch.tensor([[[[3.0, 2.0], [3.25, 1.5], [7.0, -2.0]]]])
    column, row, _ = head.read(trunk, at)
    assert column.flatten().tolist() == pytest.approx([3, 3.25, 5], abs=1e-5), "the border beyond"
    assert row.flatten().tolist() == pytest.approx([2, 1.5, 0], abs=1e-5)
