/* The inner loops of the search for candidates: the whole numbers of portable.py, faster.

   Energies are sums of whole numbers that fit in 32 bits, so that neither the order of the sums nor the width of the
   machine's vectors has a say in them. Costs of paths are float32. They are scaled by powers of two, which is exact;
   what remains is one addition and one subtraction, which every machine rounds alike. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "this machine computes float in another precision: numpy must do"
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define AVX2
#include <immintrin.h>
#define WITH_AVX2 __attribute__((target("avx2")))
#define PART_OF_AVX2 __attribute__((target("avx2"), always_inline)) static inline
#endif

enum {
    LANES = 8,                /* columns of a block of the table */
    STATES = 256,             /* values of an index, and ways that lead to a state */
    CURRENT = LANES * STATES, /* numbers of a block for each current index */
    PLANE = STATES * CURRENT, /* numbers of a plane of a block */
    PAIRS = STATES * STATES,  /* candidates of a plane by current index and way */
    NIBBLE = 16,              /* values of four bits: planes of a table for a long memory */
    MOST_COLUMNS = 1024,      /* of a group */
    MOST_BLOCKS = MOST_COLUMNS / LANES,
    FRACTION = 15,            /* bits behind the point of a slope */
    LANE_VALUES = 1 << 16
};

/* What the energies of one group are made of. Words hold a 16-bit number twice, as vectors take them. */
typedef struct {
    int columns; /* an even number: the last may be empty */
    int mixed;   /* whether a sign is negative */
    const int16_t *values[MOST_COLUMNS + 1];
    int16_t slope[MOST_COLUMNS + 1], offset[MOST_COLUMNS + 1], sign[MOST_COLUMNS + 1];
    uint32_t slopes[MOST_COLUMNS + 1], offsets[MOST_COLUMNS + 1], signs[MOST_COLUMNS + 1];
} Group;

typedef struct {
    Py_ssize_t count;
    Py_buffer blocks[MOST_BLOCKS];
} Table;

/* Add the energies of a plane's candidates to some. */
typedef void Add(const Group *group, Py_ssize_t plane, int32_t *energies);

/* The least cost of any way to each state of a plane, and the first way that has it. Energies may start from some. */
typedef void Step(const Group *group, Py_ssize_t plane, const int32_t *start, const float *cost, float *least,
                  uint8_t *ways);

static uint32_t twice(int16_t number)
{
    return (uint16_t)number * 0x10001u;
}

/* Weights are slope, offset and sign of each column in turn. */
static void prepare(Group *group, const Table *table, const int16_t *weights, int columns)
{
    group->columns = columns + columns % 2;
    group->mixed = 0;
    for (int column = 0; column < group->columns; column++) {
        const int empty = column == columns, known = column - empty;
        group->values[column] = (const int16_t *)table->blocks[known / LANES].buf + known % LANES * STATES;
        group->slope[column] = empty ? 0 : weights[3 * column];
        group->offset[column] = empty ? 0 : weights[3 * column + 1];
        group->sign[column] = empty ? 0 : weights[3 * column + 2];
        group->slopes[column] = twice(group->slope[column]);
        group->offsets[column] = twice(group->offset[column]);
        group->signs[column] = twice(group->sign[column]);
        group->mixed |= group->sign[column] < 0;
    }
}

/* ---- on any machine ---- */

/* Results are of 16 bits, so that compilers find the instructions that multiply such numbers. */
static inline int16_t root_of(int16_t value, int16_t slope, int16_t offset)
{
    return (int16_t)((value * slope + offset * (1 << FRACTION) + (1 << (FRACTION - 1))) >> FRACTION);
}

static void add_to_ways(const Group *group, Py_ssize_t at, int32_t *energies)
{
    int16_t roots[STATES];
    for (int column = 0; column < group->columns; column++) {
        const int16_t *values = group->values[column] + at;
        const int16_t slope = group->slope[column], offset = group->offset[column];
        for (int way = 0; way < STATES; way++)
            roots[way] = root_of(values[way], slope, offset);
        if (group->sign[column] < 0)
            for (int way = 0; way < STATES; way++)
                energies[way] -= roots[way] * roots[way];
        else
            for (int way = 0; way < STATES; way++)
                energies[way] += roots[way] * roots[way];
    }
}

static void add_plain(const Group *group, Py_ssize_t plane, int32_t *energies)
{
    for (Py_ssize_t current = 0; current < STATES; current++)
        add_to_ways(group, plane * PLANE + current * CURRENT, energies + current * STATES);
}

static void step_plain(const Group *group, Py_ssize_t plane, const int32_t *start, const float *cost, float *least,
                       uint8_t *ways)
{
    int32_t energies[STATES];
    for (Py_ssize_t current = 0; current < STATES; current++) {
        if (start)
            memcpy(energies, start + current * STATES, sizeof energies);
        else
            memset(energies, 0, sizeof energies);
        add_to_ways(group, plane * PLANE + current * CURRENT, energies);
        float best = INFINITY;
        int from = 0;
        for (int way = 0; way < STATES; way++) {
            const float total = (float)energies[way] + cost[way];
            from = total < best ? way : from;
            best = total < best ? total : best;
        }
        least[current] = best;
        ways[current] = (uint8_t)from;
    }
}

/* ---- with AVX2 ---- */

#ifdef AVX2

enum { TOGETHER = 32, PARTS = 4 }; /* ways whose sums are held in so many registers, of eight ways each */

/* Two columns are put together within each half of a register. That leaves eight ways in the order 0 to 3 and 8 to 11,
   and the next eight in the order 4 to 7 and 12 to 15. */
PART_OF_AVX2 __m256i lower(const int32_t *ordered)
{
    return _mm256_loadu2_m128i((const __m128i *)(ordered + 8), (const __m128i *)ordered);
}

PART_OF_AVX2 __m256i root_avx2(const int16_t *values, __m256i slope, __m256i offset)
{
    return _mm256_add_epi16(_mm256_mulhrs_epi16(_mm256_loadu_si256((const __m256i *)values), slope), offset);
}

/* Add energies of 32 ways from some place on to sums. With constant numbers of columns the loops are unrolled. */
PART_OF_AVX2 void sums_avx2(const Group *group, const int columns, const int mixed, Py_ssize_t at, __m256i *sums)
{
    for (int column = 0; column < columns; column += 2) {
        const int16_t *first = group->values[column] + at, *second = group->values[column + 1] + at;
        const __m256i first_slope = _mm256_set1_epi32((int)group->slopes[column]);
        const __m256i first_offset = _mm256_set1_epi32((int)group->offsets[column]);
        const __m256i second_slope = _mm256_set1_epi32((int)group->slopes[column + 1]);
        const __m256i second_offset = _mm256_set1_epi32((int)group->offsets[column + 1]);
        const __m256i signs = _mm256_blend_epi16(_mm256_set1_epi32((int)group->signs[column]),
                                                 _mm256_set1_epi32((int)group->signs[column + 1]), 0xAA);
        for (int half = 0; half < 2; half++) {
            const __m256i one = root_avx2(first + half * 16, first_slope, first_offset);
            const __m256i two = root_avx2(second + half * 16, second_slope, second_offset);
            for (int part = 0; part < 2; part++) {
                const __m256i roots = part ? _mm256_unpackhi_epi16(one, two) : _mm256_unpacklo_epi16(one, two);
                const __m256i others = mixed ? _mm256_sign_epi16(roots, signs) : roots;
                __m256i *sum = sums + 2 * half + part;
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(roots, others));
            }
        }
    }
}

PART_OF_AVX2 void start_avx2(const int32_t *start, __m256i *sums)
{
    for (int part = 0; part < PARTS; part++)
        sums[part] = start ? lower(start + part / 2 * 16 + part % 2 * 4) : _mm256_setzero_si256();
}

WITH_AVX2 static void add_avx2(const Group *group, Py_ssize_t plane, int32_t *energies)
{
    __m256i sums[PARTS];
    for (Py_ssize_t current = 0; current < STATES; current++)
        for (int way = 0; way < STATES; way += TOGETHER) {
            int32_t *found = energies + current * STATES + way;
            start_avx2(found, sums);
            sums_avx2(group, group->columns, group->mixed, plane * PLANE + current * CURRENT + way, sums);
            for (int part = 0; part < PARTS; part++) {
                int32_t *ordered = found + part / 2 * 16 + part % 2 * 4;
                _mm256_storeu2_m128i((__m128i *)(ordered + 8), (__m128i *)ordered, sums[part]);
            }
        }
}

/* The least of eight numbers in all places. */
PART_OF_AVX2 __m256 least_of(__m256 numbers)
{
    numbers = _mm256_min_ps(numbers, _mm256_permute2f128_ps(numbers, numbers, 1));
    numbers = _mm256_min_ps(numbers, _mm256_shuffle_ps(numbers, numbers, 0x4E));
    return _mm256_min_ps(numbers, _mm256_shuffle_ps(numbers, numbers, 0xB1));
}

PART_OF_AVX2 int least_number(__m256i numbers)
{
    __m128i four = _mm_min_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
    four = _mm_min_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_min_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

PART_OF_AVX2 void step_of(const Group *group, const int columns, const int mixed, Py_ssize_t plane,
                          const int32_t *start, const float *cost, float *least, uint8_t *ways)
{
    const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11), none = _mm256_set1_epi32(STATES);
    __m256 costs[STATES / 8]; /* in the order of the sums */
    for (int number = 0; number < STATES / 8; number++)
        costs[number] = _mm256_castsi256_ps(lower((const int32_t *)cost + number / 2 * 16 + number % 2 * 4));
    for (Py_ssize_t current = 0; current < STATES; current++) {
        __m256 best[PARTS], from[PARTS]; /* from: the first of the 32 ways, whole numbers whatever the type */
        for (int part = 0; part < PARTS; part++) {
            best[part] = _mm256_set1_ps(INFINITY);
            from[part] = _mm256_setzero_ps();
        }
        for (int way = 0; way < STATES; way += TOGETHER) {
            const __m256 number = _mm256_castsi256_ps(_mm256_set1_epi32(way));
            __m256i sums[PARTS];
            start_avx2(start ? start + current * STATES + way : NULL, sums);
            sums_avx2(group, columns, mixed, plane * PLANE + current * CURRENT + way, sums);
            for (int part = 0; part < PARTS; part++) {
                const __m256 total = _mm256_add_ps(_mm256_cvtepi32_ps(sums[part]), costs[way / 8 + part]);
                from[part] = _mm256_blendv_ps(from[part], number, _mm256_cmp_ps(total, best[part], _CMP_LT_OQ));
                best[part] = _mm256_min_ps(total, best[part]);
            }
        }
        const __m256 all = least_of(_mm256_min_ps(_mm256_min_ps(best[0], best[1]), _mm256_min_ps(best[2], best[3])));
        __m256i first = none;
        for (int part = 0; part < PARTS; part++) {
            const __m256i offset = _mm256_add_epi32(places, _mm256_set1_epi32(part / 2 * 16 + part % 2 * 4));
            const __m256i way = _mm256_add_epi32(_mm256_castps_si256(from[part]), offset);
            const __m256i equal = _mm256_castps_si256(_mm256_cmp_ps(best[part], all, _CMP_EQ_OQ));
            first = _mm256_min_epi32(first, _mm256_blendv_epi8(none, way, equal));
        }
        least[current] = _mm256_cvtss_f32(all);
        ways[current] = (uint8_t)least_number(first);
    }
}

WITH_AVX2 static void step_avx2(const Group *group, Py_ssize_t plane, const int32_t *start, const float *cost,
                                float *least, uint8_t *ways)
{
    switch (group->mixed || start ? 0 : group->columns) { /* most groups are narrow */
    case 2:
        step_of(group, 2, 0, plane, NULL, cost, least, ways);
        break;
    case 4:
        step_of(group, 4, 0, plane, NULL, cost, least, ways);
        break;
    case 6:
        step_of(group, 6, 0, plane, NULL, cost, least, ways);
        break;
    default:
        step_of(group, group->columns, group->mixed, plane, start, cost, least, ways);
    }
}

#endif

static Add *add_for(int vectors)
{
#ifdef AVX2
    if (vectors && __builtin_cpu_supports("avx2"))
        return add_avx2;
#endif
    (void)vectors;
    return add_plain;
}

static Step *step_for(int vectors)
{
#ifdef AVX2
    if (vectors && __builtin_cpu_supports("avx2"))
        return step_avx2;
#endif
    (void)vectors;
    return step_plain;
}

/* ---- the shared sampler: sampler.py ---- */

static void philox(uint32_t block, uint32_t row, uint64_t key, uint32_t *words)
{
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    words[0] = block;
    words[1] = row;
    words[2] = words[3] = 0;
    for (int round = 0; round < 10; round++) {
        const uint64_t first = (uint64_t)words[0] * 0xD2511F53u, third = (uint64_t)words[2] * 0xCD9E8D57u;
        words[0] = (uint32_t)(third >> 32) ^ words[1] ^ low;
        words[1] = (uint32_t)third;
        words[2] = (uint32_t)(first >> 32) ^ words[3] ^ high;
        words[3] = (uint32_t)first;
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
}

/* The eight columns of a block in one row of the table, each so many numbers after the one before. */
static void candidates(uint32_t block, uint32_t row, uint64_t key, const int16_t *lane_values, int16_t *values,
                       int distance)
{
    uint32_t words[4];
    philox(block, row, key, words);
    for (int lane = 0; lane < LANES; lane++)
        values[lane * distance] = lane_values[words[lane / 2] >> (lane % 2 * 16) & 0xFFFF];
}

static void fill_block(int16_t *values, Py_ssize_t planes, uint32_t block, uint64_t key, const int16_t *lane_values)
{
    for (uint32_t plane = 0; plane < planes; plane++)
        for (uint32_t current = 0; current < STATES; current++)
            for (uint32_t way = 0; way < STATES; way++) {
                const uint32_t before =
                    planes == 1 ? way : way / NIBBLE * STATES + way % NIBBLE * NIBBLE + plane;
                candidates(block, before * STATES + current, key, lane_values,
                           values + plane * PLANE + current * CURRENT + way, STATES);
            }
}

/* ---- paths ---- */

/* What of Python's arrays the steps of a path need. */
typedef struct {
    Py_ssize_t planes, groups, width;
    const int16_t *weights;
    const int32_t *columns, *start;
    const float *units;
    float *cost;
    uint8_t *back;
} Path;

static void advance_path(const Path *path, const Table *table, Group *group, Step *step)
{
    float cost[NIBBLE * STATES], least[NIBBLE * STATES];
    const Py_ssize_t states = path->planes * STATES;
    for (Py_ssize_t number = 0; number < path->groups; number++) {
        prepare(group, table, path->weights + number * path->width * 3, path->columns[number]);
        const float unit = path->units[number];
        for (Py_ssize_t state = 0; state < states; state++)
            cost[state] = path->cost[state] / unit;
        for (Py_ssize_t plane = 0; plane < path->planes; plane++) {
            const int32_t *start = path->start ? path->start + (number * path->planes + plane) * PAIRS : NULL;
            step(group, plane, start, cost + plane * STATES, least + plane * STATES,
                 path->back + number * states + plane * STATES);
        }
        float all = least[0];
        for (Py_ssize_t state = 1; state < states; state++)
            all = least[state] < all ? least[state] : all;
        for (Py_ssize_t state = 0; state < states; state++) {
            const Py_ssize_t plane = state / STATES, current = state % STATES;
            const Py_ssize_t next =
                path->planes == 1 ? state : current % NIBBLE * STATES + plane * NIBBLE + current / NIBBLE;
            /* costs count from the best path on, so that they stay small enough for float */
            path->cost[next] = (least[state] - all) * unit;
        }
    }
}

/* What the choice of one candidate after the other needs. */
typedef struct {
    Py_ssize_t groups, width, first, chains;
    const int16_t *weights, *lane_values;
    const int32_t *columns;
    const float *units, *noise;
    uint64_t key;
    int64_t *indices;
    int memory_is_long;
} Choice;

static uint32_t row_after(const Choice *choice, Py_ssize_t number)
{
    const int64_t *indices = choice->indices;
    uint32_t row = number >= choice->chains ? (uint32_t)indices[number - choice->chains] * STATES : 0;
    if (choice->memory_is_long && number >= 2)
        row += (uint32_t)indices[number - 2] % NIBBLE * PAIRS;
    return row;
}

static void follow_path(const Choice *choice)
{
    for (Py_ssize_t number = 0; number < choice->groups; number++) {
        const uint32_t row = row_after(choice, choice->first + number);
        const int16_t *weights = choice->weights + number * choice->width * 3;
        float least = INFINITY;
        int chosen = 0;
        for (uint32_t index = 0; index < STATES; index++) {
            int16_t values[LANES];
            int32_t energy = 0;
            for (int column = 0; column < choice->columns[number]; column++) {
                const int16_t *parts = weights + 3 * column;
                if (column % LANES == 0)
                    candidates((uint32_t)column / LANES, row + index, choice->key, choice->lane_values, values, 1);
                const int32_t root = root_of(values[column % LANES], parts[0], parts[1]);
                energy += parts[2] < 0 ? -root * root : root * root;
            }
            float cost = (float)energy * choice->units[number];
            if (choice->noise)
                cost -= choice->noise[number * STATES + index];
            if (cost < least) {
                least = cost;
                chosen = (int)index;
            }
        }
        choice->indices[choice->first + number] = chosen;
    }
}

/* ---- what Python sees: arrays in one piece each, of the types and shapes that native.py names ---- */

static const Py_ssize_t SHORT = sizeof(int16_t), WORD = sizeof(int32_t);

static PyObject *refuse(void)
{
    PyErr_SetString(PyExc_ValueError, "the sizes of the arrays do not fit each other");
    return NULL;
}

static void release(Py_buffer *arrays, int count)
{
    for (int number = 0; number < count; number++)
        PyBuffer_Release(&arrays[number]);
}

static void release_table(Table *table)
{
    while (table->count)
        PyBuffer_Release(&table->blocks[--table->count]);
}

/* Get hold of the blocks of a table; where they are none it is released again, and an error set. */
static int get_table(PyObject *blocks, Py_ssize_t planes, Table *table)
{
    const Py_ssize_t count = PyTuple_Size(blocks);
    table->count = 0;
    if (count < 0)
        return 0;
    int fits = count <= MOST_BLOCKS;
    while (fits && table->count < count) {
        Py_buffer *block = &table->blocks[table->count];
        if (PyObject_GetBuffer(PyTuple_GetItem(blocks, table->count), block, PyBUF_SIMPLE) < 0) {
            release_table(table);
            return 0;
        }
        table->count++;
        fits = block->len == planes * PLANE * SHORT;
    }
    if (!fits) {
        release_table(table);
        refuse();
    }
    return fits;
}

/* Whether no group has more columns than there are. */
static int enough(Py_ssize_t there, const int32_t *columns, Py_ssize_t groups)
{
    for (Py_ssize_t number = 0; number < groups; number++)
        if (columns[number] < 0 || columns[number] > there)
            return 0;
    return 1;
}

static Py_ssize_t smaller(Py_ssize_t one, Py_ssize_t two)
{
    return one < two ? one : two;
}

static PyObject *fill(PyObject *self, PyObject *arguments)
{
    Py_buffer arrays[2];
    unsigned int block;
    unsigned long long key;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "w*IKy*", &arrays[0], &block, &key, &arrays[1]))
        return NULL;
    const Py_ssize_t planes = arrays[0].len / (PLANE * SHORT);
    const int fits = (planes == 1 || planes == NIBBLE) && arrays[0].len == planes * PLANE * SHORT &&
                     arrays[1].len == LANE_VALUES * SHORT;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        fill_block(arrays[0].buf, planes, block, key, arrays[1].buf);
        Py_END_ALLOW_THREADS
    }
    release(arrays, 2);
    return fits ? Py_NewRef(Py_None) : refuse();
}

static PyObject *add(PyObject *self, PyObject *arguments)
{
    PyObject *blocks;
    Py_buffer arrays[2];
    int vectors;
    Table table;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "O!y*w*p", &PyTuple_Type, &blocks, &arrays[0], &arrays[1], &vectors))
        return NULL;
    const Py_ssize_t planes = arrays[1].len / (PAIRS * WORD), columns = arrays[0].len / (3 * SHORT);
    Group *group = PyMem_Malloc(sizeof *group);
    int done = 0;
    if (!group)
        PyErr_NoMemory();
    else if (get_table(blocks, planes, &table)) {
        done = columns <= table.count * LANES && arrays[0].len == columns * 3 * SHORT &&
               arrays[1].len == planes * PAIRS * WORD;
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            prepare(group, &table, arrays[0].buf, (int)columns);
            for (Py_ssize_t plane = 0; plane < planes; plane++)
                add_for(vectors)(group, plane, (int32_t *)arrays[1].buf + plane * PAIRS);
            Py_END_ALLOW_THREADS
        } else
            refuse();
        release_table(&table);
    }
    PyMem_Free(group);
    release(arrays, 2);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *advance(PyObject *self, PyObject *arguments)
{
    enum { WEIGHTS, COLUMNS, UNITS, START, COST, BACK, ARRAYS };
    PyObject *blocks;
    Py_buffer arrays[ARRAYS];
    int vectors;
    Table table;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "O!y*y*y*z*w*w*p", &PyTuple_Type, &blocks, &arrays[WEIGHTS], &arrays[COLUMNS],
                          &arrays[UNITS], &arrays[START], &arrays[COST], &arrays[BACK], &vectors))
        return NULL;
    const Py_ssize_t groups = arrays[UNITS].len / WORD, planes = arrays[COST].len / (STATES * WORD);
    const Py_ssize_t width = groups ? arrays[WEIGHTS].len / (groups * 3 * SHORT) : 0;
    const Path path = {planes, groups, width, arrays[WEIGHTS].buf, arrays[COLUMNS].buf, arrays[START].buf,
                       arrays[UNITS].buf, arrays[COST].buf, arrays[BACK].buf};
    Group *group = PyMem_Malloc(sizeof *group);
    int done = 0;
    if (!group)
        PyErr_NoMemory();
    else if (get_table(blocks, planes, &table)) {
        done = (planes == 1 || planes == NIBBLE) && arrays[COST].len == planes * STATES * WORD &&
               arrays[COLUMNS].len == groups * WORD && arrays[BACK].len == groups * planes * STATES &&
               (!path.start || arrays[START].len == groups * planes * PAIRS * WORD) &&
               arrays[WEIGHTS].len == groups * width * 3 * SHORT &&
               enough(smaller(width, table.count * LANES), path.columns, groups);
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            advance_path(&path, &table, group, step_for(vectors));
            Py_END_ALLOW_THREADS
        } else
            refuse();
        release_table(&table);
    }
    PyMem_Free(group);
    release(arrays, ARRAYS);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *follow(PyObject *self, PyObject *arguments)
{
    enum { WEIGHTS, COLUMNS, UNITS, NOISE, LANE, INDICES, ARRAYS };
    Py_buffer arrays[ARRAYS];
    Choice choice;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "y*y*y*z*y*Kw*nnp", &arrays[WEIGHTS], &arrays[COLUMNS], &arrays[UNITS],
                          &arrays[NOISE], &arrays[LANE], &choice.key, &arrays[INDICES], &choice.first, &choice.chains,
                          &choice.memory_is_long))
        return NULL;
    choice.groups = arrays[UNITS].len / WORD;
    choice.width = choice.groups ? arrays[WEIGHTS].len / (choice.groups * 3 * SHORT) : 0;
    choice.weights = arrays[WEIGHTS].buf;
    choice.columns = arrays[COLUMNS].buf;
    choice.units = arrays[UNITS].buf;
    choice.noise = arrays[NOISE].buf;
    choice.lane_values = arrays[LANE].buf;
    choice.indices = arrays[INDICES].buf;
    const Py_ssize_t there = arrays[INDICES].len / (Py_ssize_t)sizeof(int64_t);
    const int fits = choice.first >= 0 && choice.chains > 0 && choice.groups <= there - choice.first &&
                     arrays[COLUMNS].len == choice.groups * WORD && arrays[LANE].len == LANE_VALUES * SHORT &&
                     arrays[WEIGHTS].len == choice.groups * choice.width * 3 * SHORT &&
                     (!choice.noise || arrays[NOISE].len == choice.groups * STATES * WORD) &&
                     enough(choice.width, choice.columns, choice.groups);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        follow_path(&choice);
        Py_END_ALLOW_THREADS
    }
    release(arrays, ARRAYS);
    return fits ? Py_NewRef(Py_None) : refuse();
}

static PyMethodDef functions[] = {
    {"fill", fill, METH_VARARGS, "Fill a block of the table of candidates."},
    {"add", add, METH_VARARGS, "Add the energies of all candidates of a group."},
    {"advance", advance, METH_VARARGS, "Extend the best path to each state by some groups."},
    {"follow", follow, METH_VARARGS, "Choose one candidate after the other."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The inner loops of the search for candidates.", 0, functions, slots,
    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
