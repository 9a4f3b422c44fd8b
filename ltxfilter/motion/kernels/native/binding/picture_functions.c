/* The kernels that work on pictures, as Python functions. */
#include "functions.h"

enum {
    MOST_STEPS = 64,   /* Gauss-Newton steps */
    MOST_ROUNDS = 16,  /* of trying neighbours' flow, from 2^(rounds - 1) patches away */
    WIDEST_CELL = 256, /* samples */
    LEAST_TILE = 16,   /* samples: what is warped at once lies in one */
};

PyObject *py_search(PyObject *module, PyObject *args)
{
    enum { SEEN, OTHER, GUESSES, STEP, ROUNDS, STEPS, OUT };
    static const Argument wanted[] = {
        {"seen", UINT8, "rows, columns"},
        {"other", UINT8, "rows, columns"},
        {"guesses", FLOAT32, "guesses, down, across, 2"},
        {"step", INTEGER, .low = 4, .high = 8}, /* more patches over a sample overflow its sum */
        {"rounds", INTEGER, .low = 0, .high = MOST_ROUNDS},
        {"steps", INTEGER, .low = 0, .high = MOST_STEPS},
        {"out", FLOAT32, "rows, columns, 2", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "search", wanted, args) < 0)
        return NULL;
    const PatchSearch arguments = {
        .seen = call.at[SEEN], .other = call.at[OTHER], .guesses = call.at[GUESSES],
        .count = size_of(&call, "guesses"), .step = (int)call.number[STEP],
        .rounds = (int)call.number[ROUNDS], .steps = (int)call.number[STEPS],
        .rows = size_of(&call, "rows"), .columns = size_of(&call, "columns"), .out = call.at[OUT],
    };
    if (size_of(&call, "down") != patches_over(arguments.rows, arguments.step) ||
        size_of(&call, "across") != patches_over(arguments.columns, arguments.step))
        return refuse(&call, "guesses", "must have one flow per patch");
    Py_BEGIN_ALLOW_THREADS
    failed = search(&arguments);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_polish(PyObject *module, PyObject *args)
{
    enum { SEEN, OTHER, FLOW, STEPS, OUT };
    static const Argument wanted[] = {
        {"seen", UINT8, "rows, columns"},
        {"other", UINT8, "rows, columns"},
        {"flow", FLOAT32, "rows, columns, 2"},
        {"steps", INTEGER, .low = 0, .high = MOST_STEPS},
        {"out", FLOAT32, "rows, columns, 2", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "polish", wanted, args) < 0)
        return NULL;
    const PatchSearch arguments = {
        .seen = call.at[SEEN], .other = call.at[OTHER], .flow = call.at[FLOW],
        .steps = (int)call.number[STEPS], .rows = size_of(&call, "rows"),
        .columns = size_of(&call, "columns"), .out = call.at[OUT],
    };
    Py_BEGIN_ALLOW_THREADS
    failed = polish(&arguments);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_align_ends(PyObject *module, PyObject *args)
{
    enum { LEFT, RIGHT, TO_LEFT, TO_RIGHT, SHARE, TAU, STEPS, OUT_LEFT, OUT_RIGHT };
    static const Argument wanted[] = {
        {"left", UINT8, "2 rows, 2 columns"},
        {"right", UINT8, "2 rows, 2 columns"},
        {"to_left", FLOAT32, "rows, columns, 2"},
        {"to_right", FLOAT32, "rows, columns, 2"},
        {"share", FLOAT32, "rows, columns"},
        {"tau", REAL, .low = 0, .high = 1},
        {"steps", INTEGER, .low = 0, .high = MOST_STEPS},
        {"out_left", FLOAT32, "rows, columns, 2", WRITTEN},
        {"out_right", FLOAT32, "rows, columns, 2", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "align_ends", wanted, args) < 0)
        return NULL;
    const EndAlignment arguments = {
        .left = call.at[LEFT], .right = call.at[RIGHT], .to_left = call.at[TO_LEFT],
        .to_right = call.at[TO_RIGHT], .share = call.at[SHARE], .tau = (float)call.number[TAU],
        .steps = (int)call.number[STEPS], .rows = size_of(&call, "rows"),
        .columns = size_of(&call, "columns"), .out_left = call.at[OUT_LEFT],
        .out_right = call.at[OUT_RIGHT],
    };
    Py_BEGIN_ALLOW_THREADS
    failed = align_ends(&arguments);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

/* Take the planes of a warp: tuples of the left end, the right end, the output and the squares. */
static int take_planes(Call *call, PyObject *planes, Warp *w)
{
    const Type samples = w->deep ? UINT16 : UINT8;
    const Argument plane[] = {
        {"left", samples, "height, width", ROWS},
        {"right", samples, "height, width", ROWS},
        {"out", samples, "height, width", ROWS | WRITTEN},
        {"squares", INT64, "down, across", WRITTEN},
        {NULL},
    };
    w->count = (int)PyTuple_Size(planes);
    for (int k = 0; k < w->count; k++) {
        const int at = call->count;
        if (take_items(call, plane, PyTuple_GetItem(planes, k)) < 0)
            return -1;
        w->planes[k] = (WarpPlane){
            .left = call->at[at], .right = call->at[at + 1], .out = call->at[at + 2],
            .stride_left = call->stride[at], .stride_right = call->stride[at + 1],
            .stride_out = call->stride[at + 2], .squares = call->at[at + 3],
        };
    }
    w->height = size_of(call, "height"), w->width = size_of(call, "width");
    w->down = size_of(call, "down"), w->across = size_of(call, "across");
    return 0;
}

int is_filter(const int8_t *taps)
{
    for (int phase = 0; phase < PHASES; phase++, taps += TAPS) {
        int sum = 0, size = 0;
        for (int k = 0; k < TAPS; k++)
            sum += taps[k], size += abs(taps[k]);
        if (sum != 64 || size > 128)
            return 0;
    }
    return 1;
}

static int tiles_over(int samples, int tile)
{
    return (samples + tile - 1) / tile;
}

/* What is wrong with the arguments of a warp beside types and shapes: its name, or NULL. */
static const char *wrong_in_warp(const Warp *w, const char **reason)
{
    *reason = "must be a power of two";
    if (w->cell_x & (w->cell_x - 1))
        return "cell_x";
    if (w->cell_y & (w->cell_y - 1))
        return "cell_y";
    if (w->tile & (w->tile - 1))
        return "tile";
    *reason = "must cover the planes, with one cell of border on each side";
    if ((int64_t)(w->rows - 2) * w->cell_y < w->height ||
        (int64_t)(w->columns - 2) * w->cell_x < w->width)
        return "field";
    *reason = "must have a sum for each tile";
    if (w->down != tiles_over(w->height, w->tile) || w->across != tiles_over(w->width, w->tile))
        return "squares";
    *reason = FILTER_REASON;
    return is_filter(w->taps) ? NULL : "taps";
}

PyObject *py_warp(PyObject *module, PyObject *args)
{
    enum { PLANES, FIELD, FILTER, CELL_X, CELL_Y, DEPTH, MASK, TAU, TILE };
    static const Argument wanted[] = {
        {"planes", TUPLE, .low = 1, .high = MOST_PLANES},
        {"field", INT16, "5, rows, columns"},
        {"taps", INT8, "16, 4"},
        {"cell_x", INTEGER, .low = 1, .high = WIDEST_CELL},
        {"cell_y", INTEGER, .low = 1, .high = WIDEST_CELL},
        {"depth", INTEGER, .low = 8, .high = 16},
        {"static_mask", UINT8, "height, width", OPTIONAL},
        {"tau", INTEGER, .low = 0, .high = 32767},
        {"tile", INTEGER, .low = LEAST_TILE, .high = LARGEST_SIDE},
        {NULL},
    };
    Call call;
    const char *reason;
    int failed;
    (void)module;
    if (take(&call, "warp", wanted, args) < 0)
        return NULL;
    Warp w = {
        .static_mask = call.at[MASK], .taps = call.at[FILTER], .field = call.at[FIELD],
        .rows = size_of(&call, "rows"), .columns = size_of(&call, "columns"),
        .cell_x = (int)call.number[CELL_X], .cell_y = (int)call.number[CELL_Y],
        .deep = call.number[DEPTH] > 8, .most = (1 << (int)call.number[DEPTH]) - 1,
        .quarters = 2 + (int)call.number[DEPTH] - 8, .tau = (int)call.number[TAU],
        .tile = (int)call.number[TILE],
    };
    if (take_planes(&call, call.at[PLANES], &w) < 0)
        return NULL;
    const char *name = wrong_in_warp(&w, &reason);
    if (name)
        return refuse(&call, name, reason);
    Py_BEGIN_ALLOW_THREADS
    failed = warp(&w);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_static_mask(PyObject *module, PyObject *args)
{
    enum { PICTURES, SEEN, OUT, FIRST };
    static const Argument wanted[] = {
        {"pictures", TUPLE, .low = 2, .high = MOST_PICTURES},
        {"seen", UINT8, "height, width", OPTIONAL | WRITTEN},
        {"out", UINT8, "height, width", WRITTEN},
        {NULL},
    };
    static const Argument picture = {"pictures", UINT8, "height, width", ROWS};
    const Argument pictures[] = {picture, picture, picture, picture, {NULL}};
    Call call;
    int found;
    (void)module;
    if (take(&call, "static_mask", wanted, args) < 0)
        return NULL;
    const int count = (int)PyTuple_Size(call.at[PICTURES]);
    if (take_items(&call, pictures + MOST_PICTURES - count, call.at[PICTURES]) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    found = static_mask((const uint8_t *const *)(call.at + FIRST), call.stride + FIRST, count,
                        size_of(&call, "width"), size_of(&call, "height"), call.at[SEEN],
                        call.at[OUT]);
    Py_END_ALLOW_THREADS
    PyObject *none = finish(&call, found < 0);
    if (!none)
        return NULL;
    Py_DECREF(none);
    return PyLong_FromLong(found);
}
