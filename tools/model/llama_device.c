/* SPDX-License-Identifier: Apache-2.0 */
#include "llama_internal.h"

#include "shared.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_ROOM 512 /* bytes */

bool llama_fail_cl(model_error *error, cl_int code, const char *call)
{
    return model_fail(error, "%s failed: %s (%d)", call, cls_cl_error_name(code), (int)code);
}

cl_mem llama_buffer(llama *l, size_t bytes, const char *what, model_error *error)
{
    cl_int code = CL_SUCCESS;
    char call[64];
    cl_mem mem = clCreateBuffer(l->context, CL_MEM_READ_WRITE, bytes, NULL, &code);

    if (code == CL_SUCCESS) {
        l->device_bytes += bytes;
        return mem;
    }
    snprintf(call, sizeof call, "clCreateBuffer %s of %zu bytes", what, bytes);
    llama_fail_cl(error, code, call);
    return NULL;
}

bool llama_set(cl_kernel kernel, const llama_argument *arguments, model_error *error)
{
    cl_int code = CL_SUCCESS;

    for (cl_uint i = 0; arguments[i].size > 0 && code == CL_SUCCESS; i++)
        code = clSetKernelArg(kernel, i, arguments[i].size, arguments[i].value);
    return code == CL_SUCCESS || llama_fail_cl(error, code, "clSetKernelArg");
}

bool llama_launch(llama *l, cl_kernel kernel, size_t items, size_t columns, size_t group, model_error *error)
{
    const size_t global[2] = { (items + group - 1) / group * group, columns };
    const size_t local[2] = { group, 1 };
    const cl_int code = clEnqueueNDRangeKernel(l->queue, kernel, 2, NULL, global, local, 0, NULL, NULL);

    return code == CL_SUCCESS || llama_fail_cl(error, code, "clEnqueueNDRangeKernel");
}

uint32_t llama_share(const llama *l, uint32_t tiles)
{
    const uint32_t shares = l->units * LLAMA_SHARES;

    return (tiles + shares - 1) / shares;
}

/* ---- Kernels ---- */

CLS_EMBEDDED_DECLARE(model_llama_vectors)
CLS_EMBEDDED_DECLARE(model_llama_groups)

static uint32_t type_bit(const gguf_tensor *t)
{
    return UINT32_C(1) << t->type; /* one of gguf_type, so below 31 */
}

/* A bit for each type that a product meets. */
static uint32_t type_bits(const llama_tensors *t, uint32_t layers)
{
    uint32_t bits = type_bit(t->head);

    for (uint32_t i = 0; i < layers; i++) {
        const llama_tensors_layer *l = &t->layer[i];
        bits |= type_bit(l->query) | type_bit(l->key) | type_bit(l->value) | type_bit(l->output) |
                type_bit(l->gate) | type_bit(l->up) | type_bit(l->down);
    }
    return bits;
}

static bool create_kernel(const llama *l, const char *name, cl_kernel *kernel, model_error *error)
{
    cl_int code = CL_SUCCESS;
    char call[64];

    *kernel = clCreateKernel(l->program, name, &code);
    if (code == CL_SUCCESS) return true;
    *kernel = NULL;
    snprintf(call, sizeof call, "clCreateKernel %s", name);
    return llama_fail_cl(error, code, call);
}

static bool create_kernels(llama *l, model_error *error)
{
    llama_kernels *k = &l->kernels;
    bool ok = create_kernel(l, "llama_begin_list", &k->begin_list, error) &&
              create_kernel(l, "llama_begin_range", &k->begin_range, error) &&
              create_kernel(l, "llama_normalize", &k->normalize, error) &&
              create_kernel(l, "llama_store", &k->store, error) &&
              create_kernel(l, "llama_gate", &k->gate, error) &&
              create_kernel(l, "llama_unpack", &k->unpack, error) &&
              create_kernel(l, "llama_scale", &k->scale, error) &&
              create_kernel(l, "llama_head", &k->head, error) &&
              create_kernel(l, "llama_pack", &k->pack, error) &&
              (!l->vectors || create_kernel(l, "llama_attention_prompt", &k->attend_prompt, error));

    for (uint32_t i = 0; i < l->shape.layers && ok; i++) {
        llama_layer *layer = &l->layer[i];
        ok = create_kernel(l, "llama_query", &layer->ask, error) &&
             create_kernel(l, "llama_attention", &layer->attend, error) &&
             create_kernel(l, "llama_add", &layer->join, error) &&
             create_kernel(l, "llama_feed", &layer->feed, error) &&
             create_kernel(l, "llama_add", &layer->leave, error);
    }
    return ok;
}

/* "-DDIM=576u ...": what llama_base.cl asks for. */
static bool write_options(const llama *l, const llama_tensors *tensors, char *text, size_t size,
                          model_error *error)
{
    const llama_shape *s = &l->shape;
    const uint32_t types = type_bits(tensors, s->layers);
    const uint32_t all_types = types | type_bit(tensors->embedding) | UINT32_C(1) << LLAMA_PLAIN;
    cl_device_fp_config config = 0;

    const cl_int code = clGetDeviceInfo(l->device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clGetDeviceInfo CL_DEVICE_SINGLE_FP_CONFIG");
    const struct {
        const char *name;
        uint32_t value;
    } list[] = {
        { "DIM", s->dim },
        { "HEADS", s->heads },
        { "KV_HEADS", s->kv_heads },
        { "HEAD", s->head },
        { "FF", s->ff },
        { "VOCAB", s->vocab },
        { "CONTEXT", l->room },
        { "TYPES", types },
        { "ALL_TYPES", all_types },
        { "VECTORS", l->vectors },
        { "GROUP", l->group },
        { "SLICES", l->slices },
        { "COLUMNS", l->pass },
        { "FMA", (config & CL_FP_FMA) != 0 },
        { "DENORMALS", (config & CL_FP_DENORM) != 0 },
    };
    size_t used = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s-D%s=%" PRIu32 "u", i > 0 ? " " : "",
                                 list[i].name, list[i].value);
    if (used >= size) return model_fail(error, "the kernels' options need more than %zu bytes", size);
    return true;
}

/* PoCL keeps what it compiles by itself, and asked for a program's binary it compiles every kernel once
 * more, for groups of any size: 8 s at the first start instead of 4. */
static bool keeps_binaries(const llama *l)
{
    char version[256] = "";

    return clGetDeviceInfo(l->device, CL_DEVICE_VERSION, sizeof version - 1, version, NULL) == CL_SUCCESS &&
           strstr(version, "PoCL") != NULL;
}

bool llama_build(llama *l, const llama_tensors *tensors, const char *cache_dir, model_error *error)
{
    static const cls_embedded vectors = CLS_EMBEDDED(model_llama_vectors, "tools/model/llama_vectors.cl");
    static const cls_embedded groups = CLS_EMBEDDED(model_llama_groups, "tools/model/llama_groups.cl");
    char options[OPTIONS_ROOM];

    if (!write_options(l, tensors, options, sizeof options, error)) return false;
    if (cls_program_compile(l->context, l->device, keeps_binaries(l) ? NULL : cache_dir,
                            l->vectors ? &vectors : &groups, options, &l->program) != CLSAMPLE_OK) {
        return model_fail(error, "%s", clsample_last_error()->message);
    }
    return create_kernels(l, error);
}
