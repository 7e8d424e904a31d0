/* SPDX-License-Identifier: Apache-2.0 */
/* CLBlast's iSmax on an OpenCL device, named P:D: the index of each row's largest logit, on the host. */
#include "peer.h"

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <clblast_c.h>

#define MOST 16 /* platforms, devices of one */

typedef struct device {
    const peer *p;
    cl_context context;
    cl_command_queue queue;
    cl_mem logits, index;
    cl_uint *found; /* [rows] */
} device;

static void check(cl_int error, const char *call)
{
    char text[128];

    if (error == CL_SUCCESS) return;
    snprintf(text, sizeof text, "%s failed with OpenCL or CLBlast error %d", call, (int)error);
    peer_die(text);
}

static cl_device_id find(const char *selector)
{
    cl_platform_id platforms[MOST];
    cl_device_id devices[MOST];
    cl_uint count = 0;
    unsigned platform = 0, chosen = 0;

    if (!selector || sscanf(selector, "%u:%u", &platform, &chosen) != 2) peer_die("no device P:D was named");
    check(clGetPlatformIDs(MOST, platforms, &count), "clGetPlatformIDs");
    if (platform >= count || platform >= MOST) peer_die("there is no such platform");
    check(clGetDeviceIDs(platforms[platform], CL_DEVICE_TYPE_ALL, MOST, devices, &count), "clGetDeviceIDs");
    if (chosen >= count || chosen >= MOST) peer_die("there is no such device");
    return devices[chosen];
}

static void run(void *state)
{
    device *d = state;
    const size_t vocab = (size_t)d->p->vocab;

    for (size_t row = 0; row < (size_t)d->p->rows; row++) {
        check((cl_int)CLBlastiSmax(vocab, d->index, row, d->logits, row * vocab, 1, &d->queue, NULL),
              "CLBlastiSmax");
    }
    check(clEnqueueReadBuffer(d->queue, d->index, CL_TRUE, 0, (size_t)d->p->rows * sizeof *d->found, d->found,
                              0, NULL, NULL),
          "clEnqueueReadBuffer");
}

int main(int argc, char **argv)
{
    const peer p = peer_open(argc, argv);
    const cl_device_id id = find(p.selector);
    const size_t bytes = (size_t)p.rows * (size_t)p.vocab * sizeof *p.logits;
    device d = { .p = &p };
    cl_int error = CL_SUCCESS;

    d.context = clCreateContext(NULL, 1, &id, NULL, NULL, &error);
    check(error, "clCreateContext");
    d.queue = clCreateCommandQueue(d.context, id, 0, &error);
    check(error, "clCreateCommandQueue");
    d.logits = clCreateBuffer(d.context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes, p.logits, &error);
    check(error, "clCreateBuffer");
    d.index = clCreateBuffer(d.context, CL_MEM_READ_WRITE, (size_t)p.rows * sizeof *d.found, NULL, &error);
    check(error, "clCreateBuffer");
    d.found = calloc((size_t)p.rows, sizeof *d.found);
    if (!d.found) peer_die("out of memory");
    run(&d);
    for (int i = 0; i < p.vocab; i++) {
        if (p.logits[i] > p.logits[d.found[0]])
            peer_die("CLBlast's iSmax finds another index than the largest");
    }
    printf("{\"cases\": [[\"argmax\", \"CLBlast iSmax\"]]}\n");
    fflush(stdout);
    while (peer_next() >= 0)
        peer_measure(&p, run, &d);
    free(d.found);
    clReleaseMemObject(d.index);
    clReleaseMemObject(d.logits);
    clReleaseCommandQueue(d.queue);
    clReleaseContext(d.context);
    free(p.logits);
    return 0;
}
