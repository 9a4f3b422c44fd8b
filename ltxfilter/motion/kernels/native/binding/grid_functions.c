/* The kernels that work on the grid of cells, as Python functions. */
#include "functions.h"

enum { LARGEST_BIAS = 1 << 20 }; /* of `propagate`, in 1/4096 codes: more than any cost */
#define LARGEST_SPAN 1e9         /* lengths of a pair that its neighbour lasts */
#define LARGEST_BEND 1e18        /* of a trajectory: 1 / (4 span^2) at most */
#define LARGEST_SCALE 65536.0    /* of a field, in 1/32 samples per cell */

PyObject *py_agree(PyObject *module, PyObject *args)
{
    enum { THERE, BACK, OUT };
    static const Argument wanted[] = {
        {"there", FLOAT32, "rows, columns, 2"},
        {"back", FLOAT32, "rows, columns, 2"},
        {"out", FLOAT32, "rows, columns", WRITTEN},
        {NULL},
    };
    Call call;
    (void)module;
    if (take(&call, "agree", wanted, args) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    agree(call.at[THERE], call.at[BACK], size_of(&call, "rows"), size_of(&call, "columns"),
          call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, 0);
}

PyObject *py_fill(PyObject *module, PyObject *args)
{
    enum { SUMS, OUT };
    static const Argument wanted[] = {
        {"sums", FLOAT32, "3, rows, columns"},
        {"out", FLOAT32, "rows, columns, 2", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "fill", wanted, args) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = fill(call.at[SUMS], size_of(&call, "rows"), size_of(&call, "columns"), call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_share_of_left(PyObject *module, PyObject *args)
{
    enum { LEFT, RIGHT, NEAR, FAR, OUT };
    static const Argument wanted[] = {
        {"left", FLOAT32, "3, rows, columns"},
        {"right", FLOAT32, "3, rows, columns"},
        {"near", REAL, .low = 0, .high = 1},
        {"far", REAL, .low = 0, .high = 1},
        {"out", FLOAT32, "rows, columns", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "share_of_left", wanted, args) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = share_of_left(call.at[LEFT], call.at[RIGHT], (float)call.number[NEAR],
                           (float)call.number[FAR], size_of(&call, "rows"),
                           size_of(&call, "columns"), call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_make_field(PyObject *module, PyObject *args)
{
    enum { TO_LEFT, TO_RIGHT, SHARE, SCALE_X, SCALE_Y, OUT };
    static const Argument wanted[] = {
        {"to_left", FLOAT32, "rows, columns, 2"},
        {"to_right", FLOAT32, "rows, columns, 2"},
        {"share", FLOAT32, "rows, columns"},
        {"scale_x", REAL, .low = 0, .high = LARGEST_SCALE},
        {"scale_y", REAL, .low = 0, .high = LARGEST_SCALE},
        {"out", INT16, "5, rows + 2, columns + 2", WRITTEN},
        {NULL},
    };
    Call call;
    (void)module;
    if (take(&call, "make_field", wanted, args) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    make_field(call.at[TO_LEFT], call.at[TO_RIGHT], call.at[SHARE], (float)call.number[SCALE_X],
               (float)call.number[SCALE_Y], size_of(&call, "rows"), size_of(&call, "columns"),
               call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, 0);
}

PyObject *py_splat(PyObject *module, PyObject *args)
{
    enum { FLOW, WEIGHT, OUT };
    static const Argument wanted[] = {
        {"flow", FLOAT32, "rows, columns, 2"},
        {"weight", FLOAT32, "rows, columns"},
        {"out", FLOAT32, "3, rows, columns", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "splat", wanted, args) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = splat(call.at[FLOW], call.at[WEIGHT], size_of(&call, "rows"),
                   size_of(&call, "columns"), call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_travel(PyObject *module, PyObject *args)
{
    enum { AHEAD, BEHIND, SURE, PASSED, SPAN, BEND, OUT };
    static const Argument wanted[] = {
        {"ahead", FLOAT32, "rows, columns, 2"},
        {"behind", FLOAT32, "rows, columns, 2"},
        {"sure", FLOAT32, "rows, columns"},
        {"passed", REAL, .low = 0, .high = 1},
        {"span", REAL, .low = 0, .high = LARGEST_SPAN},
        {"bend", REAL, .low = -LARGEST_BEND, .high = LARGEST_BEND},
        {"out", FLOAT32, "rows, columns, 2", WRITTEN},
        {NULL},
    };
    Call call;
    (void)module;
    if (take(&call, "travel", wanted, args) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    travel(call.at[AHEAD], call.at[BEHIND], call.at[SURE], (float)call.number[PASSED],
           (float)call.number[SPAN], (float)call.number[BEND],
           size_of(&call, "rows") * size_of(&call, "columns"), call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, 0);
}

/* Whether all candidates lie within the border that `propagate` pads its planes by. */
static int within_reach(const int32_t *shifts, int count)
{
    for (int k = 0; k < 2 * count; k++)
        if (shifts[k] < -LONGEST_SHIFT || shifts[k] > LONGEST_SHIFT)
            return 0;
    return count <= MOST_SHIFTS;
}

PyObject *py_propagate(PyObject *module, PyObject *args)
{
    enum { SEEN, OTHER, FLOW, FORMER, SHIFTS, BIAS, OUT };
    static const Argument wanted[] = {
        {"seen", UINT8, "rows, columns"},
        {"other", UINT8, "rows, columns"},
        {"flow", FLOAT32, "rows, columns, 2"},
        {"former", FLOAT32, "rows, columns, 2", OPTIONAL},
        {"shifts", INT32, "shifts, 2"},
        {"bias", INTEGER, .low = 0, .high = LARGEST_BIAS},
        {"out", INT16, "rows, columns, 2", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "propagate", wanted, args) < 0)
        return NULL;
    if (!within_reach(call.at[SHIFTS], size_of(&call, "shifts")))
        return refuse(&call, "shifts", "must be at most 253, each from -16 to 16 cells");
    const Propagation arguments = {
        .flow = call.at[FLOW], .former = call.at[FORMER], .seen = call.at[SEEN],
        .other = call.at[OTHER], .shifts = call.at[SHIFTS], .count = size_of(&call, "shifts"),
        .bias = (int32_t)call.number[BIAS], .rows = size_of(&call, "rows"),
        .columns = size_of(&call, "columns"), .out = call.at[OUT],
    };
    Py_BEGIN_ALLOW_THREADS
    failed = propagate(&arguments);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}
