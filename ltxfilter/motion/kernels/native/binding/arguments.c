/* See arguments.h. */
#include "arguments.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *type_name(Type type)
{
    switch (type) {
    case INT8: return "int8";
    case UINT8: return "uint8";
    case INT16: return "int16";
    case UINT16: return "uint16";
    case INT32: return "int32";
    case INT64: return "int64";
    case FLOAT32: return "float32";
    case INTEGER: return "an integer";
    case REAL: return "a number";
    default: return "a tuple";
    }
}

static Py_ssize_t type_bytes(Type type)
{
    switch (type) {
    case INT8: case UINT8: return 1;
    case INT16: case UINT16: return 2;
    case INT64: return 8;
    default: return 4;
    }
}

static void give_back(Call *call)
{
    while (call->borrowed)
        PyBuffer_Release(&call->views[--call->borrowed]);
}

static int fail(const Call *call, const Argument *a, PyObject *kind, const char *reason)
{
    PyErr_Format(kind, "kernels.%s: %s %s", call->function, a->name, reason);
    return -1;
}

static int wrong_type(const Call *call, const Argument *a, const char *given)
{
    PyErr_Format(PyExc_TypeError, "kernels.%s: %s must be %s, not %s", call->function, a->name,
                 type_name(a->type), given);
    return -1;
}

static int *known_size(Call *call, char letter)
{
    return &call->sizes[letter - 'a'];
}

/* Read one size of a shape: factor, first letter of the name or 0, summand. Returns the rest. */
static const char *parse_size(const char *text, long *factor, char *letter, long *summand)
{
    char *rest;
    *factor = strtol(text, &rest, 10);
    *letter = 0, *summand = 0;
    if (rest == text)
        *factor = 1;
    while (*rest == ' ')
        rest++;
    if (*rest >= 'a' && *rest <= 'z') {
        *letter = *rest;
        while (*rest >= 'a' && *rest <= 'z')
            rest++;
        if (rest[0] == ' ' && rest[1] == '+')
            *summand = strtol(rest + 2, &rest, 10);
    }
    return rest[0] == ',' ? rest + 2 : rest;
}

/* Compare one size of a buffer with what the table says; a name that is new gets its size here. */
static int fits(Call *call, Py_ssize_t size, long factor, char letter, long summand)
{
    if (!letter)
        return size == factor;
    int *known = known_size(call, letter);
    if (!*known && size > summand && (size - summand) % factor == 0)
        *known = (int)((size - summand) / factor);
    return *known && size == (Py_ssize_t)*known * factor + summand;
}

static int wrong_shape(const Call *call, const Argument *a, const Py_buffer *view)
{
    char sizes[128] = "";
    for (int k = 0, end = 0; k < view->ndim && k < 2 * MOST_DIMENSIONS; k++)
        end += snprintf(sizes + end, sizeof sizes - (size_t)end, k ? ", %lld" : "%lld",
                        (long long)view->shape[k]);
    PyErr_Format(PyExc_ValueError, "kernels.%s: %s has shape [%s], not [%s] as other arguments say",
                 call->function, a->name, sizes, a->shape);
    return -1;
}

static int check_shape(Call *call, const Argument *a, const Py_buffer *view)
{
    const char *rest = a->shape;
    Py_ssize_t elements = 1;
    int k = 0;
    for (; *rest && k < view->ndim; k++) {
        long factor, summand;
        char letter;
        rest = parse_size(rest, &factor, &letter, &summand);
        if (view->shape[k] < 1)
            return fail(call, a, PyExc_ValueError, "is empty");
        if (view->shape[k] > LARGEST_SIDE || view->shape[k] > LARGEST_SIZE / elements)
            return fail(call, a, PyExc_ValueError, "is too large");
        if (!fits(call, view->shape[k], factor, letter, summand))
            return wrong_shape(call, a, view);
        elements *= view->shape[k];
    }
    return *rest || k < view->ndim ? wrong_shape(call, a, view) : 0;
}

/* Whether elements are where the kernel looks for them. */
static int check_layout(const Call *call, const Argument *a, const Py_buffer *view)
{
    const Py_ssize_t bytes = type_bytes(a->type);
    if (a->use & ROWS) {
        if (view->shape[1] > 1 && view->strides[1] != bytes)
            return fail(call, a, PyExc_ValueError, "has samples of a row that are not adjacent");
        if (view->shape[0] > 1 && view->strides[0] % bytes)
            return fail(call, a, PyExc_ValueError, "has rows that are not aligned");
    } else if (!PyBuffer_IsContiguous(view, 'C'))
        return fail(call, a, PyExc_ValueError, "is not C-contiguous");
    if ((uintptr_t)view->buf % (size_t)bytes)
        return fail(call, a, PyExc_ValueError, "is not aligned");
    if (a->use & WRITTEN && view->readonly)
        return fail(call, a, PyExc_ValueError, "is read-only");
    return 0;
}

/* The first byte of a buffer, and the one after its last. */
static void extent(const Py_buffer *view, uintptr_t *first, uintptr_t *end)
{
    *first = (uintptr_t)view->buf, *end = *first + (uintptr_t)view->itemsize;
    for (int k = 0; k < view->ndim; k++) {
        const Py_ssize_t reach = (view->shape[k] - 1) * view->strides[k];
        if (reach < 0)
            *first -= (uintptr_t)-reach;
        else
            *end += (uintptr_t)reach;
    }
}

/* The kernels assume that an output shares no memory with anything else. */
static int check_overlap(const Call *call, const Argument *a, const Py_buffer *view)
{
    uintptr_t first, end, other_first, other_end;
    extent(view, &first, &end);
    for (int k = 0; k < call->borrowed; k++) {
        extent(&call->views[k], &other_first, &other_end);
        const int written = (a->use | call->uses[call->view_of[k]]) & WRITTEN;
        if (written && first < other_end && other_first < end)
            return fail(call, a, PyExc_ValueError, "overlaps another argument");
    }
    return 0;
}

static int check_format(const Call *call, const Argument *a, const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    const int is_long = format[0] == 'l' && (a->type == INT32 || a->type == INT64);
    if (!format[1] && view->itemsize == type_bytes(a->type) &&
        (is_long || format[0] == (char)a->type))
        return 0;
    char given[40];
    snprintf(given, sizeof given, "format '%.20s'", format);
    return wrong_type(call, a, given);
}

static int take_buffer(Call *call, const Argument *a, PyObject *object)
{
    Py_buffer *view = &call->views[call->borrowed];
    const int place = call->count;
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT) < 0) {
        PyErr_Clear();
        return wrong_type(call, a, "an object without a buffer");
    }
    if (check_format(call, a, view) < 0 || check_shape(call, a, view) < 0 ||
        check_layout(call, a, view) < 0 || check_overlap(call, a, view) < 0) {
        PyBuffer_Release(view);
        return -1;
    }
    call->at[place] = view->buf;
    call->stride[place] = view->strides[0];
    call->view_of[call->borrowed++] = place;
    return 0;
}

static int take_number(Call *call, const Argument *a, PyObject *object)
{
    int overflow = 0;
    const double value = a->type == REAL ? PyFloat_AsDouble(object)
                                         : (double)PyLong_AsLongAndOverflow(object, &overflow);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return wrong_type(call, a, "an object of another type");
    }
    if (overflow || !(value >= a->low && value <= a->high)) { /* not a number is outside, too */
        char reason[96];
        snprintf(reason, sizeof reason, "must be from %g to %g", a->low, a->high);
        return fail(call, a, PyExc_ValueError, reason);
    }
    call->number[call->count] = value;
    return 0;
}

static int take_tuple(Call *call, const Argument *a, PyObject *object)
{
    if (!PyTuple_Check(object))
        return wrong_type(call, a, "an object of another type");
    const double items = (double)PyTuple_Size(object);
    if (items < a->low || items > a->high) {
        char reason[96];
        snprintf(reason, sizeof reason, "must have %g to %g items", a->low, a->high);
        return fail(call, a, PyExc_ValueError, reason);
    }
    call->at[call->count] = object;
    return 0;
}

static int take_one(Call *call, const Argument *a, PyObject *object)
{
    int failed = 0;
    call->at[call->count] = NULL, call->number[call->count] = 0.0;
    call->stride[call->count] = 0, call->uses[call->count] = a->use;
    if (object == Py_None && a->use & OPTIONAL)
        ;
    else if (a->type == TUPLE)
        failed = take_tuple(call, a, object);
    else if (a->type == INTEGER || a->type == REAL)
        failed = take_number(call, a, object);
    else
        failed = take_buffer(call, a, object);
    call->count++;
    return failed;
}

int take_items(Call *call, const Argument *wanted, PyObject *tuple)
{
    Py_ssize_t count = 0;
    while (wanted[count].name)
        count++;
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != count ||
        call->count + count > MOST_ARGUMENTS) {
        give_back(call);
        PyErr_Format(PyExc_TypeError, "kernels.%s: a tuple of %zd arguments is wanted",
                     call->function, count);
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++)
        if (take_one(call, &wanted[k], PyTuple_GetItem(tuple, k)) < 0) {
            give_back(call);
            return -1;
        }
    return 0;
}

int take(Call *call, const char *function, const Argument *wanted, PyObject *args)
{
    call->function = function;
    call->count = call->borrowed = 0;
    memset(call->sizes, 0, sizeof call->sizes);
    return take_items(call, wanted, args);
}

int size_of(const Call *call, const char *name)
{
    return call->sizes[name[0] - 'a'];
}

PyObject *refuse(Call *call, const char *name, const char *reason)
{
    give_back(call);
    return PyErr_Format(PyExc_ValueError, "kernels.%s: %s %s", call->function, name, reason);
}

PyObject *finish(Call *call, int failed)
{
    give_back(call);
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}
