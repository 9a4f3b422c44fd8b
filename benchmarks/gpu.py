"""How fast the LTX engines' models run on a GPU, at their published size with random weights.

Every row is a window of an engine: each call of a model is timed alone and counted as often as the
window makes it. --official times whole windows instead, of `ltx-keyframe` and of the official
pipeline. --tiny runs the same code with tiny models, also on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks import ltx_sizes as sizes
from benchmarks import record
from benchmarks.gpu_windows import ROWS, ModelCall, Row
from ltxfilter.engines.ltx import missing_packages

if TYPE_CHECKING:
    from benchmarks.gpu_models import Bench

LAYER = (5610, 4096)  # tokens and width of the linear layer that is timed alone
CEILING_GOAL = 0.7  # share of the operations per second of one large matrix product
LINEAR_GOAL = 1.5  # times as fast in 8 bits as in 16, the scaling of the input included
LARGE = 8192  # side of that matrix product


def measure(bench: Bench, mode: str, top: float, pattern: str) -> Iterator[dict[str, Any]]:
    """Yield a line of the table per row whose name contains `pattern`.

    mode: how the transformer of `bench` is stored. top: operations per second of one large matrix
    product in that precision.
    """
    for row in ROWS:
        if pattern in row.name:
            timings = [(call, count, bench.time(call)) for call, count in row.calls]
            precision = "bf16" if mode == "off" else "fp8"
            yield {"row": row.name, "precision": precision} | _line(row, timings, top)


def _line(row: Row, timings: list[tuple[ModelCall, int, Any]], top: float) -> dict[str, Any]:
    failed = next((f"{call.model}: {t}" for call, _, t in timings if isinstance(t, str)), None)
    if failed:
        return {"failed": failed}
    denoising = [entry for entry in timings if entry[0].model == "transformer"]
    spent = sum(count * timing.seconds for _, count, timing in denoising)
    replayed = sum(count * (t.graph_seconds or t.text_seconds) for _, count, t in denoising)
    flops = sum(count * call.flops for call, count, _ in denoising)
    without_text = flops - sizes.text_flops() * sum(count for _, count, _ in denoising)
    return {
        "tokens": max((call.tokens for call, _, _ in denoising), default=0),
        "forwards": sum(count for _, count, _ in denoising),
        "ms per frame": _per_frame(row, timings, lambda t: t.seconds),
        "text cached": _per_frame(row, timings, lambda t: t.text_seconds),
        "and graphs": _per_frame(row, timings, lambda t: t.graph_seconds or t.text_seconds),
        "of that transformer": 1000 * spent / row.out,
        "TFLOP": sum(count * call.flops for call, count, _ in timings) / sizes.TERA,
        "TFLOP/s in transformer": flops / spent / sizes.TERA if spent else 0.0,
        "of ceiling": flops / spent / top if spent else 0.0,
        "of ceiling, graphs": without_text / replayed / top if replayed else 0.0,
        "peak GB": max((timing.peak_bytes or 0) for _, _, timing in timings) / 1e9,
    }


def _per_frame(
    row: Row, timings: list[tuple[ModelCall, int, Any]], seconds: Callable[[Any], float]
) -> float:
    """Return milliseconds per output frame."""
    return 1000 * sum(count * seconds(timing) for _, count, timing in timings) / row.out


def verdicts(lines: list[dict[str, Any]], linears: dict[str, float]) -> Iterator[str]:
    """Yield a sentence for each goal: what was measured, and the goal."""
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
    if "rowwise" in linears:
        faster = linears["off"] / linears["rowwise"]
        yield f"one linear layer in 8 bits: {faster:.2f} times as fast, goal {LINEAR_GOAL}"


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, and write results/gpu.json on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="use tiny models, also on a CPU")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument(
        "--official", action="store_true", help="compare with the official pipeline instead"
    )
    parser.add_argument("--folder", help="where --official writes 42 GB of files; fast storage")
    parser.add_argument("--steps", type=int, default=30, help="guided steps, with --official")
    asked = parser.parse_args(argv)
    if missing := missing_packages():
        print(f"nothing is measured: {missing}")
        return 0
    import torch

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
    for line in _measure_all(device, asked.only, tops, linears, tiny=asked.tiny):
        lines.append(line)
        print(", ".join(f"{key} {record.text(value)}" for key, value in line.items()), flush=True)
    for verdict in verdicts(lines, linears):
        print(verdict)
    if cuda and not asked.tiny:
        name = torch.cuda.get_device_name(device)
        goals = {"of ceiling": CEILING_GOAL, "linear layer in fp8": LINEAR_GOAL}
        more = {"ceilings": tops, "linears": linears, "goals": goals, "only": asked.only}
        print(record.write("gpu", lines, device=name, **more))
    return 0


def refuses_8_bits(device: Any, width: int) -> bool:
    """Return True if a device does not multiply in 8 bits at the sizes of the model's layers."""
    from ltxfilter.engines.ltx.weights import fp8

    layers = frozenset({(width, width), (width, 4 * width), (4 * width, width)})
    return fp8.least_rows(device, layers) is None


def _measure_all(
    device: Any, pattern: str, tops: dict[str, float], linears: dict[str, float], *, tiny: bool
) -> Iterator[dict[str, Any]]:
    """Yield the table line by line; 8 bits are left out where the device refuses them.

    By precision, the ceiling goes into `tops` and the seconds of one linear layer into `linears`.
    """
    from benchmarks import gpu_motion
    from benchmarks.gpu_models import Bench, ceiling, linear_seconds

    for mode in ("off", "rowwise"):
        if mode == "rowwise" and refuses_8_bits(device, 64 if tiny else LAYER[1]):
            print("8 bits are not measured: see the warning above", flush=True)
            continue
        tops[mode] = ceiling(device, mode, 256 if tiny else LARGE)
        linears[mode] = linear_seconds(device, mode, *((64, 64) if tiny else LAYER))
        bench = Bench(device, mode, tiny)
        yield from measure(bench, mode, tops[mode], pattern)
        yield from gpu_motion.measure(bench, mode, pattern, tiny=tiny)
        bench.models.close()


if __name__ == "__main__":
    sys.exit(main())
