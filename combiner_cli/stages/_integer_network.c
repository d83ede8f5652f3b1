/* Small networks in whole numbers with the vectors of AVX2: the results of integer_network.py, faster.

   Two 16-bit numbers at a time are multiplied and added up in 32 bits. Whoever packs the matrices sees to it that no
   sum of a part leaves 32 bits; the sums of parts are added as whole units of the next scale and a rest. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#define AVX2
#include <immintrin.h>
#define WITH_AVX2 __attribute__((target("avx2")))
#define PART_OF_AVX2 __attribute__((target("avx2"), always_inline)) static inline
#endif

enum {
    TOGETHER = 32,              /* columns of features that are worked on together */
    VECTORS = 4,                /* that hold a 32-bit number of each of them */
    PAIR = 2 * TOGETHER,        /* numbers of two features or activations of all of them */
    LARGEST_ACTIVATION = 16384, /* in units of 2^-10 */
    LARGEST_FEATURE = 4095,     /* in units of 2^-7: of classes, which are the largest; as in integer_network.py */
    FIRST_SHIFT = 9,            /* from units of 2^-19 to 2^-10 */
    SHIFT = 12                  /* from units of 2^-22 to 2^-10 */
};

static const double LARGEST_RESULT = 134217728; /* 2^27, in units of 2^-22 */

/* A matrix of an even number of rows and columns, whose pairs of columns are divided into parts. */
typedef struct {
    Py_ssize_t rows, pairs, parts;
    const int16_t *weights;
    const int32_t *ends; /* of the parts, in pairs */
    const int32_t *bias;
} Layer;

#ifdef AVX2

/* Two rows of sums: units, and a rest that may be more than one of them. */
typedef struct {
    __m256i units[2][VECTORS], rest[2][VECTORS];
} Sums;

/* Columns of 16 are in the order 0 to 3 and 8 to 11, 4 to 7 and 12 to 15, where two rows are put together in each half
   of a register. To pack 32-bit sums into 16 bits brings them back in order. */
PART_OF_AVX2 void put_pair(__m256i first, __m256i second, int16_t *pair)
{
    _mm256_storeu_si256((__m256i *)pair, _mm256_unpacklo_epi16(first, second));
    _mm256_storeu_si256((__m256i *)(pair + 16), _mm256_unpackhi_epi16(first, second));
}

PART_OF_AVX2 __m256i sixteen(const double *values, __m256d *excess)
{
    __m128i four[4];
    const __m256d largest = _mm256_set1_pd(LARGEST_FEATURE), sign = _mm256_set1_pd(-0.0);
    for (int part = 0; part < 4; part++) {
        const __m256d some = _mm256_loadu_pd(values + 4 * part);
        *excess = _mm256_or_pd(*excess, _mm256_cmp_pd(_mm256_andnot_pd(sign, some), largest, _CMP_NLE_UQ));
        four[part] = _mm256_cvttpd_epi32(some);
    }
    return _mm256_set_m128i(_mm_packs_epi32(four[2], four[3]), _mm_packs_epi32(four[0], four[1]));
}

/* Pairs of some features of 32 columns, or of fewer and zeros; returns 0 where one is larger than it may be. */
PART_OF_AVX2 int take_features(const char *features, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
                               int16_t *pairs)
{
    double padded[2][TOGETHER] = {{0}, {0}};
    __m256d excess = _mm256_setzero_pd();
    for (Py_ssize_t row = 0; row < rows; row += 2, pairs += PAIR) {
        const double *values[2];
        for (int half = 0; half < 2; half++) {
            const double *given = (const double *)(features + (row + half) * stride);
            values[half] = padded[half];
            if (row + half == rows)
                memset(padded[half], 0, sizeof padded[half]);
            else if (columns == TOGETHER)
                values[half] = given;
            else
                memcpy(padded[half], given, (size_t)columns * sizeof *given);
        }
        for (int part = 0; part < TOGETHER; part += 16)
            put_pair(sixteen(values[0] + part, &excess), sixteen(values[1] + part, &excess), pairs + 2 * part);
    }
    return _mm256_testz_si256(_mm256_castpd_si256(excess), _mm256_castpd_si256(excess));
}

PART_OF_AVX2 void add_to(__m256i more, const int shift, __m256i *units, __m256i *rest)
{
    *units = _mm256_add_epi32(*units, _mm256_srai_epi32(more, shift));
    *rest = _mm256_add_epi32(*rest, _mm256_and_si256(more, _mm256_set1_epi32((1 << shift) - 1)));
}

PART_OF_AVX2 void begin(const Layer *layer, Py_ssize_t row, const int shift, Sums *sums)
{
    for (int half = 0; half < 2; half++)
        for (int vector = 0; vector < VECTORS; vector++) {
            sums->units[half][vector] = sums->rest[half][vector] = _mm256_setzero_si256();
            add_to(_mm256_set1_epi32(layer->bias[row + half]), shift, &sums->units[half][vector],
                   &sums->rest[half][vector]);
        }
}

PART_OF_AVX2 __m256i two_weights(const int16_t *weights)
{
    int32_t both;
    memcpy(&both, weights, sizeof both);
    return _mm256_set1_epi32(both);
}

/* Add what two rows of a matrix make of some pairs. */
PART_OF_AVX2 void add_products(const Layer *layer, Py_ssize_t row, const int16_t *pairs, const int shift, Sums *sums)
{
    const int16_t *first = layer->weights + row * 2 * layer->pairs, *second = first + 2 * layer->pairs;
    Py_ssize_t pair = 0;
    for (Py_ssize_t part = 0; part < layer->parts; part++) {
        __m256i products[2][VECTORS];
        for (int vector = 0; vector < VECTORS; vector++)
            products[0][vector] = products[1][vector] = _mm256_setzero_si256();
        for (; pair < layer->ends[part]; pair++) {
            const __m256i one = two_weights(first + 2 * pair), two = two_weights(second + 2 * pair);
            for (int vector = 0; vector < VECTORS; vector++) {
                const __m256i some = _mm256_loadu_si256((const __m256i *)(pairs + pair * PAIR + vector * 16));
                products[0][vector] = _mm256_add_epi32(products[0][vector], _mm256_madd_epi16(some, one));
                products[1][vector] = _mm256_add_epi32(products[1][vector], _mm256_madd_epi16(some, two));
            }
        }
        for (int half = 0; half < 2; half++)
            for (int vector = 0; vector < VECTORS; vector++)
                add_to(products[half][vector], shift, &sums->units[half][vector], &sums->rest[half][vector]);
    }
}

PART_OF_AVX2 __m256i activated(__m256i units, __m256i rest, const int shift)
{
    const __m256i whole = _mm256_add_epi32(units, _mm256_srai_epi32(rest, shift));
    return _mm256_min_epi32(_mm256_max_epi32(whole, _mm256_setzero_si256()), _mm256_set1_epi32(LARGEST_ACTIVATION));
}

/* The activations of a hidden layer, in pairs. */
PART_OF_AVX2 void activate(const Layer *layer, const int16_t *pairs, const int shift, int16_t *activations)
{
    for (Py_ssize_t row = 0; row < layer->rows; row += 2, activations += PAIR) {
        Sums sums;
        begin(layer, row, shift, &sums);
        add_products(layer, row, pairs, shift, &sums);
        for (int vector = 0; vector < VECTORS; vector += 2) {
            __m256i packed[2];
            for (int half = 0; half < 2; half++)
                packed[half] = _mm256_packs_epi32(
                    activated(sums.units[half][vector], sums.rest[half][vector], shift),
                    activated(sums.units[half][vector + 1], sums.rest[half][vector + 1], shift));
            put_pair(packed[0], packed[1], activations + vector * 16);
        }
    }
}

PART_OF_AVX2 void put_results(__m128i units, __m128i rest, double *results)
{
    const __m256d whole = _mm256_mul_pd(_mm256_cvtepi32_pd(units), _mm256_set1_pd(1 << SHIFT));
    const __m256d all = _mm256_add_pd(whole, _mm256_cvtepi32_pd(rest));
    const __m256d largest = _mm256_set1_pd(LARGEST_RESULT);
    _mm256_storeu_pd(results, _mm256_min_pd(_mm256_max_pd(all, _mm256_set1_pd(-LARGEST_RESULT)), largest));
}

/* Two rows of results of the last layer and of the linear path, which the first rows have. */
PART_OF_AVX2 void finish(const Layer *third, const Layer *linear, Py_ssize_t row, const int16_t *activations,
                         const int16_t *features, double results[2][TOGETHER])
{
    Sums sums;
    begin(third, row, SHIFT, &sums);
    add_products(third, row, activations, SHIFT, &sums);
    if (row < linear->rows)
        add_products(linear, row, features, SHIFT, &sums);
    for (int half = 0; half < 2; half++)
        for (int vector = 0; vector < VECTORS; vector++) {
            double *ordered = results[half] + vector / 2 * 16 + vector % 2 * 4;
            const __m256i units = sums.units[half][vector], rest = sums.rest[half][vector];
            put_results(_mm256_castsi256_si128(units), _mm256_castsi256_si128(rest), ordered);
            put_results(_mm256_extracti128_si256(units, 1), _mm256_extracti128_si256(rest, 1), ordered + 8);
        }
}

/* Layers are the first, the second, the third and the linear one. Returns 0 where a feature is too large. */
WITH_AVX2 static int run_network(const Py_buffer *features, const Layer *layers, int16_t *pairs, double *results,
                                 Py_ssize_t rows)
{
    const Py_ssize_t columns = features->shape[1];
    int16_t *first = pairs + (features->shape[0] + 1) / 2 * PAIR, *second = first + layers[0].rows / 2 * PAIR;
    for (Py_ssize_t column = 0; column < columns; column += TOGETHER) {
        const Py_ssize_t count = columns - column < TOGETHER ? columns - column : TOGETHER;
        const char *from = (const char *)features->buf + column * (Py_ssize_t)sizeof(double);
        if (!take_features(from, features->shape[0], features->strides[0], count, pairs))
            return 0;
        activate(&layers[0], pairs, FIRST_SHIFT, first);
        activate(&layers[1], first, SHIFT, second);
        for (Py_ssize_t row = 0; row < rows; row += 2) {
            double both[2][TOGETHER];
            finish(&layers[2], &layers[3], row, second, pairs, both);
            for (Py_ssize_t half = 0; half < 2 && row + half < rows; half++)
                memcpy(results + (row + half) * columns + column, both[half], (size_t)count * sizeof(double));
        }
    }
    return 1;
}

static int is_supported(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

#else

/* Multiplies nothing: never called. */
static int run_network(const Py_buffer *features, const Layer *layers, int16_t *pairs, double *results,
                       Py_ssize_t rows)
{
    (void)features, (void)layers, (void)pairs, (void)results, (void)rows;
    return 0;
}

static int is_supported(void)
{
    return 0;
}

#endif

/* ---- what Python sees: arrays of the types and shapes that integer_network.py names ---- */

static int fits(const Layer *layer, const Py_buffer *weights, Py_ssize_t inputs)
{
    Py_ssize_t before = 0;
    for (Py_ssize_t part = 0; part < layer->parts; part++) {
        if (layer->ends[part] < before)
            return 0;
        before = layer->ends[part];
    }
    return layer->rows % 2 == 0 && before == layer->pairs && layer->pairs <= (inputs + 1) / 2 &&
           weights->len == layer->rows * layer->pairs * 2 * (Py_ssize_t)sizeof(int16_t);
}

static PyObject *run(PyObject *self, PyObject *arguments)
{
    enum { LAYERS = 4, WEIGHTS = 0, ENDS, BIAS, ARRAYS };
    PyObject *given;
    Py_buffer features, arrays[LAYERS * ARRAYS], results;
    Layer layers[LAYERS];
    (void)self;
    if (!PyArg_ParseTuple(arguments, "O(y*y*y*)(y*y*y*)(y*y*y*)(y*y*y*)w*", &given, &arrays[0], &arrays[1],
                          &arrays[2], &arrays[3], &arrays[4], &arrays[5], &arrays[6], &arrays[7], &arrays[8],
                          &arrays[9], &arrays[10], &arrays[11], &results))
        return NULL;
    const Py_ssize_t word = sizeof(int32_t), real = sizeof(double);
    int done = 0, taken = PyObject_GetBuffer(given, &features, PyBUF_STRIDED_RO) == 0;
    if (taken) {
        int right = features.ndim == 2 && features.itemsize == real && features.strides[1] == real;
        Py_ssize_t inputs = right ? features.shape[0] : 0;
        for (int number = 0; number < LAYERS; number++) {
            const Py_buffer *own = arrays + number * ARRAYS;
            Layer *layer = &layers[number];
            layer->rows = own[BIAS].len / word;
            layer->pairs = layer->rows ? own[WEIGHTS].len / (layer->rows * 2 * (Py_ssize_t)sizeof(int16_t)) : 0;
            layer->parts = own[ENDS].len / word;
            layer->weights = own[WEIGHTS].buf;
            layer->ends = own[ENDS].buf;
            layer->bias = own[BIAS].buf;
            right = right && fits(layer, &own[WEIGHTS], number == LAYERS - 1 ? features.shape[0] : inputs);
            inputs = layer->rows;
        }
        const Py_ssize_t columns = right ? features.shape[1] : 0;
        const Py_ssize_t rows = columns ? results.len / (columns * real) : 0;
        right = right && results.len == rows * columns * real && rows <= layers[2].rows &&
                layers[3].rows <= layers[2].rows;
        int16_t *pairs = NULL;
        if (!right)
            PyErr_SetString(PyExc_ValueError, "the sizes of the arrays do not fit each other");
        else {
            const Py_ssize_t count = features.shape[0] + 1 + layers[0].rows + layers[1].rows;
            pairs = PyMem_Malloc((size_t)count * TOGETHER * sizeof *pairs);
            if (!pairs)
                PyErr_NoMemory();
        }
        if (pairs) {
            Py_BEGIN_ALLOW_THREADS
            done = run_network(&features, layers, pairs, results.buf, rows);
            Py_END_ALLOW_THREADS
        }
        PyMem_Free(pairs);
        PyBuffer_Release(&features);
    }
    for (int number = 0; number < LAYERS * ARRAYS; number++)
        PyBuffer_Release(&arrays[number]);
    PyBuffer_Release(&results);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(done);
}

static int fill_module(PyObject *module)
{
    return PyModule_AddIntConstant(module, "SUPPORTED", is_supported());
}

static PyMethodDef functions[] = {
    {"run", run, METH_VARARGS, "Results of a network; False where a feature is too large, and they are not to be used."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_integer_network", "Small networks in whole numbers.", 0, functions, slots, NULL, NULL,
    NULL};

PyMODINIT_FUNC PyInit__integer_network(void)
{
    return PyModuleDef_Init(&definition);
}
