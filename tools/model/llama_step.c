/* SPDX-License-Identifier: Apache-2.0 */
/* A step's commands. New tokens are the columns of batches. A few of each row go through our own kernels,
 * which read every matrix once for all of them; a long prompt goes through CLBlast, its row alone, some
 * tokens at a time, so that a row's results never depend on its neighbours. */
#include "llama_internal.h"

#include <inttypes.h>
#include <string.h>

/* Columns for our own kernels. Those that are their row's last come first: they are what the output matrix is
 * for. */
typedef struct batch {
    cl_uint row[LLAMA_LIST_MAX], position[LLAMA_LIST_MAX];
    uint32_t count, last;
} batch;

typedef struct stepper {
    llama *l;
    const llama_step *step;
    cl_ulong ids_at, logits_at; /* elements */
    batch batch;
    model_error *error;
} stepper;

/* ---- Launches ---- */

/* A kernel of llama_base.cl, in which any number of items share the `parts` of a column. */
static bool launch_parts(stepper *s, cl_kernel kernel, size_t parts, size_t columns)
{
    const llama *l = s->l;
    const size_t few = columns >= l->units ? 1 : l->units;

    return llama_launch(s->l, kernel, l->vectors && few < parts ? few : parts, columns, l->group, s->error);
}

/* A product of a matrix of `tiles` tiles with all columns. */
static bool launch_tiles(stepper *s, cl_kernel kernel, uint32_t tiles, uint32_t columns)
{
    const llama *l = s->l;
    const uint32_t share = llama_share(l, tiles);
    const size_t workers = (size_t)l->slices * LLAMA_TILE;

    if (l->vectors) return llama_launch(s->l, kernel, (tiles + share - 1) / share, 1, l->group, s->error);
    return llama_launch(s->l, kernel, tiles * workers, (columns + l->pass - 1) / l->pass, workers, s->error);
}

static bool launch_attention(stepper *s, const llama_layer *y, uint32_t columns)
{
    const uint32_t heads = s->l->shape.heads;

    if (s->l->vectors) return llama_launch(s->l, y->attend, heads, columns, s->l->group, s->error);
    return llama_launch(s->l, y->attend, heads * LLAMA_READERS, columns, LLAMA_READERS, s->error);
}

/* ---- Logits ---- */

/* A float32 output matrix: a product with each row's last token. `row` has the first `columns` columns'
 * rows. */
static bool enqueue_plain_head(stepper *s, const cl_uint *row, uint32_t columns)
{
    llama *l = s->l;
    const uint32_t vocab = l->shape.vocab, dim = l->shape.dim;
    const llama_argument arguments[] = { LLAMA_ARG(l->work.normed), LLAMA_ARG(l->shape.epsilon),
                                         LLAMA_ARG(l->work.raw), LLAMA_ARGS_END };

    if (!llama_set(l->kernels.scale, arguments, s->error)) return false;
    if (!launch_parts(s, l->kernels.scale, dim / LLAMA_TILE, columns)) return false;
    for (uint32_t i = 0; i < columns; i++) {
        const llama_gemv g = { l->head.mem,
                               l->work.raw,
                               s->step->logits,
                               vocab,
                               dim,
                               (size_t)i * dim,
                               (size_t)s->logits_at + (size_t)row[i] * vocab };
        if (!llama_gemv_enqueue(l, &g, s->error)) return false;
    }
    return true;
}

static bool enqueue_head(stepper *s, const cl_uint *row, uint32_t columns)
{
    llama *l = s->l;
    const uint32_t tiles = (l->shape.vocab + LLAMA_TILE - 1) / LLAMA_TILE;
    const cl_uint share = llama_share(l, tiles);
    const llama_argument arguments[] = { LLAMA_ARG(l->head.mem),    LLAMA_ARG(l->head.type),
                                         LLAMA_ARG(l->work.normed), LLAMA_ARG(l->shape.epsilon),
                                         LLAMA_ARG(l->work.table),  LLAMA_ARG(share),
                                         LLAMA_ARG(columns),        LLAMA_ARG(s->step->logits),
                                         LLAMA_ARG(s->logits_at),   LLAMA_ARGS_END };

    if (!s->step->logits || columns == 0) return true;
    if (l->head.type == LLAMA_PLAIN) return enqueue_plain_head(s, row, columns);
    return llama_set(l->kernels.head, arguments, s->error) &&
           launch_tiles(s, l->kernels.head, tiles, columns);
}

/* ---- A few tokens, through our own kernels ---- */

/* Up to LLAMA_LIST of the batch's columns. The rest of the places are filled up with zeros. */
static bool begin_list(stepper *s, uint32_t first)
{
    llama *l = s->l;
    const batch *b = &s->batch;
    const uint32_t count = b->count - first < LLAMA_LIST ? b->count - first : LLAMA_LIST;
    cl_uint rows[LLAMA_LIST] = { 0 }, positions[LLAMA_LIST] = { 0 };

    memcpy(rows, b->row + first, count * sizeof *rows);
    memcpy(positions, b->position + first, count * sizeof *positions);
    const llama_argument arguments[] = {
        LLAMA_ARG(s->step->ids),     LLAMA_ARG(s->ids_at),
        LLAMA_ARG(s->step->stride),  LLAMA_ARG(rows),
        LLAMA_ARG(positions),        LLAMA_ARG(first),
        LLAMA_ARG(b->count),         LLAMA_ARG(l->embedding.type),
        LLAMA_ARG(l->embedding.mem), { sizeof(cl_mem), &l->layer[0].attention_norm },
        LLAMA_ARG(l->work.x),        LLAMA_ARG(l->work.normed),
        LLAMA_ARG(l->work.table),    LLAMA_ARGS_END
    };
    return llama_set(l->kernels.begin_list, arguments, s->error) &&
           launch_parts(s, l->kernels.begin_list, l->shape.dim / LLAMA_BLOCK, count);
}

static bool enqueue_layer(stepper *s, const llama_layer *y)
{
    const llama_shape *a = &s->l->shape;
    const uint32_t n = s->batch.count;
    const uint32_t asked = (a->heads + 2 * a->kv_heads) * a->head;

    return launch_tiles(s, y->ask, asked / LLAMA_TILE, n) && launch_attention(s, y, n) &&
           launch_tiles(s, y->join, a->dim / LLAMA_TILE, n) &&
           launch_tiles(s, y->feed, a->ff / LLAMA_TILE, n) &&
           launch_tiles(s, y->leave, a->dim / LLAMA_TILE, n);
}

static bool flush_batch(stepper *s)
{
    if (s->batch.count == 0) return true;
    for (uint32_t first = 0; first < s->batch.count; first += LLAMA_LIST) {
        if (!begin_list(s, first)) return false;
    }
    for (uint32_t i = 0; i < s->l->shape.layers; i++) {
        if (!enqueue_layer(s, &s->l->layer[i])) return false;
    }
    if (!enqueue_head(s, s->batch.row, s->batch.last)) return false;
    s->batch.count = s->batch.last = 0;
    return true;
}

static void put_column(batch *b, uint32_t at, uint32_t row, uint32_t position)
{
    b->row[at] = row;
    b->position[at] = position;
}

/* The tokens of a row from `start` to `end`, LLAMA_LIST_MAX of them at most, with or without its last one.
 * All of them come into one batch: a later one needs the keys of those before. */
static bool add_to_batch(stepper *s, uint32_t row, uint32_t start, uint32_t end, bool last)
{
    batch *b = &s->batch;

    if (end - start > LLAMA_LIST_MAX - b->count && !flush_batch(s)) return false;
    for (uint32_t position = start; position < end; position++, b->count++)
        put_column(b, b->count, row, position);
    if (!last) return true;
    /* It changes places with the first column that is none. */
    put_column(b, b->count - 1, b->row[b->last], b->position[b->last]);
    put_column(b, b->last++, row, end - 1);
    return true;
}

/* ---- A prompt, through CLBlast ---- */

/* out (+)= matrix times an operand, by way of as many of its tiles as floats as there is room for. */
static bool multiply(stepper *s, const llama_matrix *m, cl_mem operand, uint32_t columns, cl_mem out,
                     size_t out_stride, size_t out_at, bool add)
{
    llama *l = s->l;
    const uint32_t all = (m->rows + LLAMA_TILE - 1) / LLAMA_TILE;
    const uint32_t fit = LLAMA_UNPACKED / (m->cols * LLAMA_TILE);
    const uint32_t most = fit > 0 ? fit : 1;

    for (cl_uint first = 0; first < all; first += most) {
        const cl_uint tiles = all - first < most ? all - first : most;
        const llama_argument arguments[] = { LLAMA_ARG(m->mem),  LLAMA_ARG(m->type),
                                             LLAMA_ARG(m->cols), LLAMA_ARG(first),
                                             LLAMA_ARG(tiles),   LLAMA_ARG(l->work.weights),
                                             LLAMA_ARGS_END };
        const llama_gemm g = { .a = operand,
                               .b = l->work.weights,
                               .out = out,
                               .m = columns,
                               .n = (size_t)tiles * LLAMA_TILE,
                               .k = m->cols,
                               .a_stride = LLAMA_OPERAND(m->cols),
                               .out_stride = out_stride,
                               .out_offset = out_at + (size_t)first * LLAMA_TILE,
                               .add = add };
        const uint32_t blocks = m->cols / LLAMA_BLOCK;
        if (!llama_set(l->kernels.unpack, arguments, s->error)) return false;
        const bool unpacked = l->vectors ? llama_launch(l, l->kernels.unpack, 1, tiles, l->group, s->error)
                                         : llama_launch(l, l->kernels.unpack, (size_t)tiles * LLAMA_TILE,
                                                        blocks, l->group, s->error);
        if (!unpacked || !llama_gemm_enqueue(l, &g, s->error)) return false;
    }
    return true;
}

static bool begin_range(stepper *s, cl_uint row, cl_uint start, uint32_t columns)
{
    llama *l = s->l;
    const llama_argument arguments[] = { LLAMA_ARG(s->step->ids),
                                         LLAMA_ARG(s->ids_at),
                                         LLAMA_ARG(s->step->stride),
                                         LLAMA_ARG(row),
                                         LLAMA_ARG(start),
                                         LLAMA_ARG(l->embedding.type),
                                         LLAMA_ARG(l->embedding.mem),
                                         { sizeof(cl_mem), &l->layer[0].attention_norm },
                                         LLAMA_ARG(l->work.x),
                                         LLAMA_ARG(l->work.normed),
                                         LLAMA_ARG(l->work.table),
                                         LLAMA_ARGS_END };

    return llama_set(l->kernels.begin_range, arguments, s->error) &&
           launch_parts(s, l->kernels.begin_range, l->shape.dim / LLAMA_BLOCK, columns);
}

static bool normalize(stepper *s, cl_mem norm, uint32_t columns)
{
    llama *l = s->l;
    const llama_argument arguments[] = { LLAMA_ARG(l->work.x), LLAMA_ARG(norm), LLAMA_ARG(l->work.normed),
                                         LLAMA_ARGS_END };

    return llama_set(l->kernels.normalize, arguments, s->error) &&
           launch_parts(s, l->kernels.normalize, l->shape.dim / LLAMA_TILE, columns);
}

/* The attention of columns that are one row's. */
static bool launch_attention_prompt(stepper *s, const llama_layer *y, uint32_t columns)
{
    llama *l = s->l;
    llama_work *w = &l->work;
    const size_t items = (columns + LLAMA_TOGETHER - 1) / LLAMA_TOGETHER;
    const llama_argument arguments[] = { LLAMA_ARG(w->queries), LLAMA_ARG(y->keys),     LLAMA_ARG(y->values),
                                         LLAMA_ARG(w->table),   LLAMA_ARG(w->attended), LLAMA_ARG(w->scores),
                                         LLAMA_ARGS_END };

    if (!l->vectors) return launch_attention(s, y, columns);
    return llama_set(l->kernels.attend_prompt, arguments, s->error) &&
           llama_launch(l, l->kernels.attend_prompt, l->shape.heads, items, l->group, s->error);
}

static bool attend_prompt(stepper *s, const llama_layer *y, uint32_t columns)
{
    llama *l = s->l;
    llama_work *w = &l->work;
    const llama_shape *a = &l->shape;
    const size_t queries = (size_t)a->heads * a->head, shared = (size_t)a->kv_heads * a->head;
    const size_t width = queries + 2 * shared;
    const llama_argument arguments[] = { LLAMA_ARG(w->raw),   LLAMA_ARG(w->normed), LLAMA_ARG(a->epsilon),
                                         LLAMA_ARG(w->table), LLAMA_ARG(l->turns),  LLAMA_ARG(w->queries),
                                         LLAMA_ARG(y->keys),  LLAMA_ARG(y->values), LLAMA_ARGS_END };

    return multiply(s, &y->query, w->normed, columns, w->raw, width, 0, false) &&
           multiply(s, &y->key, w->normed, columns, w->raw, width, queries, false) &&
           multiply(s, &y->value, w->normed, columns, w->raw, width, queries + shared, false) &&
           llama_set(l->kernels.store, arguments, s->error) &&
           launch_parts(s, l->kernels.store, width / LLAMA_TILE, columns) &&
           launch_attention_prompt(s, y, columns) &&
           multiply(s, &y->output, w->attended, columns, w->x, a->dim, 0, true);
}

static bool feed_prompt(stepper *s, const llama_layer *y, uint32_t columns)
{
    llama *l = s->l;
    llama_work *w = &l->work;
    const llama_shape *a = &l->shape;
    const size_t width = 2 * (size_t)a->ff;
    const llama_argument arguments[] = { LLAMA_ARG(w->raw), LLAMA_ARG(w->normed), LLAMA_ARG(a->epsilon),
                                         LLAMA_ARG(w->fed), LLAMA_ARGS_END };

    return multiply(s, &y->gate, w->normed, columns, w->raw, width, 0, false) &&
           multiply(s, &y->up, w->normed, columns, w->raw, width, a->ff, false) &&
           llama_set(l->kernels.gate, arguments, s->error) &&
           launch_parts(s, l->kernels.gate, a->ff / LLAMA_TILE, columns) &&
           multiply(s, &y->down, w->fed, columns, w->x, a->dim, 0, true);
}

/* `columns` tokens of a row, from `start` on; the last of them is column 0. */
static bool enqueue_chunk(stepper *s, cl_uint row, uint32_t start, uint32_t columns, bool last)
{
    llama *l = s->l;

    if (!begin_range(s, row, start, columns)) return false;
    for (uint32_t i = 0; i < l->shape.layers; i++) {
        const llama_layer *y = &l->layer[i];
        const cl_mem after = i + 1 < l->shape.layers ? l->layer[i + 1].attention_norm : l->norm;
        if (!attend_prompt(s, y, columns) || !normalize(s, y->feed_norm, columns) ||
            !feed_prompt(s, y, columns) || !normalize(s, after, columns)) {
            return false;
        }
    }
    return enqueue_head(s, &row, last ? 1 : 0);
}

/* ---- The step ---- */

static bool enqueue_row(stepper *s, uint32_t row)
{
    const llama *l = s->l;
    const uint32_t end = s->step->lengths[row];
    uint32_t start = end - s->step->fresh[row];

    while (end - start >= l->gemm_from || end - start > LLAMA_LIST_MAX) {
        const bool gemm = end - start >= l->gemm_from;
        const uint32_t most = gemm ? l->columns : LLAMA_LIST_MAX;
        const uint32_t n = end - start < most ? end - start : most;
        if (gemm && !enqueue_chunk(s, row, start, n, start + n == end)) return false;
        if (!gemm && !add_to_batch(s, row, start, start + n, false)) return false;
        start += n;
    }
    return start == end || add_to_batch(s, row, start, end, true);
}

static bool check_buffer(cl_mem mem, size_t offset, size_t bytes, const char *what, model_error *error)
{
    size_t size = 0;
    const cl_int code = clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof size, &size, NULL);

    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clGetMemObjectInfo");
    if (offset % sizeof(cl_int) == 0 && offset <= size && bytes <= size - offset) return true;
    return model_fail(error,
                      "the buffer of the %s has %zu bytes; %zu from %zu, a multiple of 4, on are wanted",
                      what, size, bytes, offset);
}

static bool check_row(const llama *l, const llama_step *step, uint32_t row, model_error *error)
{
    const uint32_t length = step->lengths[row], fresh = step->fresh[row];

    if (length > l->length || length > step->stride) {
        return model_fail(error, "row %" PRIu32 " has %" PRIu32 " tokens; up to %" PRIu32 " are allowed", row,
                          length, l->length < step->stride ? l->length : step->stride);
    }
    if (fresh <= length && length - fresh <= l->known[row]) return true;
    return model_fail(error,
                      "row %" PRIu32 " has %" PRIu32 " tokens, %" PRIu32
                      " of them new, but the model knows only "
                      "%" PRIu32 " of the others",
                      row, length, fresh, l->known[row]);
}

static bool check_step(const llama *l, const llama_step *step, model_error *error)
{
    const size_t row_bytes = (size_t)l->shape.vocab * sizeof(float);
    const size_t ids_bytes = (size_t)l->rows * step->stride * sizeof(cl_int);

    for (uint32_t row = 0; row < l->rows; row++) {
        if (step->fresh[row] > 0 && !check_row(l, step, row, error)) return false;
    }
    return check_buffer(step->ids, step->ids_offset, ids_bytes, "ids", error) &&
           (!step->logits ||
            check_buffer(step->logits, step->logits_offset, l->rows * row_bytes, "logits", error));
}

/* The queue is in-order: what comes after the marker waits for it. */
static bool enqueue_waits(const stepper *s)
{
    cl_int code = CL_SUCCESS;

    if (s->step->n_wait > 0)
        code = clEnqueueBarrierWithWaitList(s->l->queue, s->step->n_wait, s->step->wait_list, NULL);
    return code == CL_SUCCESS || llama_fail_cl(s->error, code, "clEnqueueBarrierWithWaitList");
}

static bool enqueue_rows(stepper *s)
{
    for (uint32_t row = 0; row < s->l->rows; row++) {
        if (s->step->fresh[row] > 0 && !enqueue_row(s, row)) return false;
    }
    return flush_batch(s);
}

/* Rows are known as far as the step brings them, or after a failure not at all. */
static void note_rows(llama *l, const llama_step *step, bool ok)
{
    for (uint32_t row = 0; row < l->rows; row++) {
        if (step->fresh[row] > 0) l->known[row] = ok ? step->lengths[row] : 0;
    }
}

bool llama_enqueue(llama *l, const llama_step *step, model_error *error)
{
    stepper s = { .l = l,
                  .step = step,
                  .ids_at = step->ids_offset / sizeof(cl_int),
                  .logits_at = step->logits_offset / sizeof(float),
                  .error = error };

    if (step->event) *step->event = NULL;
    if (!check_step(l, step, error)) return false;
    bool ok = enqueue_waits(&s) && enqueue_rows(&s);
    if (ok && step->event) {
        const cl_int code = clEnqueueMarkerWithWaitList(l->queue, 0, NULL, step->event);
        if (code != CL_SUCCESS) ok = llama_fail_cl(error, code, "clEnqueueMarkerWithWaitList");
    }
    note_rows(l, step, ok);
    return ok;
}
