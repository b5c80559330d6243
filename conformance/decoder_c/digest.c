/* SPDX-License-Identifier: Apache-2.0
 * CRC-32 (7.2), SHA-256 (FIPS 180-4) and digests of tensors (8.8). */
#include "omc.h"

#include <string.h>

uint32_t crc32_of(const uint8_t *p, uint64_t n)
{
    static uint32_t table[256];
    uint32_t crc = 0xFFFFFFFF;
    uint64_t i;
    if (!table[1]) {
        uint32_t b, c;
        int k;
        for (b = 0; b < 256; b++) {
            for (c = b, k = 0; k < 8; k++)
                c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0);
            table[b] = c;
        }
    }
    for (i = 0; i < n; i++)
        crc = (crc >> 8) ^ table[(crc ^ p[i]) & 255];
    return crc ^ 0xFFFFFFFF;
}

/* The constants are the first 32 bits of the fractional parts of the cube
 * (K) and square (initial h) roots of the first primes. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t ror(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

static void sha256_block(Sha256 *s, const uint8_t *p)
{
    uint32_t w[64], a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4], f = s->h[5], g = s->h[6], h = s->h[7];
    int i;
    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (; i < 64; i++)
        w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ (w[i - 15] >> 3)) + w[i - 7] +
               (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ (w[i - 2] >> 10));
    for (i = 0; i < 64; i++) {
        uint32_t t1 = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
        uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    s->h[0] += a, s->h[1] += b, s->h[2] += c, s->h[3] += d;
    s->h[4] += e, s->h[5] += f, s->h[6] += g, s->h[7] += h;
}

void sha256_init(Sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, start, sizeof start);
    s->size = 0;
}

void sha256_add(Sha256 *s, const void *data, uint64_t n)
{
    const uint8_t *p = data;
    while (n) {
        uint64_t at = s->size & 63, take = 64 - at < n ? 64 - at : n;
        if (at == 0 && n >= 64) {
            sha256_block(s, p);
            take = 64;
        } else {
            memcpy(s->block + at, p, (size_t)take);
            if (at + take == 64)
                sha256_block(s, s->block);
        }
        s->size += take;
        p += take;
        n -= take;
    }
}

void sha256_end(Sha256 *s, uint8_t out[32])
{
    uint64_t bits = s->size * 8;
    uint8_t tail[72] = {0x80};
    uint64_t pad = (119 - (s->size & 63)) & 63; /* zeros after 0x80 */
    int i;
    for (i = 0; i < 8; i++)
        tail[1 + pad + (uint64_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(s, tail, 9 + pad);
    for (i = 0; i < 32; i++)
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i & 3)));
}

void sha256_of(const void *data, uint64_t n, uint8_t out[32])
{
    Sha256 s;
    sha256_init(&s);
    sha256_add(&s, data, n);
    sha256_end(&s, out);
}

/* ---- 8.8 ---- */

/* stated: the first 8 bytes of the seal */
void check_seal(const Model *m, const uint8_t *stated)
{
    Sha256 s;
    uint8_t seal[32];
    sha256_init(&s);
    sha256_add(&s, m->digest, 32);
    sha256_add(&s, m->sealed, sizeof m->sealed);
    sha256_end(&s, seal);
    if (memcmp(seal, stated, 8))
        fail("DIGEST_MISMATCH"); /* R8.8-5 */
}

uint64_t bytes_of(const Tensor *t)
{
    return t->word_count * (uint64_t)element_type((unsigned)t->type)->word_bytes;
}

uint64_t piece_count(const Tensor *t) { return (bytes_of(t) + PIECE_BYTES - 1) / PIECE_BYTES; }

void piece_digest(const Tensor *t, const uint8_t *data, uint64_t k, uint8_t out[32])
{
    uint64_t first = k * PIECE_BYTES, left = bytes_of(t) - first;
    sha256_of(data + first, left < PIECE_BYTES ? left : PIECE_BYTES, out);
}

/* stated: 8 bytes for each piece, or NULL */
void tensor_digest(const Tensor *t, const uint8_t *data, const uint8_t *stated, uint8_t out[32])
{
    Sha256 s;
    uint8_t n[8], piece[32];
    uint64_t k;
    unsigned i;
    sha256_init(&s);
    word_put(n, 4, 0, t->name_size);
    sha256_add(&s, n, 4);
    sha256_add(&s, t->name, t->name_size);
    n[0] = (uint8_t)t->type;
    n[1] = (uint8_t)t->rank;
    sha256_add(&s, n, 2);
    for (i = 0; i < t->rank; i++) {
        word_put(n, 8, 0, t->dim[i]);
        sha256_add(&s, n, 8);
    }
    for (k = 0; k < piece_count(t); k++) {
        piece_digest(t, data, k, piece);
        if (stated && memcmp(piece, stated + 8 * k, 8))
            fail("DIGEST_MISMATCH"); /* R8.8-3 */
        sha256_add(&s, piece, 32);
    }
    sha256_end(&s, out);
}
