/* The kernels as a Python module; c_kernels.py calls it, and documents what they compute. */
#include "functions.h"

static PyMethodDef methods[] = {
    {"agree", py_agree, METH_VARARGS, "agree(there, back, out)"},
    {"align_ends", py_align_ends, METH_VARARGS,
     "align_ends(left, right, to_left, to_right, share, tau, steps, out_left, out_right)"},
    {"fill", py_fill, METH_VARARGS, "fill(sums, out)"},
    {"limit_change", py_limit_change, METH_VARARGS, "limit_change(weights, samples, depth)"},
    {"make_field", py_make_field, METH_VARARGS,
     "make_field(to_left, to_right, share, scale_x, scale_y, out)"},
    {"polish", py_polish, METH_VARARGS, "polish(seen, other, flow, steps, out)"},
    {"propagate", py_propagate, METH_VARARGS,
     "propagate(seen, other, flow, former or None, shifts, bias, out)"},
    {"search", py_search, METH_VARARGS, "search(seen, other, guesses, step, rounds, steps, out)"},
    {"share_of_left", py_share_of_left, METH_VARARGS,
     "share_of_left(left, right, near, far, out)"},
    {"splat", py_splat, METH_VARARGS, "splat(flow, weight, out)"},
    {"static_mask", py_static_mask, METH_VARARGS,
     "static_mask(pictures, seen or None, out) -> how many samples are static"},
    {"tile_features", py_tile_features, METH_VARARGS,
     "tile_features(samples, motions, field, tiles, down, across, static_mask or None, depth, tau, "
     "out)"},
    {"tile_mix", py_tile_mix, METH_VARARGS,
     "tile_mix(picture, samples, weights, gains or None, tiles, index, static_mask or None, depth, "
     "wanted)"},
    {"tile_motions", py_tile_motions, METH_VARARGS, "tile_motions(field, tiles, out)"},
    {"tile_samples", py_tile_samples, METH_VARARGS,
     "tile_samples(((drawn, left, right, out), ...), motions, tiles, taps, block_x, block_y, shift_x, "
     "shift_y, deep)"},
    {"tile_weights", py_tile_weights, METH_VARARGS,
     "tile_weights(features, field, tiles, weights_1, bias_1, ..., weights_4, bias_4, halvings, "
     "out, gains)"},
    {"travel", py_travel, METH_VARARGS, "travel(ahead, behind, sure, passed, span, bend, out)"},
    {"warp", py_warp, METH_VARARGS,
     "warp(((left, right, out, squares), ...), field, taps, cell_x, cell_y, depth, "
     "static_mask or None, tau, tile)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "The kernels in C, which check their arguments.", -1,
    methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
