/* SPDX-License-Identifier: Apache-2.0 */
#include "llama_internal.h"

#ifdef LLAMA_CLBLAST

#include <clblast_c.h>

bool llama_gemm_there(void)
{
    return true;
}

static bool fail_clblast(model_error *error, CLBlastStatusCode status, const char *routine)
{
    return model_fail(error, "%s of CLBlast failed with status %d", routine, (int)status);
}

typedef struct parameter {
    const char *name;
    size_t value;
} parameter;

#define MAX_PARAMETERS 16

static bool override(const llama *l, const char *kernel, const parameter *list, size_t count,
                     model_error *error)
{
    const char *names[MAX_PARAMETERS];
    size_t values[MAX_PARAMETERS];

    for (size_t i = 0; i < count; i++) {
        names[i] = list[i].name;
        values[i] = list[i].value;
    }
    const CLBlastStatusCode status =
        CLBlastOverrideParameters(l->device, kernel, CLBlastPrecisionSingle, count, names, values);
    return status == CLBlastSuccess || fail_clblast(error, status, "OverrideParameters");
}

/* CLBlast's own parameters are for GPUs: local memory and barriers, which cost a CPU device much and gain
 * nothing (9 to 15 billion operations a second on two cores where these give 60 to 90). Without them a
 * work-item is a loop over registers. Compilers that make vectors of neighbouring work-items get 16 of
 * them, the others one with vectors of its own. docs/model.md has the figures. */
static bool tune_cpu(const llama *l, bool joins_items, model_error *error)
{
    const size_t items = joins_items ? 16 : 1;
    const parameter gemm[] = {
        { "GEMMK", 0 },
        { "KREG", 1 },
        { "KWG", 32 },
        { "KWI", joins_items ? 2 : 8 },
        { "MDIMA", items },
        { "MDIMC", items },
        { "MWG", 16 },
        { "NDIMB", 1 },
        { "NDIMC", 1 },
        { "NWG", joins_items ? 16 : 8 },
        { "SA", 0 },
        { "SB", 0 },
        { "STRM", 0 },
        { "STRN", 0 },
        { "VWM", joins_items ? 1 : 8 },
        { "VWN", joins_items ? 4 : 1 },
    };
    /* The kernel for small matrices, of the same program, is never run, but compiled: as little of it as
     * can be. */
    const parameter direct[] = { { "KWID", 1 },   { "MDIMAD", 8 }, { "MDIMCD", 8 }, { "NDIMBD", 8 },
                                 { "NDIMCD", 8 }, { "PADA", 0 },   { "PADB", 0 },   { "VWMD", 1 },
                                 { "VWND", 1 },   { "WGD", 8 } };
    const parameter always[] = { { "XGEMM_MIN_INDIRECT_SIZE", 1 } };

    return override(l, "Xgemm", gemm, sizeof gemm / sizeof *gemm, error) &&
           override(l, "XgemmDirect", direct, sizeof direct / sizeof *direct, error) &&
           override(l, "GemmRoutine", always, 1, error);
}

bool llama_gemm_tune(const llama *l, model_error *error)
{
    cl_device_type type = 0;
    cl_uint preferred = 0;

    cl_int code = clGetDeviceInfo(l->device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    if (code == CL_SUCCESS)
        code = clGetDeviceInfo(l->device, CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, sizeof preferred,
                               &preferred, NULL);
    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clGetDeviceInfo");
    return !(type & CL_DEVICE_TYPE_CPU) || tune_cpu(l, preferred <= 1, error);
}

bool llama_gemm_enqueue(const llama *l, const llama_gemm *g, model_error *error)
{
    cl_command_queue queue = l->queue;
    const CLBlastStatusCode status = CLBlastSgemm(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, g->m, g->n, g->k, 1.0f, g->a, 0,
        g->a_stride, g->b, 0, g->n, g->add ? 1.0f : 0.0f, g->out, g->out_offset, g->out_stride, &queue, NULL);

    return status == CLBlastSuccess || fail_clblast(error, status, "Sgemm");
}

/* CLBlast 1.5's Sgemv adds beta times what lay in y, also where beta is 0, and 0 times NaN or an infinity is
 * NaN: nobody may have written there yet, or the last step's -inf stands there. Its Sgemm does not read what
 * it replaces. */
static bool clear(const llama *l, const llama_gemv *g, model_error *error)
{
    const cl_float zero = 0.0f;
    const cl_int code = clEnqueueFillBuffer(l->queue, g->y, &zero, sizeof zero, g->y_offset * sizeof zero,
                                            g->rows * sizeof zero, 0, NULL, NULL);

    return code == CL_SUCCESS || llama_fail_cl(error, code, "clEnqueueFillBuffer logits");
}

bool llama_gemv_enqueue(const llama *l, const llama_gemv *g, model_error *error)
{
    cl_command_queue queue = l->queue;

    if (!clear(l, g, error)) return false;
    const CLBlastStatusCode status =
        CLBlastSgemv(CLBlastLayoutRowMajor, CLBlastTransposeNo, g->rows, g->cols, 1.0f, g->a, 0, g->cols,
                     g->x, g->x_offset, 1, 0.0f, g->y, g->y_offset, 1, &queue, NULL);

    return status == CLBlastSuccess || fail_clblast(error, status, "Sgemv");
}

#else

bool llama_gemm_there(void)
{
    return false;
}

/* Never called: without CLBlast gemm_from is LLAMA_NO_GEMM. */
static bool not_there(model_error *error)
{
    return model_fail(error, "this build is without CLBlast");
}

bool llama_gemm_tune(const llama *l, model_error *error)
{
    (void)l;
    return not_there(error);
}

bool llama_gemm_enqueue(const llama *l, const llama_gemm *g, model_error *error)
{
    (void)l, (void)g;
    return not_there(error);
}

bool llama_gemv_enqueue(const llama *l, const llama_gemv *g, model_error *error)
{
    (void)l, (void)g;
    return not_there(error);
}

#endif
