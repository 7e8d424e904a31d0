/* SPDX-License-Identifier: Apache-2.0 */
/* What an application may have made of its thread's floating-point unit when it calls the library. */
#ifndef CLSAMPLE_TESTS_FLOAT_MODES_H
#define CLSAMPLE_TESTS_FLOAT_MODES_H

#include <fenv.h>
#include <stdbool.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

static const struct {
    const char *name;
    int rounding;
    bool flushed; /* denormals, read and written: what linking a library with -ffast-math does */
} float_mode[] = {
    { "to nearest", FE_TONEAREST, false },
#ifdef FE_UPWARD
    { "upward", FE_UPWARD, false },
    { "downward", FE_DOWNWARD, false },
    { "toward zero", FE_TOWARDZERO, false },
#endif
#ifdef __SSE__
    { "to nearest, denormals are zero", FE_TONEAREST, true },
    { "upward, denormals are zero", FE_UPWARD, true },
#endif
};

/* The calling thread's; 0 is what it begins with. */
static inline void float_mode_set(size_t i)
{
    fesetround(float_mode[i].rounding);
#ifdef __SSE__
    _mm_setcsr((_mm_getcsr() & ~0x8040u) | (float_mode[i].flushed ? 0x8040u : 0));
#endif
}

#endif
