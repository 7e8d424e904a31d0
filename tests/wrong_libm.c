/* SPDX-License-Identifier: Apache-2.0 */
/* A libm that has each of its results one unit off, for a program that is linked with --wrap for all of these
 * (tests/CMakeLists.txt). */
#include <math.h>
#include <stdint.h>
#include <string.h>

static double off(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits += isfinite(x) != 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static float offf(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits += isfinite(x) != 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define WRONG(name, declared, given)         \
    double __real_##name declared(double);   \
    float __real_##name##f declared(float);  \
    double __wrap_##name declared(double);   \
    float __wrap_##name##f declared(float);  \
    double __wrap_##name declared(double)    \
    {                                        \
        return off(__real_##name given);     \
    }                                        \
    float __wrap_##name##f declared(float)   \
    {                                        \
        return offf(__real_##name##f given); \
    }
#define OF_ONE(type) (type x)
#define OF_TWO(type) (type x, type y)
#define OF_THREE(type) (type x, type y, type z)
#define OF_POWER(type) (type x, int n)

WRONG(ceil, OF_ONE, (x))
WRONG(cos, OF_ONE, (x))
WRONG(exp, OF_ONE, (x))
WRONG(exp2, OF_ONE, (x))
WRONG(floor, OF_ONE, (x))
WRONG(log, OF_ONE, (x))
WRONG(log1p, OF_ONE, (x))
WRONG(log2, OF_ONE, (x))
WRONG(nearbyint, OF_ONE, (x))
WRONG(rint, OF_ONE, (x))
WRONG(round, OF_ONE, (x))
WRONG(sin, OF_ONE, (x))
WRONG(sqrt, OF_ONE, (x))
WRONG(trunc, OF_ONE, (x))
WRONG(fmax, OF_TWO, (x, y))
WRONG(fmin, OF_TWO, (x, y))
WRONG(fmod, OF_TWO, (x, y))
WRONG(pow, OF_TWO, (x, y))
WRONG(fma, OF_THREE, (x, y, z))
WRONG(ldexp, OF_POWER, (x, n))
WRONG(scalbn, OF_POWER, (x, n))
