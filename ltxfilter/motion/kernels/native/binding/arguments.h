/* Check the arguments of a kernel against a table, and borrow its buffers.
 *
 * The kernels trust the sizes that they are given. This is where those sizes come from, so nothing
 * reaches a kernel unchecked: of every buffer its type, number of dimensions, every size, layout,
 * alignment, whether it may be written, and that nothing that is written overlaps another buffer;
 * of every number its type and range. A wrong type raises TypeError, everything else ValueError,
 * both with the names of the function and of the argument.
 */
#ifndef LTXFILTER_ARGUMENTS_H
#define LTXFILTER_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stddef.h>

enum {
    MOST_ARGUMENTS = 28,     /* of one call, items of tuples included */
    MOST_DIMENSIONS = 4,     /* of a buffer */
    LARGEST_SIDE = 1 << 16,  /* of a buffer: no row, column or sum of them overflows an int */
    LARGEST_SIZE = 1 << 28,  /* elements of a buffer: no index, padded and times four, does */
};

/* What an argument is: a buffer's format as in Python's `struct`, or one of the others. */
typedef enum {
    INT8 = 'b', UINT8 = 'B', INT16 = 'h', UINT16 = 'H', INT32 = 'i', INT64 = 'q', FLOAT32 = 'f',
    INTEGER = 'n', REAL = 'r', TUPLE = 't',
} Type;

/* How a buffer is laid out and used; without ROWS it is C-contiguous. */
enum {
    WRITTEN = 1,  /* an output */
    ROWS = 2,     /* [rows, columns] whose rows may lie any distance apart */
    OPTIONAL = 4, /* None is allowed, and becomes NULL */
};

/* One argument of a kernel. */
typedef struct {
    const char *name;  /* for messages; NULL ends a table */
    Type type;
    /* Sizes of a buffer, as "2 rows, columns + 2, 5": a factor, a name, a summand. A name stands
     * for the same size wherever a call uses it, and no two may begin with the same letter. */
    const char *shape;
    int use;           /* WRITTEN, ROWS, OPTIONAL */
    double low, high;  /* range of a number, or of how many items a tuple has; both are allowed */
} Argument;

/* The arguments of one call, in the order in which they were taken. */
typedef struct {
    const char *function;
    int count;
    void *at[MOST_ARGUMENTS];      /* a buffer's first element, or the tuple; NULL: None */
    double number[MOST_ARGUMENTS];
    ptrdiff_t stride[MOST_ARGUMENTS]; /* bytes from row to row of a buffer */
    int uses[MOST_ARGUMENTS];
    Py_buffer views[MOST_ARGUMENTS];
    int borrowed;                  /* buffers that `views` holds */
    int view_of[MOST_ARGUMENTS];   /* the argument that each of them belongs to */
    int sizes[26];                 /* by the first letter of the name; 0: not known yet */
} Call;

/* Begin a call and take its arguments. Returns -1 with an exception set and nothing borrowed. */
int take(Call *call, const char *function, const Argument *wanted, PyObject *args);

/* Take the items of a tuple as further arguments. Returns -1 as `take` does. */
int take_items(Call *call, const Argument *wanted, PyObject *tuple);

/* The size that the call knows under a name. */
int size_of(const Call *call, const char *name);

/* Raise ValueError about an argument and end the call; always NULL. */
PyObject *refuse(Call *call, const char *name, const char *reason);

/* End a call: give the buffers back. Returns None, or NULL with MemoryError if it failed. */
PyObject *finish(Call *call, int failed);

#endif
