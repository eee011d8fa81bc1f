"""What happens to a batch before the policy and to an action after it: as good as nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyAction,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.processor.converters import (
    batch_to_transition,
    policy_action_to_transition,
    transition_to_policy_action,
)
from lerobot.utils.constants import (
    OBS_ENV_STATE,
    POLICY_POSTPROCESSOR_DEFAULT_NAME,
    POLICY_PREPROCESSOR_DEFAULT_NAME,
)

from lerobot_policy_para.configuration_para import ParaConfig


def make_para_pre_post_processors(
    config: ParaConfig, dataset_stats: dict[str, dict[str, torch.Tensor]] | None = None
) -> tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]],
    PolicyProcessorPipeline[PolicyAction, PolicyAction],
]:
    """Pipelines before and after the policy; steps have the names that LeRobot overrides."""
    features = {**config.input_features, **config.output_features}
    normal = {"norm_map": config.normalization_mapping, "stats": dataset_stats}
    return (
        PolicyProcessorPipeline[dict[str, Any], dict[str, Any]](
            steps=[
                RenameObservationsProcessorStep(rename_map={}),
                AddBatchDimensionProcessorStep(),
                DeviceProcessorStep(device=config.device),
                NormalizerProcessorStep(features=features, device=config.device, **normal),
            ],
            name=POLICY_PREPROCESSOR_DEFAULT_NAME,
            to_transition=partial(_with_camera, camera=config.camera),
        ),
        PolicyProcessorPipeline[PolicyAction, PolicyAction](
            steps=[
                UnnormalizerProcessorStep(features=config.output_features, **normal),
                DeviceProcessorStep(device="cpu"),
            ],
            name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )


def _with_camera(batch: dict[str, Any], camera: str) -> Any:
    """Camera matrices of each frame as observation.environment_state (B, 25).

    LeRobot drops what is not called observation.*, and has no place for cameras.
    """
    names = [f"camera.{camera}.{name}" for name in ("intrinsics", "T_world_camera")]
    if all(name in batch for name in names):
        matrices = torch.cat([batch[name].float() for name in names], -1)
        batch = {**batch, OBS_ENV_STATE: matrices}
    return batch_to_transition(batch)
