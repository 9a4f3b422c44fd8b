"""The engine `ltx-motion`: LTX-2 makes small guides, the original pixels are warped along them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx import shared
from ltxfilter.engines.ltx.diffusion.grids import frames_per_interval
from ltxfilter.engines.ltx.guides.clips import ClipSpan, clip_spans
from ltxfilter.engines.ltx.shared import LtxEngine
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.ltx.guides.contract import GuideSource

CONTEXT = 1  # keyframes on each side of a window that help to find what is static


class LtxMotion(LtxEngine):
    """Makes small guides between keyframes, estimates their motion, and warps the keyframes."""

    name: ClassVar[str] = "ltx-motion"
    summary: ClassVar[str] = "LTX-2: small guides define the motion, original pixels are warped"
    files: ClassVar[tuple[str, ...]] = ("vae", "temporal_upsampler")
    takes_files: ClassVar[Mapping[str, str]] = {
        "checkpoint": "",
        "vae": "",
        "temporal_upsampler": "",
        "tiny_vae": "vae=tiny",
        **dict.fromkeys(
            ("transformer", *shared.TEXT_FILES, "loras", "distilled_lora"), "source=dit"
        ),
    }
    only_with: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = dict.fromkeys(
        ("steps", "seed", "fp8", "graphs", "text_memory", "offload"),
        ("source", ("dit", "latent+dit")),
    )
    memory_advice: ClassVar[str] = (
        "try batch=1, fewer intervals, a smaller size of guides, or vae=tiny"
    )
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "source",
            "latent",
            "Guides come from upsampled latents (latent), from the transformer (dit), or from "
            "upsampled latents that the transformer refines (latent+dit); dit needs --context.",
            ("latent", "dit", "latent+dit"),
        ),
        EngineOption(
            "steps",
            4,
            "The transformer takes this many denoising steps: 1, 2, 3, 4, and with source=dit 8.",
            low=1,
            high=8,
        ),
        EngineOption(
            "size",
            "",
            "Guides have this size in pixels, such as 448x256; if empty, it follows from the "
            "video's shape.",
            expert=True,
        ),
        EngineOption(
            "parts",
            0,
            "Guides divide each interval between keyframes into 2, 4, 8 or 16 parts; 0 chooses by "
            "the rates.",
            low=0,
            high=16,
        ),
        EngineOption(
            "intervals",
            0,
            "A clip of guides spans this many intervals between keyframes; 0 chooses by the "
            "source.",
            low=0,
            high=64,
            expert=True,
        ),
        EngineOption(
            "batch",
            1,
            "This many clips of guides are made at once; the memory for them grows in proportion.",
            low=1,
            high=64,
            expert=True,
        ),
        EngineOption(
            "vae",
            "full",
            "Guides are encoded and decoded by the checkpoint's autoencoder (full), or faster and "
            "in less memory by the one that --tiny-vae names (tiny).",
            ("full", "tiny"),
        ),
        EngineOption(
            "still",
            True,
            "Static parts of the picture, such as burned-in text, are protected.",
        ),
        shared.SEED,
        *shared.TRANSFORMER_OPTIONS,
        shared.OFFLOAD,
    )
    _source: GuideSource | None = None

    @property
    def needed_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it needs with its options."""
        upsampled, denoised = ("latent" in self._options["source"], self._denoises)
        tiny = self._options["vae"] == "tiny"
        needed = ["vae"] if upsampled or not tiny else []  # the latents' statistics are in it too
        needed += ["temporal_upsampler"] if upsampled else []
        needed += ["transformer", "context"] if denoised else []
        needed += ["tiny_vae"] if tiny else []
        return tuple(needed)

    @property
    def takes_few_steps(self) -> bool:
        """True if it needs a transformer that takes few steps, with its own options."""
        return self._denoises

    @property
    def further_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it uses where they are named."""
        return ("loras", "distilled_lora") if self._denoises else ()

    @property
    def _denoises(self) -> bool:
        return "dit" in self._options["source"]

    def open_source(self, video: VideoInfo, pace: Fraction) -> GuideSource:
        """Open the source of guides. pace: output frames per interval between keyframes.

        Raises OptionError, EngineError.
        """
        from ltxfilter.engines.ltx.guides.ltx_source import open_source

        self._check_files()
        return open_source(self._encoded(), self._options, (video.width, video.height), pace)

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Load the models; ask for windows that fill a batch of clips."""
        import cv2

        from ltxfilter.engines.ltx.guides.warp_along import GuideWarper

        self.close()
        cv2.setNumThreads(1)  # as in `flow`: several windows run in parallel instead
        source = self.open_source(video, frames_per_interval(rate, video.interval))
        self._source = source
        self._trial = source.seconds_per_guide
        self._warper = GuideWarper(video, source, protect_static=self._options["still"])
        shape = WindowShape(
            keyframes=source.intervals * source.batch + 1,
            before=max(source.before, CONTEXT),
            after=max(source.after, CONTEXT),
            slots=0,
            work_bytes=source.host_bytes,
            model_bytes=source.host_bytes,
            device_bytes=source.device_bytes,
            draw_bytes=self._warper.draw_bytes,
        )
        if source.device.type != "cpu":
            self._check_device_memory(video, rate, shape)
        return shape

    def prepare(self, window: Window) -> tuple[ClipSpan, ...]:
        """Return the clips of keyframes whose guides the window's slots need."""
        source = self._source
        assert source is not None
        return clip_spans(window, source.intervals, source.before, source.after)

    def draw(self, window: Window, motion: tuple[ClipSpan, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot; one without planes if the guides contain NaN.

        motion: the clips that `prepare` returned.
        """
        from ltxfilter.engines.ltx.memory_check import explain_out_of_memory

        if not motion:
            return
        with explain_out_of_memory(self.name, self.memory_advice):
            keyframes = self._warper.keyframes(window)
            with self._device_lock:
                guides = self._warper.guides(keyframes, motion)
            for span, planes in zip(motion, guides, strict=True):
                yield from self._warper.draw(keyframes, span, planes)

    def cancel(self) -> None:
        """Let the source's models stop before their next layer."""
        if self._source is not None:
            self._source.cancel()

    def close(self) -> None:
        """Release the source and its models."""
        if self._source is not None:
            self._source.close()
            self._source = None
