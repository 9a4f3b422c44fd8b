"""A warp plan on a torch device, read at the samples of any plane, a stripe of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from ltxfilter.frame import PlaneShape
from ltxfilter.motion.guided.warp_plan import WarpPlan

MARGIN = 3  # rows beyond the flow of a stripe that the cubic filter reads


@dataclass(frozen=True, slots=True, eq=False)
class Raised:
    """A plan's fields at the samples of a stripe, [rows, columns] each; see WarpPlan."""

    to_left: Tensor  # [rows, columns, 2] where the left keyframe is read, in samples, x then y
    to_right: Tensor  # [rows, columns, 2] where the right keyframe is read, likewise
    share: Tensor
    trust: Tensor
    static: Tensor
    change: Tensor | None  # in the plane's codes; None for a plane that guides lack: alpha
    shown: Tensor | None  # in the plane's codes, likewise

    def fuse(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the warped keyframes as one picture, and the guide where they are not trusted."""
        drawn = right + (left - right) * self.share
        if self.change is None or self.shown is None:
            return drawn
        return self.shown + (drawn + self.change - self.shown) * self.trust

    def disagreement(self, left: Tensor, right: Tensor) -> Tensor:
        """Return their squared difference, weighted by how equally both are mixed."""
        return (left - right).square() * (4 * self.share * (1 - self.share))


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """A warp plan on the device, to be read at the samples of any plane."""

    plan: WarpPlan
    size: tuple[int, int]  # pixels of the picture, width and height
    common: Tensor  # [7, H, W]: both flows, x then y; share; trust; static
    planes: Mapping[str, Tensor]  # [2, H, W]: change, shown

    @classmethod
    def of(cls, plan: WarpPlan, size: tuple[int, int], device: torch.device) -> Fields:
        """Bring a plan to the device; size: pixels of the picture, width and height."""
        flows = (plan.flows.to_left, plan.flows.to_right)
        axes = [flow[..., axis] for flow in flows for axis in (0, 1)]
        common = np.stack([*axes, plan.share, plan.trust, plan.static])
        planes = {
            name: torch.from_numpy(np.stack([plan.change[name], plan.shown[name]])).to(device)
            for name in plan.shown
        }
        return cls(plan, size, torch.from_numpy(common).to(device), planes)

    def at(self, rows: range, shape: PlaneShape) -> Raised:
        """Return the fields at some rows of a plane."""
        across, down = self._scales(shape)
        scale = torch.tensor([across, down], device=self.common.device)
        fields = self._raised(self.common, rows, shape)
        y, x = (
            torch.arange(*ends, device=fields.device, dtype=torch.float32)
            for ends in ((rows.start, rows.stop), (0, shape.width))
        )
        here = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        places = [here + fields[axis : axis + 2].movedim(0, -1) * scale for axis in (0, 2)]
        change = shown = None
        if shape.role in self.planes:
            unit = 2.0 ** (shape.depth - 8)
            change, shown = self._raised(self.planes[shape.role], rows, shape) * unit
        return Raised(places[0], places[1], fields[4], fields[5], fields[6], change, shown)

    def reach(self, rows: range, shape: PlaneShape, *, left: bool) -> range:
        """Return the rows of a keyframe's plane that are read to draw `rows`."""
        flows = self.plan.flows
        along_y = (flows.to_left if left else flows.to_right)[..., 1]
        down = self._scales(shape)[1]
        step = (1 << shape.shift_y) * along_y.shape[0] / self.size[1]
        near = along_y[max(floor(rows.start * step) - 1, 0) : ceil(rows.stop * step) + 1]
        low = floor(rows.start + down * float(near.min())) - MARGIN
        high = ceil(rows.stop + down * float(near.max())) + MARGIN
        low = min(max(low, 0), shape.height - 1)
        return range(low, min(max(high, low + 1), shape.height))

    def _scales(self, shape: PlaneShape) -> tuple[float, float]:
        """Return samples of a plane per sample of the fields, across and down."""
        rows, columns = self.common.shape[1:]
        return (
            self.size[0] / columns / (1 << shape.shift_x),
            self.size[1] / rows / (1 << shape.shift_y),
        )

    def _raised(self, fields: Tensor, rows: range, shape: PlaneShape) -> Tensor:
        """Return fields [C, H, W] at some rows of a plane, linearly between samples."""
        across, down = self._scales(shape)
        return lerp(lerp(fields, 1, rows, down), 2, range(shape.width), across)


def lerp(fields: Tensor, axis: int, samples: range, scale: float) -> Tensor:
    """Return `fields` along an axis at samples of which `scale` cover one of theirs."""
    size = fields.shape[axis]
    at = torch.arange(samples.start, samples.stop, device=fields.device, dtype=torch.float64)
    at = ((at + 0.5) / scale - 0.5).clamp_(0, size - 1)
    low = at.floor().long()
    high = (low + 1).clamp_(max=size - 1)
    past = (at - low).to(fields.dtype).unflatten(0, (-1, *(1,) * (fields.ndim - 1 - axis)))
    first = fields.index_select(axis, low)
    return torch.lerp(first, fields.index_select(axis, high), past.expand_as(first))
