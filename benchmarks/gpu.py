"""How fast the LTX engines' models run at their published size, with random weights, on a GPU.

Every row is a window of an engine: each of its steps is timed on its own and counted as often as
the window takes it. --official draws whole windows instead, by `ltx-keyframe` and by the official
pipeline as it is called. --tiny runs the same code with tiny models, on a CPU if need be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks import ltx_sizes as sizes
from benchmarks import record
from benchmarks.gpu_windows import ROWS, Row, Step
from ltxfilter.engines.ltx import missing_packages

if TYPE_CHECKING:
    from benchmarks.gpu_models import Bench

LAYER = (5610, 4096)  # tokens and width of the linear layer that is timed on its own
CEILING_GOAL = 0.7  # of the measured matrix products, in the transformer
LINEAR_GOAL = 1.5  # times as fast in 8 bits, its scaling included
LARGE = 8192  # side of the matrix products that the ceiling is measured with


def measure(bench: Bench, mode: str, top: float, pattern: str) -> Iterator[dict[str, Any]]:
    """Yield a line of the table per row whose name holds `pattern`."""
    for row in ROWS:
        if pattern in row.name:
            found = [(step, count, bench.time(step)) for step, count in row.steps]
            yield {"row": row.name, "precision": "bf16" if mode == "off" else "fp8"} | _line(
                row, found, top
            )


def _line(row: Row, found: list[tuple[Step, int, Any]], top: float) -> dict[str, Any]:
    failed = next((f"{step.part}: {t}" for step, _, t in found if isinstance(t, str)), None)
    if failed:
        return {"failed": failed}
    drawing = [entry for entry in found if entry[0].part == "transformer"]
    spent = sum(count * timing.seconds for _, count, timing in drawing)
    replayed = sum(count * (t.graph_seconds or t.text_seconds) for _, count, t in drawing)
    flops = sum(count * step.flops for step, count, _ in drawing)
    without_text = flops - sizes.text_flops() * sum(count for _, count, _ in drawing)
    return {
        "tokens": max((step.tokens for step, _, _ in drawing), default=0),
        "forwards": sum(count for _, count, _ in drawing),
        "ms per frame": _per_frame(row, found, lambda t: t.seconds),
        "text remembered": _per_frame(row, found, lambda t: t.text_seconds),
        "and graphs": _per_frame(row, found, lambda t: t.graph_seconds or t.text_seconds),
        "of that transformer": 1000 * spent / row.out,
        "TFLOP": sum(count * step.flops for step, count, _ in found) / sizes.TERA,
        "TFLOP/s in transformer": flops / spent / sizes.TERA if spent else 0.0,
        "of ceiling": flops / spent / top if spent else 0.0,
        "of ceiling, graphs": without_text / replayed / top if replayed else 0.0,
        "peak GB": max((timing.peak_bytes or 0) for _, _, timing in found) / 1e9,
    }


def _per_frame(row: Row, found: list[tuple[Step, int, Any]], of: Callable[[Any], float]) -> float:
    """Return milliseconds per output frame."""
    return 1000 * sum(count * of(timing) for _, count, timing in found) / row.out


def verdicts(lines: list[dict[str, Any]], linears: dict[str, float]) -> Iterator[str]:
    """Yield each goal, and how far it is reached."""
    best = {
        precision: max(
            (max(line["of ceiling"], line["of ceiling, graphs"]), line["row"])
            for line in lines
            if line["precision"] == precision and line.get("of ceiling")
        )
        for precision in dict.fromkeys(
            line["precision"] for line in lines if line.get("of ceiling")
        )
    }
    for precision, (share, row) in best.items():
        yield f"of the ceiling in {precision}: {share:.2f} at best ({row}), goal {CEILING_GOAL}"
    faster = linears["off"] / linears["rowwise"]
    yield f"one linear layer in 8 bits: {faster:.2f} times as fast, goal {LINEAR_GOAL}"


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, and write results/gpu.json on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="tiny models, on a CPU if need be")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--official", action="store_true", help="beside the official pipeline")
    parser.add_argument("--folder", help="where --official puts 42 GB of files; fast storage")
    parser.add_argument("--steps", type=int, default=30, help="guided ones, with --official")
    asked = parser.parse_args(argv)
    if missing := missing_packages():
        print(f"nothing is measured: {missing}")
        return 0
    import torch

    from benchmarks import gpu_motion
    from benchmarks.gpu_models import Bench, ceiling, linear_seconds

    cuda = torch.cuda.is_available()
    if not cuda and not asked.tiny:
        print("no CUDA device: nothing is measured; --tiny runs the same code on a CPU")
        return 0
    device = torch.device("cuda" if cuda else "cpu")
    if asked.official:
        from benchmarks import gpu_official

        return gpu_official.run(device, tiny=asked.tiny, folder=asked.folder, steps=asked.steps)
    lines: list[dict[str, Any]] = []
    tops: dict[str, float] = {}
    linears: dict[str, float] = {}
    for mode in ("off", "rowwise"):
        tops[mode] = ceiling(device, mode, 256 if asked.tiny else LARGE)
        linears[mode] = linear_seconds(device, mode, *((64, 64) if asked.tiny else LAYER))
        bench = Bench(device, mode, asked.tiny)
        lines += measure(bench, mode, tops[mode], asked.only)
        lines += gpu_motion.measure(bench, mode, asked.only, tiny=asked.tiny)
        bench.models.close()
    for line in lines:
        print(", ".join(f"{key} {record.text(value)}" for key, value in line.items()))
    for verdict in verdicts(lines, linears):
        print(verdict)
    if cuda and not asked.tiny:
        name = torch.cuda.get_device_name(device)
        goals = {"of ceiling": CEILING_GOAL, "linear layer in fp8": LINEAR_GOAL}
        more = {"ceilings": tops, "linears": linears, "goals": goals, "only": asked.only}
        print(record.write("gpu", lines, device=name, **more))
    return 0


if __name__ == "__main__":
    sys.exit(main())
