"""Loading of a transformer: host memory beyond the model itself, and bytes that are read.

Writes a random file with the tensor sizes of the published LTX-2.3 and fewer blocks, loads it in a
process of its own, prints one line of JSON per precision, and deletes the file::

    python -m benchmarks.loading --folder /tmp --blocks 11

With all blocks the file has 26 GB. `--full` reads one of that size with a sink that discards each
tensor, so that it needs 30 GB of disk and hardly any memory::

    python -m benchmarks.loading --folder /tmp --full

`--keep` writes the lines into results/loading.json or results/loading-full.json too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from benchmarks import ltx_sizes as sizes
from benchmarks.record import write

PUBLISHED_BLOCKS = 48
FREE = 30 * 10**9  # bytes of disk for a file of the published size, with some to spare
STATUS, READ, CLEAR = "/proc/self/status", "/proc/self/io", "/proc/self/clear_refs"

Row = dict[str, Any]


def main(words: list[str] | None = None) -> None:
    """Write the file, load it once for each precision, and delete it, whatever happens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=None, help="where the file is written")
    parser.add_argument("--blocks", type=int, default=11, help="of the transformer; 11 are 6 GB")
    parser.add_argument("--full", action="store_true", help="all blocks; tensors are discarded")
    parser.add_argument("--modes", default="off,rowwise", help="values of fp8")
    parser.add_argument("--keep", action="store_true", help="write results/ too")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.load:
        measure = discarded if given.full else loaded
        print(json.dumps(measure(Path(given.load), given.modes)))
        return
    folder = given.folder or tempfile.gettempdir()
    if given.full and (free := shutil.disk_usage(folder).free) < FREE:
        parser.error(
            f"--full needs {FREE / 1e9:.0f} GB of disk and {folder} has {free / 1e9:.1f}: "
            "name another one with --folder, or load fewer blocks with --blocks"
        )
    signal.signal(signal.SIGTERM, _stop)
    rows = _rows(folder, given.modes.split(","), given.blocks, full=given.full)
    if given.keep:
        write("loading-full" if given.full else "loading", rows)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """End as Ctrl-C does, so that the file is deleted."""
    raise SystemExit(128 + number)


def _rows(folder: str, modes: list[str], blocks: int, *, full: bool) -> list[Row]:
    """Write a file, print and return what loading it took in each mode, and delete it."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="loading-", dir=folder) as own:
        path = Path(own) / "transformer.safetensors"
        _write(path, PUBLISHED_BLOCKS if full else blocks)
        for mode in modes:
            words = ["--load", str(path), "--modes", mode, *(["--full"] if full else [])]
            command = [sys.executable, "-m", "benchmarks.loading", *words]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            print(done.stdout, end="", flush=True)
            rows.append(json.loads(done.stdout))
    return rows


def _write(path: Path, blocks: int) -> None:
    from benchmarks.gpu_files import entries, write_tensors
    from ltxfilter.engines.ltx.models import upstream

    config = {"transformer": sizes.TRANSFORMER | {"num_layers": blocks}}
    module = upstream.meta_module("transformer", config, {})
    told = {"config": json.dumps(config), "model_version": "2.3.0"}
    write_tensors(path, entries(module, "model.diffusion_model."), told)


def loaded(path: Path, mode: str) -> Row:
    """Load a transformer's file on the CPU in bfloat16; return what that took, in bytes."""
    import torch

    from ltxfilter.engines.ltx.models.resident import Models
    from ltxfilter.options import ModelOptions

    options = ModelOptions(transformer=str(path), device="cpu")
    models = Models(options, dtype=torch.bfloat16, fp8=mode)
    row, peak = _measured(path, mode, lambda: models.load("transformer"))
    module = models._module("transformer")
    resident = sum(value.nbytes for value in (*module.parameters(), *module.buffers()))
    return row | {"resident": resident, "beyond the model": peak - resident}


def discarded(path: Path, mode: str) -> Row:
    """Read a transformer's file as it is loaded, and discard each tensor; return what that took.

    What is held at most is the tensor that is being made and what it is made from.
    """
    import torch

    from ltxfilter.engines.ltx.models.empty_models import empty_model
    from ltxfilter.engines.ltx.weights.files import read_header
    from ltxfilter.engines.ltx.weights.load import quantized_layers, transformer_tensors

    file, cpu = read_header(str(path)), torch.device("cpu")
    layers = quantized_layers(empty_model("transformer", file), mode, ())
    tensors = transformer_tensors(file, cpu, torch.bfloat16, quantized=layers, loras=())
    made: list[int] = []

    def sink() -> None:
        for _, value in tensors:
            made.append(value.nbytes)
            del value  # before the next one is made

    row, peak = _measured(path, mode, sink)
    return row | {"made": sum(made), "largest made": max(made), "held at most": peak}


def _measured(path: Path, mode: str, work: Callable[[], object]) -> tuple[Row, int]:
    """Do the work; return what it read and how long it took, and the bytes it held at its peak."""
    from ltxfilter.engines.ltx.weights.files import read_header

    largest = max(entry.nbytes for entry in read_header(str(path)).tensors.values())
    read, begin, before = _read_bytes(), time.perf_counter(), _memory("VmRSS")
    Path(CLEAR).write_text("5")  # the peak begins anew
    work()
    peak = _memory("VmHWM") - before
    size = path.stat().st_size
    row = {
        "fp8": mode,
        "file": size,
        "read over file": round((_read_bytes() - read) / size, 4),
        "largest tensor": largest,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    return row, peak


def _memory(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path(STATUS).read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def _read_bytes() -> int:
    lines = dict(line.split(": ") for line in Path(READ).read_text().splitlines())
    return int(lines["rchar"])


if __name__ == "__main__":
    main()
