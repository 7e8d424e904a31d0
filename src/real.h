/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point arithmetic in integers, for all that the host works out and that decides a token: the same
 * bits whatever the host's libm, its compiler's options (contraction, -ffast-math, x87) and the state of the
 * caller's floating-point unit (rounding, flushed denormals). Comparisons of normal floats, conversions and
 * products that are exact need nothing of this. */
#ifndef CLS_REAL_H
#define CLS_REAL_H

#include <stdbool.h>
#include <stdint.h>

/* mantissa * 2^exponent. The mantissa is 0 or from 2^62 to 2^63 - 1; if anything was lost below its lowest
 * bit, that bit is set, so that a later rounding to 61 bits or fewer is the rounding of the exact value. */
typedef struct cls_real {
    uint64_t mantissa;
    int exponent;
    bool negative;
} cls_real;

/* ---- Single operations on floats, rounded to the nearest, ties to even, as IEEE 754 has them ---- */

float cls_real_fma(float a, float b, float c); /* of a NaN or without a value it is 0x7fc00000 */
float cls_real_floor(float x);
float cls_real_from(int64_t n); /* from -2^62 to 2^62 */

/* ---- Numbers ---- */

cls_real cls_real_of(float x); /* x is finite */
float cls_real_float(cls_real x);
cls_real cls_real_rounded(cls_real x, int bits); /* to so many bits, at most 61; to nearest, ties to even */
cls_real cls_real_product(cls_real a, cls_real b);
cls_real cls_real_difference(cls_real a, cls_real b); /* a and b have at most 62 bits each */
cls_real cls_real_quotient(cls_real a, cls_real b);   /* at most 53 bits each; b is not 0 */

/* The natural logarithm of x, from the least float above 0 to 1, as a double has it: 53 bits, to nearest. */
cls_real cls_real_log(float x);

#endif
