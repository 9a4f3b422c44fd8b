"""ComfyUI: nodes that interpolate batches of images, and videos from file to file.

A folder in `custom_nodes` whose `__init__.py` imports the two mappings is all that ComfyUI needs;
`examples/comfyui` is one. The nodes are written against ComfyUI's older interface for nodes, which
every version has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from ltxfilter.api import convert, interpolate
from ltxfilter.errors import InputError, OptionError
from ltxfilter.normalize import fps_of, rate_of
from ltxfilter.options import ModelOptions
from ltxfilter.pipeline.progress import Progress
from ltxfilter.values import parse_lora, round_half_up
from ltxfilter.windows.timeline import output_rate

CATEGORY = "image/video"
MODELS = "LTXFILTER_MODELS"  # the type of what LtxfilterModels hands on
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")  # of inputs whose output is of the same kind
FOLDERS = {  # field of ModelOptions -> where ComfyUI keeps such files, by its own names
    "checkpoint": ("checkpoints", "diffusion_models"),
    "transformer": ("diffusion_models", "checkpoints"),
    "vae": ("vae", "checkpoints"),
    "text_projection": ("text_encoders", "checkpoints"),
    "spatial_upsampler": ("latent_upscale_models", "upscale_models"),
    "temporal_upsampler": ("latent_upscale_models", "upscale_models"),
    "tiny_vae": ("vae_approx", "vae"),
    "gemma": ("text_encoders",),
    "loras": ("loras",),
    "distilled_lora": ("loras",),
    "onnx_model": ("frame_interpolation", "onnx"),
}
HOW = {  # inputs that both nodes have
    "fps_out": (
        "STRING",
        {"default": "2x", "tooltip": "Frames per second to make: a rate, a multiple, or auto."},
    ),
    "engine": (
        "STRING",
        {"default": "auto", "tooltip": "NAME or NAME:key=value; ltxfilter engines lists them."},
    ),
    "cuts": ("BOOLEAN", {"default": True, "tooltip": "Never interpolate across a scene cut."}),
    "repeats": (["report", "smooth"], {"tooltip": "smooth interpolates over duplicates."}),
}


class LtxfilterModels:
    """A node that names model files for the other two."""

    CATEGORY: ClassVar = "loaders"
    DESCRIPTION: ClassVar = (
        "Files for the engines: paths, or names in ComfyUI's folders of models. Leave out what the "
        "engine does not need. Several LoRAs are separated by commas, FILE:STRENGTH."
    )
    FUNCTION: ClassVar = "named"
    RETURN_TYPES: ClassVar = (MODELS,)
    RETURN_NAMES: ClassVar = ("models",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """Return the inputs: one text per field of `ModelOptions`."""
        text = ("STRING", {"default": ""})
        return {"optional": {field.name: text for field in fields(ModelOptions)}}

    def named(self, **files: str) -> tuple[ModelOptions]:
        """Return the files as options. Raises OptionError."""
        given: dict[str, Any] = {name: text.strip() for name, text in files.items() if text.strip()}
        for name, text in given.items():
            if name == "loras":
                loras = [parse_lora(part.strip()) for part in text.split(",")]
                given[name] = tuple((_found(name, file), strength) for file, strength in loras)
            elif name == "distilled_lora":
                file, strength = parse_lora(text)
                given[name] = _found(name, file), strength
            else:
                given[name] = _found(name, text)
        return (ModelOptions(**given),)


class LtxfilterInterpolateImages:
    """A node that raises the frame rate of a batch of images."""

    CATEGORY: ClassVar = CATEGORY
    DESCRIPTION: ClassVar = (
        "Raise the frame rate of images. The given images pass through untouched. The whole output "
        "is held in memory: for long videos take the node for videos."
    )
    FUNCTION: ClassVar = "interpolated"
    RETURN_TYPES: ClassVar = ("IMAGE", "FLOAT")
    RETURN_NAMES: ClassVar = ("images", "fps")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """Return the inputs."""
        rate = {"default": 24.0, "min": 0.01, "max": 1000.0, "step": 0.001}
        return {
            "required": {"images": ("IMAGE",), "fps_in": ("FLOAT", rate), **HOW},
            "optional": {"models": (MODELS,)},
        }

    def interpolated(
        self,
        *,
        images: Any,
        fps_in: float,
        fps_out: str,
        engine: str,
        cuts: bool,
        repeats: str,
        models: ModelOptions | None = None,
    ) -> tuple[Any, float]:
        """Return images [N, H, W, C] at `fps_out`, and how many per second they are.

        images: a tensor [N, H, W, C] of floats from 0 to 1. Raises LtxFilterError, and what ComfyUI
        raises where the user stops it.
        """
        source = rate_of(fps_in)
        rate = output_rate(fps_of(fps_out), source)
        if rate is None:
            raise OptionError('fps_out "source" needs frames with times; use "2x"')
        if not len(images):
            return images, float(rate)
        count = max(round_half_up(len(images) / source * rate), 1)
        out = images.new_empty((count, *images.shape[1:]))
        made = interpolate(
            iter(images), source, rate, engine=engine, cuts=cuts, repeats=repeats, models=models
        )
        show = _bar()
        for number, image in enumerate(made):
            out[number] = image
            show(number + 1, count)
        return out, float(rate)


class LtxfilterInterpolateVideo:
    """A node that raises the frame rate of a video, from file to file."""

    CATEGORY: ClassVar = CATEGORY
    DESCRIPTION: ClassVar = (
        "Raise the frame rate of a video. It is read, interpolated and encoded frame by frame, so "
        "that its length does not matter; sound and everything else in it is copied."
    )
    FUNCTION: ClassVar = "interpolated"
    RETURN_TYPES: ClassVar = ("VIDEO",)
    RETURN_NAMES: ClassVar = ("video",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """Return the inputs."""
        codec = {"default": "auto", "tooltip": "The encoder by FFmpeg's name, such as libx265."}
        crf = {"default": -1, "min": -1, "max": 63, "tooltip": "Its quality; -1 is its default."}
        return {
            "required": {"video": ("VIDEO",), **HOW},
            "optional": {
                "models": (MODELS,),
                "codec": ("STRING", codec),
                "crf": ("INT", crf),
            },
        }

    def interpolated(
        self,
        *,
        video: Any,
        fps_out: str,
        engine: str,
        cuts: bool,
        repeats: str,
        models: ModelOptions | None = None,
        codec: str = "auto",
        crf: int = -1,
    ) -> tuple[Any]:
        """Return a video that is a file in ComfyUI's folder of temporary files.

        Raises LtxFilterError, and what ComfyUI raises where the user stops it. No file is left
        then.
        """
        video_from_file = _video_from_file()
        encoder: dict[str, str | int] = {} if codec == "auto" else {"codec": codec}
        if crf >= 0:
            encoder["crf"] = crf
        show = _bar()
        start, duration = _part(video)
        with _file_of(video) as source, _new_file(_suffix(source)) as made:
            convert(
                source,
                made,
                fps=fps_out,
                start=start,
                duration=duration,
                engine=engine,
                cuts=cuts,
                repeats=repeats,
                models=models,
                video=encoder,
                on_progress=lambda progress: show(*_standing(progress)),
            )
        return (video_from_file(str(made)),)


NODE_CLASS_MAPPINGS = {
    kind.__name__: kind
    for kind in (LtxfilterModels, LtxfilterInterpolateImages, LtxfilterInterpolateVideo)
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "LtxfilterModels": "ltxfilter: Model Files",
    "LtxfilterInterpolateImages": "ltxfilter: Interpolate Images",
    "LtxfilterInterpolateVideo": "ltxfilter: Interpolate Video",
}


def _bar() -> Callable[[int, int], None]:
    """Return what shows that so many of so many frames are made, and stops where the user asks."""
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bar = ProgressBar(1)

    def show(done: int, count: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(min(done, count), count)

    return show


def _standing(progress: Progress) -> tuple[int, int]:
    """Return how many output frames of how many are written; of an unknown number, 0 of 1."""
    if progress.duration is None or progress.rate is None:
        return 0, 1
    return progress.frames_out, max(round_half_up(progress.duration * progress.rate), 1)


def _found(field: str, name: str) -> str:
    """Return the path of a file that is named as ComfyUI names it; any other name as it is."""
    if Path(name).exists():
        return name
    import folder_paths

    for folder in FOLDERS.get(field, ()):
        try:
            path = folder_paths.get_full_path(folder, name)
        except KeyError:  # an older ComfyUI has no such folder
            continue
        if path:
            return str(path)
    return name


def _video_from_file() -> Callable[[str], Any]:
    """Return ComfyUI's class of videos that are files."""
    try:
        from comfy_api.latest import InputImpl
    except ImportError:  # before 0.3.48
        from comfy_api.input_impl import VideoFromFile

        return VideoFromFile  # type: ignore[no-any-return]
    return InputImpl.VideoFromFile  # type: ignore[no-any-return]


def _part(video: Any) -> tuple[float | None, float | None]:
    """Return where in its file a video begins and how long it is, seconds; None for all of it."""
    window = getattr(video, "get_active_trim_window", None)
    start, duration = window() if window else (0.0, 0.0)
    return start or None, duration or None


def _suffix(source: Path) -> str:
    return source.suffix.lower() if source.suffix.lower() in SUFFIXES else ".mp4"


@contextmanager
def _file_of(video: Any) -> Iterator[Path]:
    """Yield the file of a video; one that is in memory is written to a file for the time."""
    source = video.get_stream_source()
    if not hasattr(source, "read"):
        yield Path(source)
        return
    with _new_file(".mp4") as path:
        with path.open("xb") as file:
            shutil.copyfileobj(source, file)
        try:
            yield path
        finally:
            path.unlink()


@contextmanager
def _new_file(suffix: str) -> Iterator[Path]:
    """Yield a name in ComfyUI's folder of temporary files; nothing is left there after an error."""
    import folder_paths

    folder = Path(folder_paths.get_temp_directory())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    path = folder / f"ltxfilter_{uuid4().hex}{suffix}"
    try:
        yield path
    except BaseException:
        for left in folder.glob(f"{path.name}*"):
            left.unlink()
        raise
