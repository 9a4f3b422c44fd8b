"""Upstream's own states and sampling loops, called alike in ltx_pipelines 1.0 and in 1.2.

Call `upstream.stub_torchaudio` before this is imported.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from ltx_core.components.noisers import GaussianNoiser
from ltx_core.components.patchifiers import VideoLatentPatchifier
from ltx_core.tools import VideoLatentTools
from ltx_core.types import LatentState, VideoLatentShape, VideoPixelShape
from ltx_pipelines.utils import samplers
from ltx_pipelines.utils.helpers import create_noised_state, modality_from_latent_state
from torch import Tensor

IS_1_2 = find_spec("ltx_pipelines.utils.denoisers") is not None
# A keyframe after the first frame lasts eight frames in 1.0, and one frame, as here, in 1.2.
KEYFRAME_LENGTH = 1 if IS_1_2 else 8
samplers.tqdm.monitor_interval = 0  # otherwise it leaves a thread behind


def noisy_state(
    shape: VideoPixelShape, conditionings: list[Any], start: Tensor | None, scale: float, seed: int
) -> tuple[LatentState, VideoLatentTools]:
    """Return the noisy state of a grid, float32 on the CPU, and its patchifying tools."""
    tools = VideoLatentTools(
        VideoLatentPatchifier(patch_size=1), VideoLatentShape.from_pixel_shape(shape), shape.fps
    )
    state = create_noised_state(
        tools,
        conditionings,
        GaussianNoiser(torch.Generator().manual_seed(seed)),
        torch.float32,
        torch.device("cpu"),
        noise_scale=scale,
        initial_latent=start,
    )
    return state, tools


def denoised(
    model: torch.nn.Module,
    context: Tensor,
    state: LatentState,
    tools: VideoLatentTools,
    sigmas: Any,
    loop: Any,
    **options: Any,
) -> Tensor:
    """Return the latents that one of upstream's loops denoises from a state, without audio."""

    def clean(video_state: LatentState, sigmas: Tensor, step_index: int) -> Tensor:
        sigma = sigmas[step_index : step_index + 1].float()
        given = modality_from_latent_state(video_state, context, sigma)
        with torch.no_grad():
            moving = model(video=given, audio=None, perturbations=None)[0]
        return video_state.latent.float() - moving * (video_state.denoise_mask * sigma)

    def of_1_0(video_state: Any, audio_state: Any, sigmas: Tensor, step_index: int) -> Any:
        return clean(video_state, sigmas, step_index), torch.zeros_like(audio_state.latent)

    def of_1_2(_: Any, video_state: Any, audio_state: Any, sigmas: Tensor, step_index: int) -> Any:
        from ltx_pipelines.utils.types import DenoisedLatentResult

        found = clean(video_state, sigmas, step_index)
        return DenoisedLatentResult(denoised=found), audio_state

    if IS_1_2:
        found, _ = loop(
            torch.tensor(sigmas), state, None, transformer=None, denoiser=of_1_2, **options
        )
    else:
        audio = LatentState(
            torch.zeros(1, 1, 128),
            torch.ones(1, 1, 1),
            torch.zeros(1, 1, 1, 2),
            torch.zeros(1, 1, 128),
        )
        found, _ = loop(torch.tensor(sigmas), state, audio, denoise_fn=of_1_0, **options)
    latents: Tensor = tools.unpatchify(tools.clear_conditioning(found)).latent
    return latents
