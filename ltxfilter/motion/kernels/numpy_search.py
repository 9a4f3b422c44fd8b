"""The search of patches in NumPy: the same samples as in C (native/patches), slower."""

from __future__ import annotations

import numpy as np

from ltxfilter.motion.grid import Array

FITS = 1 << 21  # a patch's error that is good enough: 1.4 codes per sample
ALIGN_MOST = np.float32(0.8)  # samples that a patch may be moved by
ALIGN_GAIN = np.float32(0.7)  # of the offset; less than 1, because the next patch disagrees


def search(
    pictures: tuple[Array, Array], guesses: Array, step: int, rounds: int, steps: int
) -> Array:
    """See c_kernels.search."""
    level = _Level(*pictures, step)
    flow, best = level.best_of(list(guesses))
    flow, error = level.descend(flow, best, np.ones(flow.shape[:2], bool), steps)
    for hop in (1 << (rounds - 1 - k) for k in range(rounds)):
        flow, error = level.spread(flow, error, hop, steps)
    return level.blend(flow)


def polish(pictures: tuple[Array, Array], flow: Array, steps: int) -> Array:
    """See c_kernels.polish."""
    level = _Level(*pictures, 4)
    rows, columns = flow.shape[:2]
    guess = flow[np.minimum(level.y + 4, rows - 1), np.minimum(level.x + 4, columns - 1)]
    first = level.match(guess)
    flow, _ = level.descend(guess, first, np.ones(guess.shape[:2], bool), steps, FITS)
    return level.blend(flow)


class _Level:
    """One level of the search: patches of 8x8 samples, all compared at once."""

    def __init__(self, seen: Array, other: Array, step: int) -> None:
        self.rows, self.columns = seen.shape
        self.step = step
        down, across = (max(-(-(size - 8) // step), 0) + 1 for size in seen.shape)
        self.y, self.x = np.mgrid[:down, :across] * step
        padded = np.pad(seen, 24, mode="edge").astype(np.int32)
        self.other = _windows(np.pad(other, 24, mode="edge"), 9)
        at = self.y + 24, self.x + 24
        clipped = np.pad(padded, 1, mode="edge")
        self.seen = _windows(16 * padded, 8)[at]
        self.slope_x = _windows(clipped[1:-1, 2:] - clipped[1:-1, :-2], 8)[at].astype(np.int64)
        self.slope_y = _windows(clipped[2:, 1:-1] - clipped[:-2, 1:-1], 8)[at].astype(np.int64)
        self._solve()

    def see(self, picture: Array, flow: Array) -> None:
        """Make `picture`, displaced by each patch's flow, what the patches show."""
        x, y = self.fine(flow)
        quad = _windows(np.pad(picture, 25, mode="edge"), 11)[
            self.y + 24 + (y >> 4), self.x + 24 + (x >> 4)
        ].astype(np.int32)
        x, y = (axis[..., None, None] & 15 for axis in (x, y))
        top = quad[..., :-1, :-1] * (16 - x) + quad[..., :-1, 1:] * x
        bottom = quad[..., 1:, :-1] * (16 - x) + quad[..., 1:, 1:] * x
        seen = (top * (16 - y) + bottom * y) >> 4
        self.seen = seen[..., 1:-1, 1:-1]
        self.slope_x = ((seen[..., 1:-1, 2:] - seen[..., 1:-1, :-2]) >> 4).astype(np.int64)
        self.slope_y = ((seen[..., 2:, 1:-1] - seen[..., :-2, 1:-1]) >> 4).astype(np.int64)
        self._solve()

    def _solve(self) -> None:
        def product(a: Array, b: Array) -> Array:
            return 64 * (a * b).sum((2, 3)) - a.sum((2, 3)) * b.sum((2, 3))

        self.xx = product(self.slope_x, self.slope_x) + 4096
        self.yy = product(self.slope_y, self.slope_y) + 4096
        self.xy = product(self.slope_x, self.slope_y)
        self.determinant = (self.xx * self.yy - self.xy * self.xy).astype(np.float32)

    def _step(self, numerator: Array) -> Array:
        """Return a step along one axis in samples, float32; numerator: int64."""
        move = np.float32(0.125) * (numerator.astype(np.float32) / self.determinant)
        return np.clip(move, np.float32(-2), np.float32(2))

    def fine(self, flow: Array) -> tuple[Array, Array]:
        """Return a flow per patch in 1/16 samples, kept near the picture."""
        x = np.clip(fixed(flow[..., 0], 16), 16 * (-self.x - 8), 16 * (self.columns - self.x))
        y = np.clip(fixed(flow[..., 1], 16), 16 * (-self.y - 8), 16 * (self.rows - self.y))
        return x, y

    def off(self, flow: Array) -> Array:
        """Return [rows, columns, 8, 8], the difference of each patch in 1/16 codes."""
        x, y = self.fine(flow)
        quad = self.other[self.y + 24 + (y >> 4), self.x + 24 + (x >> 4)].astype(np.int32)
        x, y = (axis[..., None, None] & 15 for axis in (x, y))
        top = quad[..., :-1, :-1] * (16 - x) + quad[..., :-1, 1:] * x
        bottom = quad[..., 1:, :-1] * (16 - x) + quad[..., 1:, 1:] * x
        return ((top * (16 - y) + bottom * y) >> 4) - self.seen

    def match(self, flow: Array) -> Array:
        """Return [rows, columns, 4]: error, sum, and sums along the slopes, of the difference."""
        off = self.off(flow).astype(np.int64)
        total, square = off.sum((2, 3)), (off * off).sum((2, 3))
        by_x, by_y = (off * self.slope_x).sum((2, 3)), (off * self.slope_y).sum((2, 3))
        return np.stack([64 * square - total * total, total, by_x, by_y], axis=2)

    def best_of(self, guesses: list[Array]) -> tuple[Array, Array]:
        """Return the first guess of each patch that fits, else the best one, and its match."""
        flow, best = guesses[0].copy(), self.match(guesses[0])
        for guess in guesses[1:]:
            match = self.match(guess)
            better = (best[..., 0] > FITS) & (match[..., 0] < best[..., 0])
            flow[better], best[better] = guess[better], match[better]
        return flow, best

    def descend(
        self, flow: Array, best: Array, active: Array, steps: int, enough: int = 0
    ) -> tuple[Array, Array]:
        """Take Gauss-Newton steps where `active`, as long as they improve more than `enough`."""
        sum_x, sum_y = self.slope_x.sum((2, 3)), self.slope_y.sum((2, 3))
        flow, best = flow.copy(), best.copy()
        for _ in range(steps):
            bx = 64 * best[..., 2] - sum_x * best[..., 1]
            by = 64 * best[..., 3] - sum_y * best[..., 1]
            at_x, at_y = ((axis / 16).astype(np.float32) for axis in self.fine(flow))
            to_x = at_x - self._step(self.yy * bx - self.xy * by)
            to_y = at_y - self._step(self.xx * by - self.xy * bx)
            target = np.stack([to_x, to_y], axis=2)
            match = self.match(target)
            accepted = active & (best[..., 0] > enough) & (match[..., 0] <= best[..., 0])
            flow[accepted] = target[accepted]
            active = accepted & (match[..., 0] < best[..., 0])
            best[active] = match[active]
        return flow, best[..., 0]

    def spread(self, flow: Array, error: Array, hop: int, steps: int) -> tuple[Array, Array]:
        """Try the flow of the four neighbours `hop` patches away."""
        best = np.zeros((*error.shape, 4), np.int64)
        best[..., 0] = error
        chosen = flow.copy()
        changed = np.zeros(error.shape, bool)
        down, across = np.indices(error.shape)
        for dx, dy in ((-hop, 0), (hop, 0), (0, -hop), (0, hop)):
            row, column = down + dy, across + dx
            inside = (row >= 0) & (row < error.shape[0]) & (column >= 0) & (column < error.shape[1])
            guess = flow[np.where(inside, row, 0), np.where(inside, column, 0)]
            match = self.match(guess)
            better = inside & (match[..., 0] < best[..., 0])
            chosen[better], best[better] = guess[better], match[better]
            changed |= better
        return self.descend(chosen, best, changed, steps)

    def blend(self, flow: Array) -> Array:
        """Return [H, W, 2]: the patches' flows, weighted by how well they fit each sample."""
        steps = [np.clip(fixed(flow[..., k] * np.float32(8), 16), -32752, 32752) for k in (0, 1)]
        if self.step == 8:  # every sample has one patch
            spread = np.stack(steps, axis=2).repeat(8, axis=0).repeat(8, axis=1)
            return spread[: self.rows, : self.columns].astype(np.float32) / np.float32(128)
        weight = 4096 // np.maximum(np.abs(self.off(flow)) >> 4, 1)
        sums = np.zeros((self.rows + 8, self.columns + 8, 3), np.int32)
        values = np.stack([weight * step[..., None, None] for step in steps] + [weight], axis=4)
        for j in range(8):
            for i in range(8):
                sums[self.y + j, self.x + i] += values[:, :, j, i]
        sums = sums[: self.rows, : self.columns].astype(np.float32)
        return sums[..., :2] / (sums[..., 2:] * np.float32(128))


def _windows(plane: Array, size: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(plane, (size, size))


def fixed(value: Array, steps: int) -> Array:
    """Return `value` in 1/steps, rounded half to even, as integers."""
    scaled = np.clip(value * np.float32(steps), -1048576, 1048576)
    return np.rint(scaled).astype(np.int32)


def align_ends(
    pictures: tuple[Array, Array], flows: tuple[Array, Array], share: Array, tau: float, steps: int
) -> tuple[Array, Array]:
    """See c_kernels.align_ends."""
    left, right = pictures
    level = _Level(left, right, 8)
    start, guess = (_middle(flow, level.x.shape) for flow in flows)
    level.see(left, start)
    first = level.match(guess)
    flow, error = level.descend(guess, first, np.ones(guess.shape[:2], bool), steps, FITS)
    rounding = start - np.stack([axis / np.float32(16) for axis in level.fine(start)], 2)
    offset = (flow - guess) + rounding.astype(np.float32)
    length = np.sqrt(np.square(offset[..., 0]) + np.square(offset[..., 1]))
    offset *= (ALIGN_MOST / np.maximum(length, ALIGN_MOST))[..., None]
    offset[error >= first[..., 0]] = 0
    offset = _between_patches(np.float32(0.5) * offset, share.shape)
    passed = np.float32(tau)
    near = np.float32(1) - passed
    seen = np.minimum(np.minimum(share / near, (np.float32(1) - share) / passed), np.float32(1))
    offset *= (ALIGN_GAIN * seen)[..., None]
    return flows[0] - offset * passed, flows[1] + offset * near


def _middle(flow: Array, patches: tuple[int, ...]) -> Array:
    """Return the mean flow, in samples, of the four cells in the middle of each patch."""
    rows, columns = flow.shape[:2]
    top, bottom = (np.clip(4 * np.arange(patches[0]) + k, 0, rows - 1)[:, None] for k in (1, 2))
    left, right = (np.clip(4 * np.arange(patches[1]) + k, 0, columns - 1) for k in (1, 2))
    return np.float32(0.5) * (
        (flow[top, left] + flow[top, right]) + (flow[bottom, left] + flow[bottom, right])
    )


def _between_patches(values: Array, shape: tuple[int, ...]) -> Array:
    """Read a number per patch of 4x4 cells at every cell, bilinearly."""
    places = []
    for cells, patches in zip(shape, values.shape[:2], strict=True):
        at = 2 * np.arange(cells) - 3  # half cells from the first patch's centre
        past = ((at & 7) / np.float32(8)).astype(np.float32)
        places.append(([np.clip((at >> 3) + k, 0, patches - 1) for k in (0, 1)], past[:, None]))
    (rows, past_y), (columns, past_x) = places
    lines = []
    for row in rows:
        left, right = (values[row][:, column] for column in columns)
        lines.append(left + (right - left) * past_x)
    return lines[0] + (lines[1] - lines[0]) * past_y[..., None]
