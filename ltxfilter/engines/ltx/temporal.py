"""The engine `ltx-temporal`: encode a shot, double the frame rate of its latents, decode them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from math import floor
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx import shared
from ltxfilter.engines.ltx.diffusion.grids import frames_per_interval
from ltxfilter.engines.ltx.diffusion.shots import grid_spans, reflected
from ltxfilter.engines.ltx.latent_shape import (
    SPATIAL_COMPRESSION,
    TEMPORAL_COMPRESSION,
    frame_count,
)
from ltxfilter.engines.ltx.shared import LtxEngine
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.ltx.diffusion.temporal_doubling import DoublingClip
    from ltxfilter.engines.ltx.models.resident import Models

MOST_ROUNDS = 3


class LtxTemporal(LtxEngine):
    """Doubles the frame rate of latents; optical flow serves slots off the doubled grid."""

    name: ClassVar[str] = "ltx-temporal"
    summary: ClassVar[str] = "LTX-2: the temporal upsampler doubles the frame rate of the latents"
    files: ClassVar[tuple[str, ...]] = ("vae", "temporal_upsampler")
    takes_files: ClassVar[Mapping[str, str]] = {
        "checkpoint": "",
        "vae": "",
        "temporal_upsampler": "",
        "spatial_upsampler": "--scale",
        **dict.fromkeys(("transformer", *shared.TEXT_FILES, "loras", "distilled_lora"), "refine=2"),
    }
    enlarges: ClassVar[bool] = True
    only_with: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = dict.fromkeys(
        ("seed", "fp8", "graphs", "text_memory"), ("refine", (2, 1, 3, 4))
    )
    takes_device_planes = True
    memory_advice: ClassVar[str] = (
        "try tile=512, fewer latents or rounds, or a smaller lead or batch"
    )
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "latents",
            3,
            "Clips of this many latent frames, of 8 keyframes each, are encoded.",
            low=1,
            high=32,
            expert=True,
        ),
        shared.BATCH,
        EngineOption(
            "lead",
            2,
            "A clip begins with this many latent frames that the previous clip covered already.",
            low=1,
            high=4,
            expert=True,
        ),
        EngineOption(
            "rounds",
            0,
            "The frame rate is doubled this many times; 0 chooses by the rates.",
            low=0,
            high=MOST_ROUNDS,
        ),
        EngineOption(
            "refine",
            0,
            "The transformer refines the upsampled latents in this many steps, which needs "
            "--context; 0 leaves the transformer out.",
            low=0,
            high=4,
        ),
        shared.SEED,
        EngineOption(
            "match",
            True,
            "The tone of interpolated frames is matched to their keyframes.",
            expert=True,
        ),
        *shared.TRANSFORMER_OPTIONS,
        shared.TILE,
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        """Take options by name and the files' paths."""
        super().__init__(models, **options)
        lead = self._options["lead"]
        self._latents = max(self._options["latents"], lead)  # latent frames of a clip
        self._lead = TEMPORAL_COMPRESSION * (lead - 1)  # keyframes
        self._intervals = TEMPORAL_COMPRESSION * self._latents - self._lead  # that a clip fills

    @property
    def needed_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it needs with its options."""
        refined = ("transformer", "context") if self._options["refine"] else ()
        larger = ("spatial_upsampler",) if self.scale > 1 else ()
        return (*self.files, *larger, *refined)

    @property
    def takes_few_steps(self) -> bool:
        """True if it needs a transformer that takes few steps, with its own options."""
        return bool(self._options["refine"])

    @property
    def further_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it uses where they are named."""
        return ("loras", "distilled_lora") if self._options["refine"] else ()

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Load the models; ask for windows whose keyframes fill whole latent frames."""
        from ltxfilter.engines.ltx.diffusion.canvas import Canvas
        from ltxfilter.engines.ltx.diffusion.keyframe_cache import KeyframeCache
        from ltxfilter.engines.ltx.diffusion.temporal_doubling import ClipDoubler

        self.close()
        self._check_files()
        options = self._options
        rounds = options["rounds"] or choose_rounds(frames_per_interval(rate, video.interval))
        models = self._models = self._load_models()
        canvas = Canvas(video, models.device, SPATIAL_COMPRESSION * self.scale.denominator)
        target = canvas.enlarged(self.scale)
        self._trial = partial(models.seconds_per_frame, target.width * target.height)
        flow = Flow()
        flow_shape = flow.open(target.video, rate, threads)
        cache = KeyframeCache(models.encode)
        self._doubler = ClipDoubler(
            models, canvas, target, flow, options, cache, rounds=rounds, lead=self._lead
        )
        batch = options["batch"]
        frames = (TEMPORAL_COMPRESSION * self._latents * 2**rounds + 1) * batch
        decoding = shared.decoding_bytes(target, frames, models.device)
        shape = WindowShape(
            keyframes=batch * self._intervals + 1,
            before=self._lead,
            slots=0,
            work_bytes=flow_shape.work_bytes + decoding + models.host_bytes,
            model_bytes=models.host_bytes,
            device_bytes=models.device_bytes,
            draw_bytes=flow_shape.draw_bytes + frames * target.video.frame_bytes,
        )
        if models.device.type != "cpu":
            self._check_device_memory(video, rate, shape)
        return shape

    def _load_models(self) -> Models:
        from ltxfilter.engines.ltx.models.resident import Models

        names = ("fp8", "graphs", "text_memory", "tile")
        files = self._encoded()
        if self._options["refine"]:
            from ltxfilter.engines.ltx.weights.fits import few_step_options

            files = few_step_options(files)
        models = Models(files, **{name: self._options[name] for name in names})
        needed = ["encoder", "decoder", "temporal"]
        if self.scale > 1:
            needed.append("spatial")
        if self._options["refine"]:
            models.context()  # an error in its file is found before the large files are loaded
            needed.append("transformer")
        models.load(*needed)
        return models

    def prepare(self, window: Window) -> tuple[DoublingClip, ...]:
        """Return the clip of keyframes to encode for each part with slots to interpolate."""
        from ltxfilter.engines.ltx.diffusion.temporal_doubling import DoublingClip

        clips = []
        for span in grid_spans(window, self._intervals, self._lead, 0):
            if span.to_draw():
                low, high = span.shot()
                begin = span.first - self._lead
                numbers = range(begin, begin + frame_count(self._latents + 1))
                keyframes = tuple(reflected(number, low, high) for number in numbers)
                clips.append(DoublingClip(span.first, span.last, keyframes))
        return tuple(clips)

    def draw(self, window: Window, motion: tuple[DoublingClip, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot. motion: the clips that `prepare` returned."""
        from ltxfilter.engines.ltx.memory_check import explain_out_of_memory

        models = self._doubler.models
        with self._device_lock, explain_out_of_memory(self.name, self.advice):
            drawn = models.retry_without_text(lambda: self._draw_clips(window, motion))
        yield from drawn

    def _draw_clips(self, window: Window, clips: Sequence[DoublingClip]) -> list[Drawn]:
        slots = list(window.to_draw())
        return [
            doubled.draw(slot)
            for clip, doubled in zip(clips, self._doubler.double(window, clips), strict=True)
            for slot in slots
            if clip.first <= slot.left < clip.last
        ]


def choose_rounds(pace: Fraction) -> int:
    """Return how often to double the frame rate for `pace` output frames per interval.

    If the numerator is a power of two, so many doublings put every slot on the doubled grid; else
    the doubled rate is the largest one that does not exceed the output rate.
    """
    power = pace.numerator.bit_length() - 1
    exact = pace.numerator == 1 << power
    return min(max(power if exact else floor(pace).bit_length() - 1, 1), MOST_ROUNDS)
