/* The functions of the Python module. Each checks its arguments against the table that it begins
 * with (arguments.h), and runs its kernel (kernels.h) without the interpreter's lock. */
#ifndef LTXFILTER_FUNCTIONS_H
#define LTXFILTER_FUNCTIONS_H

#include "arguments.h"

#include "kernels.h"

PyObject *py_agree(PyObject *module, PyObject *args);
PyObject *py_align_ends(PyObject *module, PyObject *args);
PyObject *py_fill(PyObject *module, PyObject *args);
PyObject *py_make_field(PyObject *module, PyObject *args);
PyObject *py_polish(PyObject *module, PyObject *args);
PyObject *py_propagate(PyObject *module, PyObject *args);
PyObject *py_search(PyObject *module, PyObject *args);
PyObject *py_share_of_left(PyObject *module, PyObject *args);
PyObject *py_splat(PyObject *module, PyObject *args);
PyObject *py_static_mask(PyObject *module, PyObject *args);
PyObject *py_travel(PyObject *module, PyObject *args);
PyObject *py_warp(PyObject *module, PyObject *args);

#endif
