/* The kernels of the fusion, as Python functions. */
#include "functions.h"

#include "fusion/fusion.h"

static const double LARGEST_SUM = 4503599627370496; /* 2^52: of a picture's samples, 1/16 codes */

/* Whether a number is a power of two. */
static int is_power(int number)
{
    return number > 0 && !(number & (number - 1));
}

/* Whether all tiles lie in the picture. */
static int lie_inside(const Tiles *t)
{
    for (int n = 0; n < t->count; n++)
        if (t->tiles[2 * n] < 0 || t->tiles[2 * n] >= t->down || t->tiles[2 * n + 1] < 0 ||
            t->tiles[2 * n + 1] >= t->across)
            return 0;
    return 1;
}

/* Whether the numbers in an index are those of tiles, or less than 0. */
static int is_index(const int32_t *index, size_t size, int count)
{
    for (size_t i = 0; i < size; i++)
        if (index[i] >= count)
            return 0;
    return 1;
}

PyObject *py_tile_motions(PyObject *module, PyObject *args)
{
    enum { FIELD, TILES, OUT };
    static const Argument wanted[] = {
        {"field", INT16, "5, rows, columns"},
        {"tiles", INT32, "numbers, 2"},
        {"out", INT16, "numbers, 20, 4, 4", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (take(&call, "tile_motions", wanted, args) < 0)
        return NULL;
    const Tiles tiles = {
        .tiles = call.at[TILES], .count = size_of(&call, "numbers"), .field = call.at[FIELD],
        .rows = size_of(&call, "rows"), .columns = size_of(&call, "columns"),
        .down = LARGEST_SIDE, .across = LARGEST_SIDE,
    };
    if (tiles.rows < 3 || tiles.columns < 3)
        return refuse(&call, "field", "must have a block inside its border");
    if (!lie_inside(&tiles))
        return refuse(&call, "tiles", "must lie in the picture");
    Py_BEGIN_ALLOW_THREADS
    failed = tile_motions(&tiles, call.at[OUT]);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

/* Take planes: tuples of what was drawn, the left end, the right end and the output. */
static int take_tile_planes(Call *call, PyObject *planes, TilePlanes *p)
{
    const Type samples = p->deep ? UINT16 : UINT8;
    const Argument wanted[] = {
        {"drawn", samples, "height, width", ROWS},
        {"left", samples, "height, width", ROWS},
        {"right", samples, "height, width", ROWS},
        {"out", p->deep ? INT32 : INT16, "numbers, 13, vertical, lateral", WRITTEN},
        {NULL},
    };
    p->count = (int)PyTuple_Size(planes);
    for (int k = 0; k < p->count; k++) {
        const int at = call->count;
        if (take_items(call, wanted, PyTuple_GetItem(planes, k)) < 0)
            return -1;
        for (int n = 0; n < 3; n++) {
            p->planes[k].pictures[n] = call->at[at + n];
            p->planes[k].stride[n] = call->stride[at + n];
        }
        p->planes[k].out = call->at[at + 3];
    }
    p->height = size_of(call, "height"), p->width = size_of(call, "width");
    return 0;
}

PyObject *py_tile_samples(PyObject *module, PyObject *args)
{
    enum { PLANES, MOTIONS, TILES, FILTER, BLOCK_X, BLOCK_Y, SHIFT_X, SHIFT_Y, DEEP };
    static const Argument wanted[] = {
        {"planes", TUPLE, .low = 1, .high = 3},
        {"motions", INT16, "numbers, 20, 4, 4"},
        {"tiles", INT32, "numbers, 2"},
        {"taps", INT8, "16, 4"},
        {"block_x", INTEGER, .low = 1, .high = WIDEST_BLOCK},
        {"block_y", INTEGER, .low = 1, .high = WIDEST_BLOCK},
        {"shift_x", INTEGER, .low = 0, .high = 4},
        {"shift_y", INTEGER, .low = 0, .high = 4},
        {"deep", INTEGER, .low = 0, .high = 1},
        {NULL},
    };
    Call call;
    (void)module;
    if (take(&call, "tile_samples", wanted, args) < 0)
        return NULL;
    TilePlanes planes = {
        .deep = call.number[DEEP] > 0, .block_x = (int)call.number[BLOCK_X],
        .block_y = (int)call.number[BLOCK_Y], .shift_x = (int)call.number[SHIFT_X],
        .shift_y = (int)call.number[SHIFT_Y], .motions = call.at[MOTIONS],
        .taps = call.at[FILTER],
    };
    const Tiles tiles = {
        .tiles = call.at[TILES], .count = size_of(&call, "numbers"),
        .down = LARGEST_SIDE / BLOCKS, .across = LARGEST_SIDE / BLOCKS,
    };
    if (take_tile_planes(&call, call.at[PLANES], &planes) < 0)
        return NULL;
    if (!is_power(planes.block_x) || !is_power(planes.block_y))
        return refuse(&call, "block_x", "must be, like block_y, a power of two");
    if (size_of(&call, "lateral") != BLOCKS * planes.block_x ||
        size_of(&call, "vertical") != BLOCKS * planes.block_y)
        return refuse(&call, "planes", "must have four blocks along each side of an output's tile");
    if (!lie_inside(&tiles))
        return refuse(&call, "tiles", "must lie in the picture");
    if (!is_filter(planes.taps))
        return refuse(&call, "taps", FILTER_REASON);
    Py_BEGIN_ALLOW_THREADS
    tile_samples(&tiles, &planes);
    Py_END_ALLOW_THREADS
    return finish(&call, 0);
}

PyObject *py_tile_features(PyObject *module, PyObject *args)
{
    enum { INPUT, MOTIONS, FIELD, TILES, DOWN, ACROSS, MASK, DEPTH, TAU, OUT };
    Argument wanted[] = {
        {"samples", INT16, "numbers, 13, side, side"},
        {"motions", INT16, "numbers, 20, 4, 4"},
        {"field", INT16, "5, rows, columns"},
        {"tiles", INT32, "numbers, 2"},
        {"down", INTEGER, .low = 1, .high = LARGEST_SIDE / BLOCKS},
        {"across", INTEGER, .low = 1, .high = LARGEST_SIDE / BLOCKS},
        {"static_mask", UINT8, "height, width", OPTIONAL},
        {"depth", INTEGER, .low = 8, .high = 16},
        {"tau", INTEGER, .low = 0, .high = 32767},
        {"out", INT16, "numbers, 16, 49", WRITTEN},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (PyTuple_Size(args) > DEPTH && PyLong_AsLong(PyTuple_GetItem(args, DEPTH)) > 8)
        wanted[INPUT].type = INT32;
    PyErr_Clear();
    if (take(&call, "tile_features", wanted, args) < 0)
        return NULL;
    const int side = size_of(&call, "side");
    const Tiles tiles = {
        .tiles = call.at[TILES], .count = size_of(&call, "numbers"), .field = call.at[FIELD],
        .rows = size_of(&call, "rows"), .columns = size_of(&call, "columns"),
        .down = (int)call.number[DOWN], .across = (int)call.number[ACROSS],
    };
    const TileFeatures features = {
        .samples = call.at[INPUT], .deep = call.number[DEPTH] > 8,
        .depth = (int)call.number[DEPTH], .block = side / BLOCKS, .motions = call.at[MOTIONS],
        .static_mask = call.at[MASK], .tau = (int)call.number[TAU], .out = call.at[OUT],
        .height = call.at[MASK] ? size_of(&call, "height") : 1,
        .width = call.at[MASK] ? size_of(&call, "width") : 1,
    };
    if (side % BLOCKS || !is_power(features.block) || features.block > WIDEST_BLOCK)
        return refuse(&call, "samples", "must have blocks of a power of two up to 16");
    if (tiles.rows < 3 || tiles.columns < 3)
        return refuse(&call, "field", "must have a block inside its border");
    if (!lie_inside(&tiles))
        return refuse(&call, "tiles", "must lie in the picture");
    Py_BEGIN_ALLOW_THREADS
    failed = tile_features(&tiles, &features);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}

PyObject *py_tile_weights(PyObject *module, PyObject *args)
{
    enum { INPUT, FIELD, TILES, LAYER, TABLE = LAYER + 2 * LAYERS, OUT, GAINS };
    static const Argument wanted[] = {
        {"features", INT16, "numbers, 16, 49"},
        {"field", INT16, "5, rows, columns"},
        {"tiles", INT32, "numbers, 2"},
        {"weights_1", INT16, "49, 48"},
        {"bias_1", INT32, "48"},
        {"weights_2", INT16, "48, 48"},
        {"bias_2", INT32, "48"},
        {"weights_3", INT16, "48, 48"},
        {"bias_3", INT32, "48"},
        {"weights_4", INT16, "48, 18"},
        {"bias_4", INT32, "18"},
        {"halvings", INT32, "256"},
        {"out", INT16, "numbers, 12, 4, 4", WRITTEN},
        {"gains", INT16, "numbers, 16", WRITTEN},
        {NULL},
    };
    Call call;
    (void)module;
    if (take(&call, "tile_weights", wanted, args) < 0)
        return NULL;
    Network network = {.halvings = call.at[TABLE]};
    for (int k = 0; k < LAYERS; k++) {
        network.weights[k] = call.at[LAYER + 2 * k];
        network.bias[k] = call.at[LAYER + 2 * k + 1];
    }
    for (int i = 0; i < 256; i++)
        if (network.halvings[i] < 1 << 14 || network.halvings[i] > 1 << 15)
            return refuse(&call, "halvings", "must lie between 16384 and 32768");
    const Tiles tiles = {
        .tiles = call.at[TILES], .count = size_of(&call, "numbers"), .field = call.at[FIELD],
        .rows = size_of(&call, "rows"), .columns = size_of(&call, "columns"),
        .down = LARGEST_SIDE / BLOCKS, .across = LARGEST_SIDE / BLOCKS,
    };
    if (tiles.rows < 3 || tiles.columns < 3)
        return refuse(&call, "field", "must have a block inside its border");
    if (!lie_inside(&tiles))
        return refuse(&call, "tiles", "must lie in the picture");
    Py_BEGIN_ALLOW_THREADS
    tile_weights(&tiles, call.at[INPUT], &network, call.at[OUT], call.at[GAINS]);
    Py_END_ALLOW_THREADS
    return finish(&call, 0);
}

PyObject *py_limit_change(PyObject *module, PyObject *args)
{
    enum { WEIGHT, INPUT, DEPTH };
    Argument wanted[] = {
        {"weights", INT16, "numbers, 12, 4, 4", WRITTEN},
        {"samples", INT16, "numbers, 13, side, side"},
        {"depth", INTEGER, .low = 8, .high = 16},
        {NULL},
    };
    Call call;
    (void)module;
    if (PyTuple_Size(args) > DEPTH && PyLong_AsLong(PyTuple_GetItem(args, DEPTH)) > 8)
        wanted[INPUT].type = INT32;
    PyErr_Clear();
    if (take(&call, "limit_change", wanted, args) < 0)
        return NULL;
    const int side = size_of(&call, "side");
    const TileLimit limit = {
        .samples = call.at[INPUT], .count = size_of(&call, "numbers"),
        .deep = call.number[DEPTH] > 8, .depth = (int)call.number[DEPTH],
        .block = side / BLOCKS, .weights = call.at[WEIGHT],
    };
    if (side % BLOCKS || !is_power(limit.block) || limit.block > WIDEST_BLOCK)
        return refuse(&call, "samples", "must have blocks of a power of two up to 16");
    Py_BEGIN_ALLOW_THREADS
    limit_change(&limit);
    Py_END_ALLOW_THREADS
    return finish(&call, 0);
}

PyObject *py_tile_mix(PyObject *module, PyObject *args)
{
    enum { PICTURE, INPUT, WEIGHT, GAINS, TILES, INDEX, MASK, DEPTH, SUM };
    Argument wanted[] = {
        {"picture", UINT8, "height, width", WRITTEN},
        {"samples", INT16, "numbers, 13, vertical, lateral"},
        {"weights", INT16, "numbers, 12, 4, 4"},
        {"gains", INT16, "numbers, 16", OPTIONAL},
        {"tiles", INT32, "numbers, 2"},
        {"index", INT32, "down, across"},
        {"static_mask", UINT8, "height, width", OPTIONAL | ROWS},
        {"depth", INTEGER, .low = 8, .high = 16},
        {"wanted", INTEGER, .low = -LARGEST_SUM, .high = LARGEST_SUM},
        {NULL},
    };
    Call call;
    int failed;
    (void)module;
    if (PyTuple_Size(args) > DEPTH && PyLong_AsLong(PyTuple_GetItem(args, DEPTH)) > 8)
        wanted[PICTURE].type = UINT16, wanted[INPUT].type = INT32;
    PyErr_Clear();
    if (take(&call, "tile_mix", wanted, args) < 0)
        return NULL;
    const int lateral = size_of(&call, "lateral"), vertical = size_of(&call, "vertical");
    const Tiles tiles = {
        .tiles = call.at[TILES], .count = size_of(&call, "numbers"),
        .down = size_of(&call, "down"), .across = size_of(&call, "across"),
    };
    const TileMix mix = {
        .picture = call.at[PICTURE], .stride = call.stride[PICTURE],
        .width = size_of(&call, "width"), .height = size_of(&call, "height"),
        .deep = call.number[DEPTH] > 8, .depth = (int)call.number[DEPTH],
        .block_x = lateral / BLOCKS, .block_y = vertical / BLOCKS, .samples = call.at[INPUT],
        .weights = call.at[WEIGHT], .gains = call.at[GAINS], .wanted = (int64_t)call.number[SUM],
        .index = call.at[INDEX], .static_mask = call.at[MASK],
        .stride_static = call.stride[MASK],
    };
    if (lateral % BLOCKS || vertical % BLOCKS || !is_power(mix.block_x) ||
        !is_power(mix.block_y) || mix.block_x > WIDEST_BLOCK || mix.block_y > WIDEST_BLOCK)
        return refuse(&call, "samples", "must have blocks of a power of two up to 16");
    if (mix.gains && lateral != vertical)
        return refuse(&call, "samples", "must have square blocks where there are gains");
    if (!lie_inside(&tiles))
        return refuse(&call, "tiles", "must lie in the picture");
    if (!is_index(mix.index, (size_t)tiles.down * (size_t)tiles.across, tiles.count))
        return refuse(&call, "index", "must hold numbers of tiles");
    Py_BEGIN_ALLOW_THREADS
    failed = tile_mix(&tiles, &mix);
    Py_END_ALLOW_THREADS
    return finish(&call, failed);
}
