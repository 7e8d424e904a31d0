/* SPDX-License-Identifier: Apache-2.0 */
#include "llama_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_ITEMS 64u        /* work-items a group where a GPU runs the kernels of llama_base.cl */
#define SMALLEST_GROUP 8u      /* llvmpipe loses the results of smaller ones */
#define MAX_SCORES (64u << 20) /* bytes: what the groups' attention may take */
#define GEMM_FROM 48u          /* new tokens from which on CLBlast is faster, where rows are alone */
#define MAX_PASS 4u            /* columns of a pass: their sums fit into registers */

/* ---- Opening ---- */

static bool device_info(const llama *l, cl_device_info what, void *out, size_t size, model_error *error)
{
    const cl_int code = clGetDeviceInfo(l->device, what, size, out, NULL);

    return code == CL_SUCCESS || llama_fail_cl(error, code, "clGetDeviceInfo");
}

static bool check_queue(const llama *l, model_error *error)
{
    cl_command_queue_properties properties = 0;
    const cl_int code =
        clGetCommandQueueInfo(l->queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);

    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clGetCommandQueueInfo");
    if (!(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)) return true;
    return model_fail(error, "the queue is out-of-order; a model needs one that is in-order");
}

static bool check_options(llama *l, const char *path, const llama_options *o, model_error *error)
{
    l->rows = o->rows > 0 ? o->rows : 1;
    l->length = o->context > 0 ? o->context : l->shape.context;
    l->room = (l->length + LLAMA_TILE - 1) / LLAMA_TILE * LLAMA_TILE;
    if (l->rows > LLAMA_MAX_ROWS) {
        return model_fail(error, "a model of %" PRIu32 " rows; up to %u are allowed", l->rows,
                          LLAMA_MAX_ROWS);
    }
    if (l->length > l->shape.context) {
        return model_fail(error, "%s: a context of %" PRIu32 " tokens; the model allows up to %" PRIu32, path,
                          l->length, l->shape.context);
    }
    return true;
}

/* Which kernels, and how they are cut. A CPU device whose compiler makes registers of vectors gets the
 * vectors, in groups of one item. */
static bool choose_form(llama *l, const llama_options *o, model_error *error)
{
    cl_device_type type = 0;
    cl_uint width = 0;

    if (!device_info(l, CL_DEVICE_TYPE, &type, sizeof type, error) ||
        !device_info(l, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, &width, sizeof width, error) ||
        !device_info(l, CL_DEVICE_MAX_COMPUTE_UNITS, &l->units, sizeof l->units, error)) {
        return false;
    }
    const bool cpu = (type & (CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU)) == CL_DEVICE_TYPE_CPU;
    l->vectors = o->form == LLAMA_FORM_VECTORS || (o->form == LLAMA_FORM_AUTO && cpu);
    l->group = !l->vectors ? GROUP_ITEMS : cpu && width <= 1 ? SMALLEST_GROUP : 1;
    l->slices = 8;
    l->pass = l->rows < MAX_PASS ? l->rows : MAX_PASS;
    return true;
}

static void choose_gemm(llama *l, const llama_options *o)
{
    l->gemm_from = !llama_gemm_there() ? LLAMA_NO_GEMM : o->gemm_from > 0 ? o->gemm_from : GEMM_FROM;
    l->columns = l->gemm_from == LLAMA_NO_GEMM ? LLAMA_LIST_MAX : LLAMA_CHUNK;
    /* The groups' attention keeps every score: fewer columns where texts are long. */
    const uint64_t scores = (uint64_t)l->shape.heads * l->room * sizeof(float);
    while (!l->vectors && l->columns > LLAMA_LIST_MAX && l->columns * scores > MAX_SCORES)
        l->columns /= 2;
}

static bool make(llama *l, cl_mem *mem, size_t count, const char *what, model_error *error)
{
    *mem = llama_buffer(l, count * sizeof(float), what, error);
    return *mem != NULL;
}

/* What one column of the widest of a prompt's products has. */
static size_t raw_width(const llama_shape *s)
{
    const size_t asked = ((size_t)s->heads + 2 * (size_t)s->kv_heads) * s->head;
    const size_t fed = 2 * (size_t)s->ff;
    const size_t wide = asked > fed ? asked : fed;

    return wide > s->dim ? wide : s->dim;
}

static bool make_work(llama *l, model_error *error)
{
    const llama_shape *s = &l->shape;
    llama_work *w = &l->work;
    const size_t n = l->columns, queries = (size_t)s->heads * s->head;
    const size_t widest = queries > s->ff ? queries : s->ff;
    const size_t tile = LLAMA_TILE * (widest > s->dim ? widest : s->dim);
    const bool gemm = l->gemm_from != LLAMA_NO_GEMM;

    return make(l, &w->table, LLAMA_TABLE(n), "table", error) &&
           make(l, &w->x, n * s->dim, "tokens", error) &&
           make(l, &w->normed, n * LLAMA_OPERAND(s->dim), "normed tokens", error) &&
           make(l, &w->queries, n * queries, "queries", error) &&
           make(l, &w->attended, n * LLAMA_OPERAND(queries), "attention", error) &&
           make(l, &w->fed, n * LLAMA_OPERAND(s->ff), "feed-forward", error) &&
           make(l, &w->scores, l->vectors ? 1 : n * s->heads * l->room, "scores", error) &&
           make(l, &w->raw, gemm ? n * raw_width(s) : 1, "products", error) &&
           make(l, &w->weights,
                !gemm                   ? 1
                : tile > LLAMA_UNPACKED ? tile
                                        : LLAMA_UNPACKED,
                "unpacked weights", error);
}

static bool make_cache(llama *l, model_error *error)
{
    const size_t count = (size_t)l->rows * l->shape.kv_heads * l->room * l->shape.head;

    for (uint32_t i = 0; i < l->shape.layers; i++) {
        if (!make(l, &l->layer[i].keys, count, "keys", error)) return false;
        if (!make(l, &l->layer[i].values, count, "values", error)) return false;
    }
    return true;
}

/* Kernels of a decoding step never change their arguments. `after` is the norm of what comes next. */
static bool set_layer(llama *l, llama_layer *y, cl_mem after, model_error *error)
{
    const llama_shape *s = &l->shape;
    llama_work *w = &l->work;
    const cl_uint queries = s->heads * s->head, shared = s->kv_heads * s->head;
    const cl_uint ask_share = llama_share(l, (queries + 2 * shared) / LLAMA_TILE);
    const cl_uint dim_share = llama_share(l, s->dim / LLAMA_TILE);
    const cl_uint ff_share = llama_share(l, s->ff / LLAMA_TILE);
    const llama_argument ask[] = {
        LLAMA_ARG(y->query.mem), LLAMA_ARG(y->query.type), LLAMA_ARG(y->key.mem), LLAMA_ARG(y->key.type),
        LLAMA_ARG(y->value.mem), LLAMA_ARG(y->value.type), LLAMA_ARG(w->normed),  LLAMA_ARG(s->epsilon),
        LLAMA_ARG(w->table),     LLAMA_ARG(l->turns),      LLAMA_ARG(w->queries), LLAMA_ARG(y->keys),
        LLAMA_ARG(y->values),    LLAMA_ARG(ask_share),     LLAMA_ARGS_END
    };
    const llama_argument attend[] = { LLAMA_ARG(w->queries), LLAMA_ARG(y->keys),     LLAMA_ARG(y->values),
                                      LLAMA_ARG(w->table),   LLAMA_ARG(w->attended), LLAMA_ARG(w->scores),
                                      LLAMA_ARGS_END };
    const llama_argument join[] = { LLAMA_ARG(y->output.mem), LLAMA_ARG(y->output.type),
                                    LLAMA_ARG(w->attended),   LLAMA_ARG(queries),
                                    LLAMA_ARG(w->table),      LLAMA_ARG(w->x),
                                    LLAMA_ARG(y->feed_norm),  LLAMA_ARG(w->normed),
                                    LLAMA_ARG(dim_share),     LLAMA_ARGS_END };
    const llama_argument feed[] = { LLAMA_ARG(y->gate.mem), LLAMA_ARG(y->gate.type), LLAMA_ARG(y->up.mem),
                                    LLAMA_ARG(y->up.type),  LLAMA_ARG(w->normed),    LLAMA_ARG(s->epsilon),
                                    LLAMA_ARG(w->table),    LLAMA_ARG(w->fed),       LLAMA_ARG(ff_share),
                                    LLAMA_ARGS_END };
    const llama_argument leave[] = { LLAMA_ARG(y->down.mem), LLAMA_ARG(y->down.type), LLAMA_ARG(w->fed),
                                     LLAMA_ARG(s->ff),       LLAMA_ARG(w->table),     LLAMA_ARG(w->x),
                                     LLAMA_ARG(after),       LLAMA_ARG(w->normed),    LLAMA_ARG(dim_share),
                                     LLAMA_ARGS_END };

    return llama_set(y->ask, ask, error) && llama_set(y->attend, attend, error) &&
           llama_set(y->join, join, error) && llama_set(y->feed, feed, error) &&
           llama_set(y->leave, leave, error);
}

static cl_mem norm_after(const llama *l, uint32_t layer)
{
    return layer + 1 < l->shape.layers ? l->layer[layer + 1].attention_norm : l->norm;
}

static bool set_layers(llama *l, model_error *error)
{
    for (uint32_t i = 0; i < l->shape.layers; i++) {
        if (!set_layer(l, &l->layer[i], norm_after(l, i), error)) return false;
    }
    return true;
}

static bool retain(llama *l, cl_context context, cl_command_queue queue, model_error *error)
{
    cl_int code = clRetainContext(context);

    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clRetainContext");
    l->context = context;
    code = clRetainCommandQueue(queue);
    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clRetainCommandQueue");
    l->queue = queue;
    return check_queue(l, error);
}

static bool open_model(llama *l, const gguf *file, const llama_options *o, llama_tensors *tensors,
                       model_error *error)
{
    if (!llama_read_shape(file, &l->shape, error) || !llama_find_tensors(file, &l->shape, tensors, error) ||
        !check_options(l, gguf_path(file), o, error) || !choose_form(l, o, error)) {
        return false;
    }
    choose_gemm(l, o);
    l->layer = calloc(l->shape.layers, sizeof *l->layer);
    l->known = calloc(l->rows, sizeof *l->known);
    if (!l->layer || !l->known) return model_fail_memory(error);
    if (l->gemm_from != LLAMA_NO_GEMM && !llama_gemm_tune(l, error)) return false;
    return llama_build(l, tensors, o->cache_dir, error) && llama_load(l, tensors, error) &&
           make_work(l, error) && make_cache(l, error) && set_layers(l, error);
}

bool llama_open(const gguf *file, cl_context context, cl_device_id device, cl_command_queue queue,
                const llama_options *options, llama **out, model_error *error)
{
    const llama_options defaults = { 0 };

    *out = NULL;
    llama *l = calloc(1, sizeof *l);
    llama_tensors *tensors = malloc(sizeof *tensors);
    bool ok = l && tensors;
    if (!ok) model_fail_memory(error);
    if (ok) l->device = device;
    ok = ok && retain(l, context, queue, error) &&
         open_model(l, file, options ? options : &defaults, tensors, error);
    free(tensors);
    if (ok) {
        *out = l;
    } else {
        llama_close(l);
    }
    return ok;
}

/* ---- Closing ---- */

static void drop_mems(cl_mem *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (*list[i]) clReleaseMemObject(*list[i]);
    }
}

static void drop_kernels(cl_kernel *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (*list[i]) clReleaseKernel(*list[i]);
    }
}

static void close_layer(llama_layer *y)
{
    cl_mem *const mems[] = { &y->query.mem, &y->key.mem, &y->value.mem, &y->output.mem,
                             &y->gate.mem,  &y->up.mem,  &y->down.mem,  &y->attention_norm,
                             &y->feed_norm, &y->keys,    &y->values };
    cl_kernel *const kernels[] = { &y->ask, &y->attend, &y->join, &y->feed, &y->leave };

    drop_mems(mems, sizeof mems / sizeof *mems);
    drop_kernels(kernels, sizeof kernels / sizeof *kernels);
}

void llama_close(llama *l)
{
    if (!l) return;
    llama_work *w = &l->work;
    llama_kernels *k = &l->kernels;
    cl_mem *const mems[] = { &w->table,   &w->x,   &w->normed,  &w->queries, &w->attended, &w->fed,
                             &w->scores,  &w->raw, &w->weights, &l->norm,    &l->turns,    &l->embedding.mem,
                             &l->head.mem };
    cl_kernel *const kernels[] = { &k->begin_list, &k->begin_range,  &k->normalize, &k->store,
                                   &k->gate,       &k->unpack,       &k->scale,     &k->head,
                                   &k->pack,       &k->attend_prompt };

    for (uint32_t i = 0; l->layer && i < l->shape.layers; i++)
        close_layer(&l->layer[i]);
    drop_mems(mems, sizeof mems / sizeof *mems);
    drop_kernels(kernels, sizeof kernels / sizeof *kernels);
    if (l->program) clReleaseProgram(l->program);
    if (l->queue) clReleaseCommandQueue(l->queue);
    if (l->context) clReleaseContext(l->context);
    free(l->layer);
    free(l->known);
    free(l);
}

uint32_t llama_rows(const llama *l)
{
    return l->rows;
}

uint32_t llama_vocab(const llama *l)
{
    return l->shape.vocab;
}

uint32_t llama_context(const llama *l)
{
    return l->length;
}

size_t llama_weight_bytes(const llama *l)
{
    return l->weight_bytes;
}

size_t llama_device_bytes(const llama *l)
{
    return l->device_bytes;
}

const char *llama_form_name(const llama *l)
{
    return l->vectors ? "vectors" : "groups";
}
