"""Which file each part of the models comes from: a flag, the checkpoint, or a folder of models.

A part that is named goes before the same part inside a checkpoint that is named, and that goes
before what lies in the folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FLAGS, PARTS, FileKind, ModelFile
from ltxfilter.engines.ltx.weights.formats.names import DECODER
from ltxfilter.engines.ltx.weights.formats.shards import INDEX, SUFFIXES
from ltxfilter.engines.ltx.weights.generations import generation, is_distilled_lora
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

CONVOLUTIONAL = "ltx-2.5-video-vae-conv-bf16.safetensors"  # the other one of the same generation
MOST_FILES = 2000  # of a folder that is searched; more is no folder of models
FIELDS = {kind: flag.removeprefix("--").replace("-", "_") for kind, flag in FLAGS.items()}
KINDS = {field: kind for kind, field in FIELDS.items()}
# What a message adds where a part is needed and nobody names it.
HINTS = {FileKind.CONTEXT: "; make one with ltxfilter context, or give --prompt TEXT --gemma FILE"}
# Kinds that are taken from a folder; a LoRA or a context changes pictures and has to be named.
FOUND = (*PARTS, FileKind.SPATIAL, FileKind.TEMPORAL, FileKind.TINY_VAE, FileKind.GEMMA)


class PartMissingError(EngineUnavailableError):
    """A part that no file is named for, and that none is found for."""


class ModelParts:
    """The files of one run, each header read once."""

    def __init__(self, options: ModelOptions) -> None:
        """Read nothing yet."""
        self.options = options
        self._read: dict[str, ModelFile] = {}
        self._folder: tuple[ModelFile, ...] | None = None

    def find(self, kind: FileKind) -> ModelFile:
        """Return the file that holds a part.

        Raises EngineUnavailableError if none does, if it cannot be used, or if two could be meant.
        """
        file = self._find(kind)
        if why := _too_new(file, kind):
            raise EngineUnavailableError(f"{file.path}: {why}")
        return file

    def _find(self, kind: FileKind) -> ModelFile:
        if path := getattr(self.options, FIELDS[kind]):
            return self._open(path, kind, FLAGS[kind])
        checkpoint = self.options.checkpoint
        if kind in PARTS and checkpoint:
            file = self._open(checkpoint, FileKind.CHECKPOINT, "--checkpoint")
            if kind in file.holds:
                return file
        if kind is FileKind.CHECKPOINT and checkpoint:
            return self._open(checkpoint, kind, "--checkpoint")
        if found := self._in_folder(kind):
            return found
        raise PartMissingError(self._lacking(kind))

    def has(self, kind: FileKind) -> bool:
        """Return True if a part is named or found, even one that turns out to be unusable."""
        if kind is FileKind.CONTEXT and self.options.prompt is not None:
            return True
        try:
            self.find(kind)
        except EngineUnavailableError:
            named = getattr(self.options, FIELDS[kind]) is not None
            return named or (kind in PARTS and self._unreadable_checkpoint())
        return True

    def missing(self, kinds: Iterable[FileKind]) -> list[FileKind]:
        """Return the parts that nobody names and that are not found."""
        return [kind for kind in kinds if not self.has(kind)]

    def obstacle(self, kind: FileKind) -> str:
        """Return why what there is for a part cannot be used; "" if it can, or nothing is there."""
        try:
            self.find(kind)
        except PartMissingError:
            return ""
        except EngineUnavailableError as error:
            return str(error)
        return ""

    def check_found(self, kinds: Iterable[FileKind]) -> None:
        """Name all that is wrong with the files for several parts, in one message.

        Raises EngineUnavailableError.
        """
        wrong = []
        for kind in kinds:
            if kind is FileKind.CONTEXT and self.options.prompt is not None:
                continue
            try:
                self.find(kind)
            except EngineUnavailableError as error:
                wrong.append(str(error))
        if wrong:
            raise EngineUnavailableError("; ".join(dict.fromkeys(wrong)))

    def folder(self) -> tuple[ModelFile, ...]:
        """Return the models in the folder of models whose headers can be read. Raises."""
        if self._folder is None:
            told = self.options.models
            self._folder = () if told is None else tuple(readable(Path(told)))
        return self._folder

    def spatial_upsamplers(self) -> list[ModelFile]:
        """Return the spatial upsamplers in the folder of models, of the generation in use."""
        found = [file for file in self.folder() if FileKind.SPATIAL in file.holds]
        return self._of_one_generation(FileKind.SPATIAL, found)

    def to_be_named(self, kind: FileKind) -> ModelFile | None:
        """Return the file in the folder of models that holds what is only taken where it is named.

        None if there is none, for a kind that is taken from there, and for a folder that is none.
        """
        if kind in FOUND:
            return None
        try:
            found = [file for file in self.folder() if kind in (file.kind, *file.holds)]
        except EngineUnavailableError:
            return None
        return found[0] if found else None

    def distilled_lora(self) -> ModelFile | None:
        """Return the distilled LoRA in the folder of models, of the transformer's generation."""
        own = generation(self.find(FileKind.TRANSFORMER))
        fitting = [
            file
            for file in self.folder()
            if is_distilled_lora(file) and generation(file) in (own, None)
        ]
        return fitting[0] if fitting else None

    def _open(self, path: str, kind: FileKind, flag: str) -> ModelFile:
        key = f"{flag} {path}"
        if key not in self._read:
            self._read[key] = files.open_file(path, kind, flag)
        return self._read[key]

    def _unreadable_checkpoint(self) -> bool:
        checkpoint = self.options.checkpoint
        if checkpoint is None:
            return False
        try:
            self._open(checkpoint, FileKind.CHECKPOINT, "--checkpoint")
        except EngineUnavailableError:
            return True
        return False

    def _in_folder(self, kind: FileKind) -> ModelFile | None:
        """Return the file for a part in the folder of models; None if there is none. Raises."""
        if kind not in FOUND:
            return None
        found = [file for file in self.folder() if kind in file.holds]
        found = [file for file in found if _too_new(file, kind) is None] or found
        found = self._of_one_generation(kind, found)
        alone = [file for file in found if file.kind is kind]
        fitting = alone or found
        if kind is FileKind.SPATIAL:
            doubling = [each for each in fitting if spatial_scale(each) == 2]
            fitting = doubling or fitting
        if len(fitting) > 1:
            both = " and ".join(file.path for file in fitting[:2])
            raise EngineUnavailableError(
                f"--models {self.options.models}: {both} hold {kind.value} each; "
                f"name one of them by {FLAGS[kind]}"
            )
        return fitting[0] if fitting else None

    def _of_one_generation(self, kind: FileKind, found: list[ModelFile]) -> list[ModelFile]:
        """Return those of several files that fit the transformer or autoencoder that is used."""
        if len(found) < 2 or kind in (FileKind.VAE, FileKind.TRANSFORMER):
            return found
        owner = FileKind.TRANSFORMER if kind is FileKind.TEXT else FileKind.VAE
        if not self.has(owner):
            return found
        own = generation(self.find(owner))
        fitting = [file for file in found if own is not None and generation(file) == own]
        return fitting or found

    def _lacking(self, kind: FileKind) -> str:
        """Return the message for a part that nobody names."""
        flag, options = FLAGS[kind], self.options
        text = f"{flag} FILE is needed: {kind.value}{HINTS.get(kind, '')}"
        if kind in PARTS and options.checkpoint:
            return f"--checkpoint {options.checkpoint}: it holds no {_bare(kind)}; {text}"
        if kind in PARTS:
            text = f"{flag} FILE is needed, or a --checkpoint that holds it: {kind.value}"
        if options.models:
            named = self.to_be_named(kind)
            where = f"--models {options.models}"
            text += f"; name {named.path}, in {where}" if named else f"; {where} holds none"
            unread = len(model_paths(Path(options.models))) - len(self.folder())
            if unread and not named:
                files_there = "a file" if unread == 1 else f"{unread} files"
                text += f", but {files_there} that cannot be used: see ltxfilter doctor {where}"
        return text


def needs_newer(file: ModelFile) -> bool:
    """Return True for a file whose transformer the installed ltx_core is too old for."""
    is_2_5 = FileKind.TRANSFORMER in file.holds and generation(file) == "2.5"
    return is_2_5 and not installed.builds_2_5()


def decodes_by_diffusion(file: ModelFile) -> bool:
    """Return True for an autoencoder whose decoder is LTX-2.5's diffusion decoder."""
    return DECODER + "conv_in_x_t.weight" in file.tensors


def needs_newer_decoder(file: ModelFile) -> bool:
    """Return True for a file whose decoder the installed ltx_core is too old for."""
    return decodes_by_diffusion(file) and not installed.decodes_by_diffusion()


def spatial_scale(file: ModelFile) -> Fraction:
    """Return how many times larger a spatial upsampler makes latents."""
    return Fraction(file.config.get("spatial_scale", 2.0))


def _too_new(file: ModelFile, kind: FileKind) -> str | None:
    """Return why the installed ltx_core cannot use a file for a part; None if it can."""
    if kind is FileKind.TRANSFORMER and needs_newer(file):
        return f"its transformer is made for LTX-2.5, which needs ltx-core 1.2; {installed.NEWER}"
    if kind is FileKind.VAE and needs_newer_decoder(file):
        return (
            "its decoder is LTX-2.5's diffusion decoder, which needs ltx-core 1.2; "
            f"take {CONVOLUTIONAL}, or {installed.NEWER}"
        )
    return None


def _bare(kind: FileKind) -> str:
    return kind.value.partition(" ")[2]


def readable(folder: Path) -> Iterator[ModelFile]:
    """Yield the models in a folder and the folders in it, whatever they are called.

    What cannot be read is left out. Raises EngineUnavailableError for what is no folder.
    """
    if not folder.is_dir():
        raise EngineUnavailableError(f"--models {folder}: no such folder")
    for path in model_paths(folder):
        try:
            yield files.read_header(str(path), "--models")
        except EngineUnavailableError:
            continue


def model_paths(folder: Path) -> list[Path]:
    """Return the files and indexes of shards in a folder and the folders in it, sorted."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()][:MOST_FILES]
    indexes = [path for path in found if path.name.endswith(INDEX)]
    shards: set[Path] = set()
    for index in indexes:
        try:
            shards |= set(map(Path, files.read_header(str(index)).paths)) - {index}
        except EngineUnavailableError:
            continue
    single = [path for path in found if path.suffix in SUFFIXES and path not in shards]
    return sorted([*indexes, *single])
