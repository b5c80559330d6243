/* SPDX-License-Identifier: Apache-2.0
 * What CC and CM share: trellis state (9.3.2) and binarisation (9.3.5). */
#include "omc.h"

#define CLASS_MAX 28
#define LEVEL_MAX 1073741823

int trellis_step(int states, int s, int64_t k)
{
    int A, B;
    switch (states) {
    case 4: A = 2, B = 1; break;
    case 8: A = 5, B = 2; break;
    case 16: A = 9, B = 2; break;
    case 32: A = 18, B = 4; break;
    case 64: A = 33, B = 10; break;
    default: return 0;
    }
    return (s >> 1) ^ (s & 1 ? A : 0) ^ (k & 1 ? B : 0);
}

/* Abs(k) of a level of which gt2 is 1 */
static int64_t large_magnitude(LevelBins *b)
{
    int g = 0, n;
    int64_t v;
    while (b->bin(b, 2, 6 + (g < 13 ? g : 13)))
        if (++g > CLASS_MAX)
            fail("OUT_OF_RANGE"); /* R9.3-1 */
    n = g < 13 ? g : 13;
    v = 2 | b->bin(b, 2, 21 + n);
    if (g > 0) {
        v = 2 * v + b->bin(b, 2, 35 + 2 * n + (int)(v & 1));
        v = v << (g - 1) | (int64_t)rc_bypass(b->rc, g - 1);
    }
    if (v + 1 > LEVEL_MAX)
        fail("OUT_OF_RANGE");
    return v + 1;
}

int64_t level_decode(LevelBins *b, int Q)
{
    int64_t m;
    rc_element(b->rc);
    b->negative = 0;
    if (!b->bin(b, 0, Q))
        return 0;
    b->negative = b->bin(b, 1, 20);
    if (!b->bin(b, 2, 2 + Q))
        m = 1;
    else if (!b->bin(b, 2, 4 + Q))
        m = 2;
    else
        m = large_magnitude(b);
    return b->negative ? -m : m;
}
