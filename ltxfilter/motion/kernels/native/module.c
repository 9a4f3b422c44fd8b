/* The kernels as a Python module; it trusts the shapes and types that kernels.py checks. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "kernels.h"

/* Borrow the buffers of `count` objects; on failure none is held. */
static int borrow(PyObject **objects, Py_buffer *views, int count, int last_writable)
{
    for (int i = 0; i < count; i++) {
        int flags = PyBUF_STRIDES | (last_writable && i == count - 1 ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(objects[i], &views[i], flags) < 0) {
            while (i--)
                PyBuffer_Release(&views[i]);
            return -1;
        }
    }
    return 0;
}

static PyObject *give_back(Py_buffer *views, int count, int failed)
{
    while (count--)
        PyBuffer_Release(&views[count]);
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *py_propagate(PyObject *module, PyObject *args)
{
    PyObject *objects[6];
    Py_buffer v[6];
    int bias, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOiO", &objects[0], &objects[1], &objects[2], &objects[3],
                          &objects[4], &bias, &objects[5]) || borrow(objects, v, 6, 1) < 0)
        return NULL;
    const float *flow = v[0].buf, *former = v[1].buf == flow ? NULL : v[1].buf;
    Py_BEGIN_ALLOW_THREADS
    failed = propagate(flow, former, v[2].buf, v[3].buf, v[4].buf, (int)v[4].shape[0], bias,
                       (int)v[0].shape[0], (int)v[0].shape[1], v[5].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 6, failed);
}

static PyObject *py_agree(PyObject *module, PyObject *args)
{
    PyObject *objects[3];
    Py_buffer v[3];
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO", &objects[0], &objects[1], &objects[2]) ||
        borrow(objects, v, 3, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    agree(v[0].buf, v[1].buf, (int)v[0].shape[0], (int)v[0].shape[1], v[2].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 3, 0);
}

static PyObject *py_fill(PyObject *module, PyObject *args)
{
    PyObject *objects[2];
    Py_buffer v[2];
    int failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &objects[0], &objects[1]) || borrow(objects, v, 2, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = fill(v[0].buf, (int)v[0].shape[1], (int)v[0].shape[2], v[1].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 2, failed);
}

static PyObject *py_share_of_left(PyObject *module, PyObject *args)
{
    PyObject *objects[3];
    Py_buffer v[3];
    float near, far;
    int failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOffO", &objects[0], &objects[1], &near, &far, &objects[2]) ||
        borrow(objects, v, 3, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = share_of_left(v[0].buf, v[1].buf, near, far, (int)v[0].shape[1], (int)v[0].shape[2],
                           v[2].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 3, failed);
}

static PyObject *py_make_field(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Py_buffer v[4];
    float scale_x, scale_y;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOffO", &objects[0], &objects[1], &objects[2], &scale_x, &scale_y,
                          &objects[3]) || borrow(objects, v, 4, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    make_field(v[0].buf, v[1].buf, v[2].buf, scale_x, scale_y, (int)v[0].shape[0],
               (int)v[0].shape[1], v[3].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 4, 0);
}

static PyObject *py_search(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Py_buffer v[4];
    int step, rounds, steps, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOiiiO", &objects[0], &objects[1], &objects[2], &step, &rounds,
                          &steps, &objects[3]) || borrow(objects, v, 4, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = search(v[0].buf, v[1].buf, v[2].buf, (int)v[2].shape[0], step, rounds, steps,
                    (int)v[0].shape[0], (int)v[0].shape[1], v[3].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 4, failed);
}

static PyObject *py_polish(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Py_buffer v[4];
    int steps, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOiO", &objects[0], &objects[1], &objects[2], &steps,
                          &objects[3]) || borrow(objects, v, 4, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = polish(v[0].buf, v[1].buf, v[2].buf, steps, (int)v[0].shape[0], (int)v[0].shape[1],
                    v[3].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 4, failed);
}

static PyObject *py_settle(PyObject *module, PyObject *args)
{
    PyObject *o[7];
    Py_buffer v[7];
    float tau;
    int steps, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOfiOO", &o[0], &o[1], &o[2], &o[3], &o[4], &tau, &steps, &o[5],
                          &o[6]) || borrow(o, v, 7, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = settle(v[0].buf, v[1].buf, v[2].buf, v[3].buf, v[4].buf, tau, steps,
                    (int)v[4].shape[0], (int)v[4].shape[1], v[5].buf, v[6].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 7, failed);
}

static PyObject *py_splat(PyObject *module, PyObject *args)
{
    PyObject *objects[3];
    Py_buffer v[3];
    int failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO", &objects[0], &objects[1], &objects[2]) ||
        borrow(objects, v, 3, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = splat(v[0].buf, v[1].buf, (int)v[0].shape[0], (int)v[0].shape[1], v[2].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 3, failed);
}

static PyObject *py_travel(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Py_buffer v[4];
    float passed, span, bend;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOfffO", &objects[0], &objects[1], &objects[2], &passed, &span,
                          &bend, &objects[3]) || borrow(objects, v, 4, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    travel(v[0].buf, v[1].buf, v[2].buf, passed, span, bend,
           (int)(v[2].shape[0] * v[2].shape[1]), v[3].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 4, 0);
}

static PyObject *py_warp(PyObject *module, PyObject *args)
{
    PyObject *objects[3 + 3 * MOST_PLANES], *planes, *field, *taps, *still;
    Py_buffer v[3 + 3 * MOST_PLANES], *first = v + 3;
    int cell_x, cell_y, depth, tau, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOiiiOi", &planes, &field, &taps, &cell_x, &cell_y, &depth,
                          &still, &tau))
        return NULL;
    const int count = (int)PyTuple_Size(planes), views = 3 + 3 * count;
    if (count < 1 || count > MOST_PLANES)
        return PyErr_Format(PyExc_ValueError, "one to four planes, not %d", count);
    objects[0] = field, objects[1] = taps, objects[2] = still == Py_None ? taps : still;
    for (int i = 0; i < 3 * count; i++)
        objects[3 + i] = PyTuple_GetItem(PyTuple_GetItem(planes, i / 3), i % 3);
    if (borrow(objects, v, views, 1) < 0)
        return NULL;
    Warp w = {.count = count, .still = still == Py_None ? NULL : v[2].buf, .taps = v[1].buf,
              .width = (int)first->shape[1], .height = (int)first->shape[0],
              .deep = first->itemsize == 2, .most = (1 << depth) - 1, .tau = tau};
    for (int k = 0; k < count; k++) {
        const Py_buffer *a = first + 3 * k, *b = a + 1, *out = a + 2;
        w.planes[k] = (WarpPlane){a->buf, b->buf, out->buf, a->strides[0], b->strides[0],
                                  out->strides[0]};
    }
    Py_BEGIN_ALLOW_THREADS
    failed = warp(&w, v[0].buf, (int)v[0].shape[1], (int)v[0].shape[2], cell_x, cell_y);
    Py_END_ALLOW_THREADS
    return give_back(v, views, failed);
}

static PyObject *py_still(PyObject *module, PyObject *args)
{
    PyObject *objects[6], *planes, *seen, *out;
    Py_buffer v[6];
    const uint8_t *pointers[4];
    ptrdiff_t strides[4];
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO", &planes, &seen, &out))
        return NULL;
    const int count = (int)PyTuple_Size(planes), remembers = seen != Py_None;
    if (count < 2 || count > 4)
        return PyErr_Format(PyExc_ValueError, "two to four planes, not %d", count);
    for (int i = 0; i < count; i++)
        objects[i] = PyTuple_GetItem(planes, i);
    objects[count] = remembers ? seen : out;
    objects[count + 1] = out;
    if (borrow(objects, v, count + 2, 1) < 0)
        return NULL;
    for (int i = 0; i < count; i++)
        pointers[i] = v[i].buf, strides[i] = v[i].strides[0];
    int found;
    Py_BEGIN_ALLOW_THREADS
    found = still(pointers, strides, count, (int)v[0].shape[1], (int)v[0].shape[0],
                  remembers ? v[count].buf : NULL, v[count + 1].buf);
    Py_END_ALLOW_THREADS
    PyObject *none = give_back(v, count + 2, found < 0);
    if (!none)
        return NULL;
    Py_DECREF(none);
    return PyLong_FromLong(found);
}

static PyMethodDef methods[] = {
    {"agree", py_agree, METH_VARARGS, "agree(there, back, out)"},
    {"fill", py_fill, METH_VARARGS, "fill(sums, out)"},
    {"make_field", py_make_field, METH_VARARGS,
     "make_field(to_left, to_right, mix, scale_x, scale_y, out)"},
    {"share_of_left", py_share_of_left, METH_VARARGS,
     "share_of_left(left, right, near, far, out)"},
    {"propagate", py_propagate, METH_VARARGS,
     "propagate(flow, former or flow, seen, other, shifts, bias, out)"},
    {"search", py_search, METH_VARARGS, "search(seen, other, guesses, step, rounds, steps, out)"},
    {"polish", py_polish, METH_VARARGS, "polish(seen, other, flow, steps, out)"},
    {"settle", py_settle, METH_VARARGS,
     "settle(left, right, to_left, to_right, share, tau, steps, out_left, out_right)"},
    {"splat", py_splat, METH_VARARGS, "splat(flow, weight, out)"},
    {"travel", py_travel, METH_VARARGS, "travel(ahead, behind, sure, passed, span, bend, out)"},
    {"warp", py_warp, METH_VARARGS,
     "warp(((a, b, out), ...), field, taps, cell_x, cell_y, depth, still, tau)"},
    {"still", py_still, METH_VARARGS, "still(planes, seen, out) -> how many samples stand still"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "plain.py, compiled: trusts shapes and types.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
