"""Loading of a transformer: host memory beyond the model itself, and bytes that are read.

Writes a random file with the tensor sizes of the published LTX-2.3 and fewer blocks, loads it in a
process of its own, prints one line of JSON per precision, and deletes the file::

    python -m benchmarks.loading --folder /tmp --blocks 11
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import ltx_sizes as sizes

PUBLISHED_BLOCKS = 48
STATUS, READ, CLEAR = "/proc/self/status", "/proc/self/io", "/proc/self/clear_refs"


def main() -> None:
    """Write the file, and load it once for each precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=None, help="where the file is written")
    parser.add_argument("--blocks", type=int, default=11, help="of the transformer; 11 are 6 GB")
    parser.add_argument("--modes", default="off,rowwise", help="values of fp8")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        print(json.dumps(loaded(Path(given.load), given.modes)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "transformer.safetensors"
        _write(path, given.blocks)
        for mode in given.modes.split(","):
            words = ["--load", str(path), "--modes", mode]
            subprocess.run([sys.executable, "-m", "benchmarks.loading", *words], check=True)


def _write(path: Path, blocks: int) -> None:
    from benchmarks.gpu_files import entries, write_tensors
    from ltxfilter.engines.ltx.models import upstream

    config = {"transformer": sizes.TRANSFORMER | {"num_layers": blocks}}
    module = upstream.meta_module("transformer", config, {})
    told = {"config": json.dumps(config), "model_version": "2.3.0"}
    write_tensors(path, entries(module, "model.diffusion_model."), told)


def loaded(path: Path, mode: str) -> dict[str, Any]:
    """Load a transformer's file on the CPU in bfloat16; return what that took, in bytes."""
    import torch

    from ltxfilter.engines.ltx.models.resident import Models
    from ltxfilter.engines.ltx.weights.files import read_header
    from ltxfilter.options import ModelOptions

    largest = max(entry.nbytes for entry in read_header(str(path)).tensors.values())
    options = ModelOptions(transformer=str(path), device="cpu")
    models = Models(options, dtype=torch.bfloat16, fp8=mode)
    read, begin = _read_bytes(), time.perf_counter()
    before = _memory("VmRSS")
    Path(CLEAR).write_text("5")  # the peak begins anew
    models.load("transformer")
    peak = _memory("VmHWM")
    module = models._module("transformer")
    resident = sum(value.nbytes for value in (*module.parameters(), *module.buffers()))
    return {
        "fp8": mode,
        "file": path.stat().st_size,
        "read over file": round((_read_bytes() - read) / path.stat().st_size, 4),
        "resident": resident,
        "beyond the model": peak - before - resident,
        "largest tensor": largest,
        "seconds": round(time.perf_counter() - begin, 1),
    }


def _memory(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path(STATUS).read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def _read_bytes() -> int:
    lines = dict(line.split(": ") for line in Path(READ).read_text().splitlines())
    return int(lines["rchar"])


if __name__ == "__main__":
    main()
