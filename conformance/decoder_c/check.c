/* SPDX-License-Identifier: Apache-2.0
 * `make check`: the payloads of C.6, values of 8.5.11, notes of 8.6.6 and
 * 8.6.7. Prints each failure; the exit code is their number. */
#include "omc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void expect(int ok, const char *what)
{
    if (!ok) {
        printf("FAILED: %s\n", what);
        failures++;
    }
}

static uint64_t hex(const char *text, uint8_t *out)
{
    uint64_t n = 0;
    char *end;
    for (; *text; text = end) {
        unsigned long v = strtoul(text, &end, 16);
        if (end == text)
            break;
        out[n++] = (uint8_t)v;
    }
    return n;
}

static uint64_t hex_words(const char *text, uint64_t *out)
{
    uint64_t n = 0;
    char *end;
    for (; text && *text; text = *end ? end + 1 : end)
        out[n++] = strtoull(text, &end, 16);
    return n;
}

static void payload(Coder *k, const char *coded, const char *bypass, uint8_t store[2][128])
{
    Payload p;
    p.coded = store[0];
    p.coded_size = hex(coded, store[0]);
    p.bypass = store[1];
    p.bypass_size = hex(bypass, store[1]);
    coder_init(k, &p);
}

static void levels(const char *what, int mode, int states, uint64_t kernel, const char *coded)
{
    static const int64_t want[24] = {3, -1, 0, 2, -1, 0, 3, -1, 2, -1, 1, 2, 0, 0, 4, -1, -5, 40, 0, 0, 1, -1, 700, 12};
    int64_t got[24];
    uint8_t store[2][128];
    Component c;
    Coder k;
    memset(&c, 0, sizeof c);
    c.states = states;
    c.kernel_size = kernel;
    payload(&k, coded, "", store);
    modes[mode].levels(&k, &c, 3, 8, got);
    expect(!memcmp(want, got, sizeof want), what);
    coder_end(&k);
}

/* flags: zeros, sign mode, scale rule, row shift, trailing, shift, offset */
static void words(const char *type, const int flags[7], uint64_t rows, const char *text, const char *predictor,
                  const char *coded, const char *bypass)
{
    uint64_t want[64], got[64], pred[64], n = hex_words(text, want);
    uint8_t store[2][128];
    Component c;
    Coder k;
    memset(&c, 0, sizeof c);
    hex_words(predictor, pred);
    c.word_type = element_type_by_name(type);
    c.has_predictor = predictor != NULL;
    c.float_flag = !predictor && element_type((unsigned)c.word_type)->kind == 'f';
    c.word_zeros = flags[0];
    c.word_sign_mode = flags[1];
    c.word_scale_rule = flags[2];
    c.word_row_shift = flags[3];
    c.word_trailing = flags[4];
    c.word_shift = flags[5];
    c.word_offset = (uint64_t)flags[6];
    payload(&k, coded, bypass, store);
    decode_words(&k, &c, 0, rows, n / rows, got, predictor ? pred : NULL);
    expect(!memcmp(want, got, n * sizeof *want), text);
    coder_end(&k);
}

static void check_words(void)
{
    static const int f[6][7] = {{1, 1, 0, 0, 0, 0, 0}, {1, 2, 2, 1, 0, 0, 0}, {0, 0, 1, 0, 1, 0, 0},
                                {1, 1, 2, 0, 0, 0, 0}, {1, 2, 0, 0, 0, 2, 100}, {1, 1, 0, 0, 0, 0, 0}};
    words("float32", f[0], 2,
          "3fc00000 c0100000 40400000 00000000 3f9e0419 3fc00000 c0100000 40400000 80000000 bf9e0419 "
          "3f9e0419 00000000 40400000 c0100000 3fc00000 3e123456 bdabcdef 3fc00000 40100000 c0400000",
          NULL, "c1 7e da a3 30 25 10 99 91 8c 80 35 1c",
          "00 00 03 00 00 00 00 00 1e 04 19 00 00 03 00 00 00 00 00 3e 04 19 78 10 65 23 45 6a f3 7b c0 00 00 40 00 00");
    words("float32", f[1], 3,
          "3f800000 3fa00000 40000000 bf000000 3f8001a0 3fa34560 40012340 bf0ff000 3f812345 3fa98765 40000001 bf0fffff",
          NULL, "55 83 a8 6b 49 91 80 a7 a9 b4 d4", "00 0d 1a 2b 09 1a 7f 80 09 1a 2a 61 d9 40 00 02 ff ff f0");
    words("float16", f[2], 1, "3c00 3c40 3d80 3e01 4200 3800", NULL, "03 7f fd cd d6 bc e8 32 c3", "00");
    words("bfloat16", f[3], 2, "3f80 3f82 bf00 0000 4049 8000 3e99 3f81 c000 0001 4049 7f80",
          "3f80 3f80 bf01 0000 4049 0000 3e99 3f80 c000 8001 404a 7f7f", "73 c1 2f 29 f7 53 fe", "20 00 20");
    words("int16", f[4], 2, "0064 0068 0060 0064 ff9c 0164 0064 0068 0064 7ffc", NULL, "63 ee 72 75 d4 f6 9d", "41 f3 00");
    words("uint8", f[5], 1, "10 11 ff 00 7f", "10 10 00 ff 80", "63 fc", "50");
}

/* 8.5.11: one level */
static void value(const char *type, int quantiser, int64_t a, int64_t b, int64_t level, const char *pred, uint64_t want)
{
    const ElementType *t = element_type((unsigned)element_type_by_name(type));
    Component c;
    uint64_t p[1], v = (uint64_t)level;
    memset(&c, 0, sizeof c);
    c.quantiser = quantiser;
    c.spatial = -1;
    c.cols = 1;
    c.mantissa = quantiser == Q_FIXED_POINT ? 1 : a;
    c.exponent = quantiser == Q_FIXED_POINT ? -b : b;
    c.fixed_point_width = (int)a;
    c.decimal_exponent = (int)a;
    hex_words(pred, p);
    reconstruct(&c, t, 0, 1, &v, pred ? p : NULL);
    if (v != want)
        printf("%s %llx instead of %llx: ", type, (unsigned long long)v, (unsigned long long)want);
    expect(v == want, "8.5.11");
}

static void check_values(void)
{
    value("bfloat16", Q_UNIFORM, 1, -29, 538968065, NULL, 0x3F81);
    value("float16", Q_UNIFORM, 1, -29, 537133057, NULL, 0x3C01);
    value("float32", Q_UNIFORM, 65533, 0, 16777217, NULL, 0x537FFD01);
    value("float32", Q_UNIFORM, 1, -150, 1, NULL, 0);
    value("float32", Q_UNIFORM, 1, -150, 3, NULL, 2);
    value("float32", Q_UNIFORM, 1, -150, -1, NULL, 0x80000000);
    value("float32", Q_UNIFORM, 1, -150, -3, NULL, 0x80000002);
    value("float8_e4m3fnuz", Q_UNIFORM, 1, -11, -1, NULL, 0);
    value("float8_e4m3fnuz", Q_UNIFORM, 1, -11, -3, NULL, 0x82);
    value("float16", Q_UNIFORM, 1, 4, 4094, NULL, 0x7BFF);
    value("int8", Q_UNIFORM, 1, -1, 5, NULL, 2);
    value("int8", Q_UNIFORM, 1, -1, -3, NULL, 0xFE);
    value("float32", Q_DECIMAL, 4, 0, 1, NULL, 0x38D1B717);
    value("float32", Q_DECIMAL, 4, 0, -123456, NULL, 0xC1458794);
    value("float64", Q_DECIMAL, 1, 0, 3, NULL, 0x3FD3333333333333);
    value("float32", Q_DECIMAL, 7, 0, 16777217, NULL, 0x3FD6BF96);
    value("bfloat16", Q_DECIMAL, 8, 0, 50195313, NULL, 0x3F01);
    value("float16", Q_DECIMAL, 7, 0, 5007324, NULL, 0x3801);
    value("float64", Q_DECIMAL, 22, 0, 9007199254740992, NULL, 0x3EAE392010175EE6);
    value("float32", Q_DECIMAL, 1, 0, 1, "3dcccccd", 0x3E4CCCCD);
    value("float32", Q_DECIMAL, 1, 0, 1, "7fc00000", 0x3DCCCCCD);
    value("float32", Q_DECIMAL, 1, 0, 0, "80000000", 0);
    value("float32", Q_DECIMAL, 4, 0, 563, "3db2c793", 0x3E130A7F);
    value("float32", Q_FIXED_POINT, 8, 7, 127, NULL, 0x3F7E0000);
    value("float32", Q_FIXED_POINT, 1, -3, -1, NULL, 0xC1000000);
    value("int8", Q_FIXED_POINT, 4, 1, 5, NULL, 2);
    value("float32", Q_UNIFORM, 32768, -16, 2, "3f800000", 0x40000000);
}

/* NOTE 3 of 8.6.7 */
static void check_decomposition(void)
{
    static const char want[] = "55cc6a73128b7e5a6afbef73d762dbb308ab1731094d1f9775f0226db8b13b23";
    const ElementType *t = element_type(T_FLOAT32);
    Descriptor d;
    uint64_t x[64], i;
    double *D;
    int64_t gain[8] = {1, 2, 3, 4, 5, 6, 7, 8}, *const factor[3] = {gain, NULL, NULL};
    uint8_t bytes[256], digest[32];
    char text[65];
    Sha256 s;
    memset(&d, 0, sizeof d);
    d.representation = R_AUGMENTATION;
    d.rows = d.cols = d.gain_count = 8;
    d.component[0].mantissa = 1;
    d.component[0].exponent = -5;
    for (i = 0; i < 64; i++)
        x[i] = round_to_type(t, (double)(random_word(0, (i % 8 + 8 - i / 8) % 8) >> 60) - 8);
    D = residual_of_factors(&d, t, factor, x);
    for (i = 0; i < 64; i++)
        word_put(bytes, 4, i, round_to_type(t, D[i]));
    mem_free(D);
    sha256_init(&s);
    sha256_add(&s, bytes, 256);
    sha256_end(&s, digest);
    for (i = 0; i < 32; i++)
        sprintf(text + 2 * i, "%02x", digest[i]);
    expect(!strcmp(text, want), "8.6.7, NOTE 3");
}

int main(void)
{
    static const uint64_t random[5] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                       4593380528125082431u, 16408922859458223821u};
    uint64_t i;
    tables_init();
    expect(crc32_of((const uint8_t *)"123456789", 9) == 0xCBF43926, "CRC-32");
    for (i = 0; i < 5; i++)
        expect(random_word(1234567, i) == random[i], "8.6.6");
    levels("CC, plain quantiser", M_CC, 0, 1, "4c ed 19 85 f9 eb 35 a5 36 22 33 43 a0 24 a4");
    levels("CM, plain quantiser", M_CM, 0, 1, "4c e8 6a 1a c7 9a f3 48 d7 32 1f 34 71 58 77");
    levels("CM, trellis and kernels", M_CM, 8, 3, "4c d4 ef 11 2b 78 fc fb 2a 5d 55 d1 fd ec");
    check_words();
    check_values();
    check_decomposition();
    mem_free_all();
    printf("%d failures\n", failures);
    return failures;
}
