/* The functions of the Python module. Each checks its arguments against the table that it begins
 * with (arguments.h), and runs its kernel (kernels.h) without the interpreter's lock. */
#ifndef LTXFILTER_FUNCTIONS_H
#define LTXFILTER_FUNCTIONS_H

#include "arguments.h"

#include "kernels.h"

PyObject *py_agree(PyObject *module, PyObject *args);
PyObject *py_align_ends(PyObject *module, PyObject *args);
PyObject *py_fill(PyObject *module, PyObject *args);
PyObject *py_limit_change(PyObject *module, PyObject *args);
PyObject *py_make_field(PyObject *module, PyObject *args);
PyObject *py_polish(PyObject *module, PyObject *args);
PyObject *py_propagate(PyObject *module, PyObject *args);
PyObject *py_search(PyObject *module, PyObject *args);
PyObject *py_share_of_left(PyObject *module, PyObject *args);
PyObject *py_splat(PyObject *module, PyObject *args);
PyObject *py_static_mask(PyObject *module, PyObject *args);
PyObject *py_tile_features(PyObject *module, PyObject *args);
PyObject *py_tile_mix(PyObject *module, PyObject *args);
PyObject *py_tile_motions(PyObject *module, PyObject *args);
PyObject *py_tile_samples(PyObject *module, PyObject *args);
PyObject *py_tile_weights(PyObject *module, PyObject *args);
PyObject *py_travel(PyObject *module, PyObject *args);
PyObject *py_warp(PyObject *module, PyObject *args);

/* Whether a filter keeps flat areas as they are, and no sum of 16-bit samples overflows an int. */
int is_filter(const int8_t *taps);
#define FILTER_REASON "must sum to 64 in each row, and their sizes to 128 at most"

#endif
