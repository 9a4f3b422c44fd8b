"""Whether the files of one run fit each other, and the LoRA that a dev checkpoint needs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

from ltxfilter.engines.ltx.weights.files import FLAGS, FileKind, ModelFile
from ltxfilter.engines.ltx.weights.generations import (
    generation,
    is_distilled_lora,
    is_ic_lora,
    takes_few_steps,
)
from ltxfilter.engines.ltx.weights.parts import ModelParts, spatial_scale
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions
from ltxfilter.scaling import written

log = logging.getLogger("ltxfilter.engines")

LATENTS = {"2": "2", "2.3": "2.3", "2.5": "2.3"}  # generation -> whose latents it has
CHECKED = (FileKind.TRANSFORMER, FileKind.VAE, FileKind.SPATIAL, FileKind.TEMPORAL)


def check_generations(parts: ModelParts, kinds: Iterable[FileKind]) -> None:
    """Refuse files of a run that were made for the latents of different generations.

    A file that says no generation, or an unknown one, fits all. Raises EngineUnavailableError.
    """
    wanted = set(kinds)
    known: list[tuple[ModelFile, FileKind, str]] = []
    for kind in CHECKED:
        if kind in wanted and (found := generation(file := parts.find(kind))) in LATENTS:
            assert found is not None
            known.append((file, kind, found))
    for (one, kind, first), (other, second_kind, second) in combinations(known, 2):
        if LATENTS[first] != LATENTS[second]:
            raise EngineUnavailableError(
                f"{FLAGS[second_kind]} {other.path} is of LTX-{second}, and {kind.value} "
                f"of LTX-{first} is used with it ({one.path}); take both of one generation"
            )


def fitting_upsampler(options: ModelOptions, factor: Fraction) -> ModelOptions:
    """Return the models with the spatial upsampler that makes latents `factor` times as large.

    Where none is named, it is the one in the folder of models; where there is none at all, nothing
    changes. Raises EngineUnavailableError if there are only others.
    """
    parts = ModelParts(options)
    asked = f"--scale {written(factor)} needs a spatial upsampler x{float(factor):g}"
    if options.spatial_upsampler is None:
        found = parts.spatial_upsamplers()
        fitting = [file for file in found if spatial_scale(file) == factor]
        if found and not fitting:
            raise EngineUnavailableError(f"{asked}; --models {options.models} {_holds(found)}")
        if len(fitting) > 1:
            both = " and ".join(file.path for file in fitting[:2])
            raise EngineUnavailableError(
                f"{asked}; {both} are such; name one of them by --spatial-upsampler"
            )
        return replace(options, spatial_upsampler=fitting[0].path) if fitting else options
    if not parts.has(FileKind.SPATIAL):
        return options
    try:
        file = parts.find(FileKind.SPATIAL)
    except EngineUnavailableError:  # said with all else that is wrong, when the engine is opened
        return options
    own = spatial_scale(file)
    if own != factor:
        raise EngineUnavailableError(
            f"--spatial-upsampler {file.path} is one x{float(own):g}, and {asked}; name that one, "
            f"or use --scale {written(own)}"
        )
    return options


def _holds(found: Sequence[ModelFile]) -> str:
    """Say which spatial upsamplers a folder holds, and what they serve."""
    scales = sorted({spatial_scale(file) for file in found})
    named = " and ".join(f"x{float(scale):g}" for scale in scales)
    return f"holds {named}, for --scale {' and '.join(map(written, scales))}"


def few_step_options(options: ModelOptions) -> ModelOptions:
    """Return the models of an engine that takes few steps, with the distilled LoRA if it needs it.

    A dev checkpoint takes many steps, unless that LoRA is added to it. It is the one that is named,
    or else the one in the folder of models. Raises EngineUnavailableError if there is none.
    """
    parts = ModelParts(options)
    file = parts.find(FileKind.TRANSFORMER)
    if takes_few_steps(file) is not False:
        return options
    if options.distilled_lora:
        loras = (*options.loras, options.distilled_lora)
        return replace(options, loras=loras, distilled_lora=None)
    if options.loras:
        return options
    if found := parts.distilled_lora():
        log.warning("%s is added to %s, which is a dev checkpoint", found.path, file.path)
        return replace(options, loras=((found.path, 1.0),))
    raise EngineUnavailableError(
        f"{file.path}: a dev checkpoint, which takes many steps; add --distilled-lora FILE, the "
        "LoRA that was published with it, or choose ltx-keyframe:mode=guided"
    )


def lacks_distilled_lora(options: ModelOptions) -> bool:
    """Return True for a dev checkpoint that no LoRA is named or found for."""
    parts = ModelParts(options)
    try:
        dev = takes_few_steps(parts.find(FileKind.TRANSFORMER)) is False
        return dev and not (options.distilled_lora or options.loras or parts.distilled_lora())
    except EngineUnavailableError:
        return False


def check_guided(parts: ModelParts) -> None:
    """Warn where many guided steps are asked of a distilled checkpoint."""
    file = parts.find(FileKind.TRANSFORMER)
    if takes_few_steps(file):
        log.warning("%s is distilled: mode=guided is made for a dev checkpoint", file.path)


def check_loras(files: Iterable[ModelFile], *, reference: bool) -> None:
    """Say which LoRAs are of another kind than they are used as.

    reference: the engine gives them a reference clip.
    """
    for file in files:
        if reference and not is_ic_lora(file):
            log.warning("%s: nothing says that it is an IC-LoRA, as reference=1 needs", file.path)
        if not reference and is_ic_lora(file) and not is_distilled_lora(file):
            log.warning("%s is an IC-LoRA, which needs ltx-keyframe:reference=1", file.path)
