"""One network in ONNX Runtime: two pictures and a time in, the picture between them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltxfilter.engines.onnx.inputs import GraphInput, InputFormError, input_form
from ltxfilter.engines.onnx.providers import PROVIDERS, choose_provider, provider_settings
from ltxfilter.engines.onnx.rgb import Rgb
from ltxfilter.errors import EngineError, EngineUnavailableError, Stopped

RANGES = {"unit": (1.0, 0.0), "byte": (255.0, 0.0), "signed": (2.0, -1.0)}  # value * span + zero
ORDERS = ("rgb", "bgr")
MULTIPLES = (32, 64, 128, 256)  # of pixels that sides may have to be; tried in this order
PROBED = 5, 7  # times the multiple: rows and columns that a network is tried with
SMALL = 1 << 18  # pixels; a network of one fixed size above this is not tried before it is used
METADATA = "ltxfilter."  # range, order, multiple and padding in a file's own metadata


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What a file cannot say, or says in its metadata; empty and 0 leave it to the file."""

    provider: str = "auto"  # see providers.py
    device: str | None = None  # as in `ModelOptions`
    threads: int = 1  # of the CPU provider
    range: str = ""  # a key of RANGES; unit if nobody says
    order: str = ""  # one of ORDERS; rgb if nobody says
    multiple: int = 0  # of pixels that sides must be; found by trying if nobody says
    batch: int = 1  # pairs of pictures at once, at most


class Network:
    """An open network; `middle_of` may be called by one thread at a time, and waits for others."""

    def __init__(self, path: str, settings: NetworkSettings) -> None:
        """Load the file and try it on a small picture.

        Raises EngineUnavailableError that names the file.
        """
        self._path = path
        self._lock = Lock()
        self._stopped = False
        self._session, self.provider = open_session(path, settings)
        try:
            self.form = input_form(graph_inputs(self._session))
        except InputFormError as error:
            raise unusable(path, str(error)) from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        said = {key: metadata.get(METADATA + key, "") for key in ("range", "order", "multiple")}
        self._span, self._zero = _choice(path, "range", settings.range or said["range"], RANGES)
        orders = {"rgb": False, "bgr": True}
        self._reversed = _choice(path, "order", settings.order or said["order"], orders)
        self._run_options = _run_options()
        self._output = _output_name(self._session)
        self.batch = settings.batch if self.form.batch is None else self.form.batch
        self.multiple = self._find_multiple(settings.multiple or _whole(path, said["multiple"]))

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns of the only size that it takes; None where it takes others."""
        rows, columns = self.form.size
        return (rows, columns) if rows and columns else None

    def between(self, pairs: Sequence[tuple[Rgb, Rgb]], times: Sequence[float]) -> list[Rgb]:
        """Return the picture of each pair [3, H, W] at its time, at most `batch` at once.

        Sides are whole multiples of `multiple`. A picture may hold what is not finite. Raises
        EngineError, and Stopped after `cancel`.
        """
        made: list[Rgb] = []
        size = 1 if self.form.one_time and len(set(times)) > 1 else self.batch
        for begin in range(0, len(pairs), size):
            part = list(pairs[begin : begin + size])
            moments = list(times[begin : begin + size])
            short = self.form.batch - len(part) if self.form.batch else 0
            found = self._run(part + part[-1:] * short, moments + moments[-1:] * short)
            made += found[: len(part)]
        return made

    def cancel(self) -> None:
        """End a run that is under way, and all later ones, with Stopped."""
        self._stopped = True
        self._run_options.terminate = True

    def _run(self, pairs: Sequence[tuple[Rgb, Rgb]], times: Sequence[float]) -> list[Rgb]:
        scaled = [(self._to_network(left), self._to_network(right)) for left, right in pairs]
        feeds = {feed.name: feed.of(scaled, times) for feed in self.form.feeds}
        with self._lock:
            if self._stopped:
                raise Stopped
            try:
                (out,) = self._session.run([self._output], feeds, self._run_options)
            except Exception as error:  # whatever a provider raises
                if self._stopped:
                    raise Stopped from None
                raise EngineError(
                    f"engine onnx: {self._path}: {first_line(error)}; {self._advice(error)}"
                ) from None
        return self._from_network(np.asarray(out), pairs)

    def _advice(self, error: Exception) -> str:
        text = str(error).lower()
        if "memory" in text or "alloc" in text:
            return "give a smaller tile=, such as onnx:tile=512"
        return "give multiple= the number that its sides must be divisible by, or another provider="

    def _to_network(self, picture: Rgb) -> Rgb:
        if self._reversed:
            picture = picture[::-1]
        if (self._span, self._zero) == RANGES["unit"]:
            return picture
        return picture * np.float32(self._span) + np.float32(self._zero)

    def _from_network(self, out: NDArray[Any], pairs: Sequence[tuple[Rgb, Rgb]]) -> list[Rgb]:
        """Return what it made as RGB. Raises EngineError where that is no picture of that size."""
        height, width = pairs[0][0].shape[1:]
        if out.ndim == 4 and out.shape[1] != 3 and out.shape[3] == 3:
            out = out.transpose(0, 3, 1, 2)
        if out.shape != (len(pairs), 3, height, width):
            sizes = "x".join(map(str, out.shape))
            raise EngineError(
                f"engine onnx: {self._path}: it makes {sizes} of {len(pairs)} times 3x{height}x"
                f"{width}: it is no network for frames between two others"
            )
        out = out[:, ::-1] if self._reversed else out
        values = out.astype(np.float32)
        if (self._span, self._zero) != RANGES["unit"]:
            values = (values - np.float32(self._zero)) / np.float32(self._span)
        return list(values)

    def _find_multiple(self, told: int) -> int:
        """Return what sides must be multiples of, the network tried. Raises what the last try did.

        A size that is fixed is tried if it is small.
        """
        if self.size is not None:
            rows, columns = self.size
            if rows * columns <= SMALL:
                self._try(rows, columns)
            return 1
        wrong: EngineError | None = None
        for multiple in (told,) if told else MULTIPLES:
            rows, columns = (
                size or times * multiple for size, times in zip(self.form.size, PROBED, strict=True)
            )
            try:
                self._try(rows, columns)
            except EngineError as error:
                wrong = wrong or error
            else:
                return multiple
        assert wrong is not None
        raise unusable(self._path, str(wrong).partition(f"{self._path}: ")[2])

    def _try(self, rows: int, columns: int) -> None:
        grey = np.full((3, rows, columns), 0.5, np.float32)
        self.between([(grey, grey)], [0.5])


def open_session(path: str, settings: NetworkSettings) -> tuple[Any, str]:
    """Return an ONNX Runtime session of a file, and the provider that runs it.

    Raises EngineUnavailableError.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise EngineUnavailableError(f"engine onnx: {path}: no such file")
    available = onnxruntime.get_available_providers()
    name = choose_provider(settings.provider, settings.device, available)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised, and said once
    options.intra_op_num_threads = settings.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=provider_settings(name, settings.device)
        )
    except Exception as error:  # whatever a provider raises, and files that are none
        raise unusable(path, first_line(error)) from None
    if PROVIDERS[name] not in session.get_providers():  # it only logs that, and takes the CPU
        raise EngineUnavailableError(
            f"engine onnx: {path}: {PROVIDERS[name]} does not start: its libraries or its device "
            "are missing; use provider=cpu"
        )
    return session, name


def graph_inputs(session: Any) -> list[GraphInput]:
    """Return the inputs of an open session."""
    return [
        GraphInput(
            each.name,
            each.type,
            tuple(size if isinstance(size, int) and size > 0 else None for size in each.shape),
        )
        for each in session.get_inputs()
    ]


def _output_name(session: Any) -> str:
    """Return the output that is the picture: of three channels, or else the first."""
    outputs = session.get_outputs()
    for each in outputs:
        if len(each.shape) == 4 and 3 in (each.shape[1], each.shape[3]):
            return str(each.name)
    return str(outputs[0].name)


def _run_options() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


def _choice(path: str, key: str, text: str, allowed: dict[str, Any]) -> Any:
    """Return what a word of the metadata or of an option stands for; the first if there is none."""
    word = text or next(iter(allowed))
    if word not in allowed:
        listed = ", ".join(allowed)
        raise unusable(path, f"its metadata {METADATA}{key} is {word!r}, not one of {listed}")
    return allowed[word]


def _whole(path: str, text: str) -> int:
    if text and not (text.isdecimal() and 1 <= int(text) <= 1024):
        raise unusable(path, f"its metadata {METADATA}multiple is {text!r}, not 1 to 1024")
    return int(text or 0)


def unusable(path: str, reason: str) -> EngineUnavailableError:
    """Return the error for a file that is not what this engine runs."""
    return EngineUnavailableError(f"engine onnx: {path}: {reason}")


def first_line(error: Exception) -> str:
    """Return what an error of ONNX Runtime says, in one line without its codes."""
    text = " ".join(str(error).split())
    return text.rpartition("] : ")[2].partition(" : ")[2][:300] if " : " in text else text[:300]
