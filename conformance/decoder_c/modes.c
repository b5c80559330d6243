/* SPDX-License-Identifier: Apache-2.0
 * The table of entropy modes. */
#include "omc.h"

const Mode modes[MODES] = {
    [M_RAW] = {.integers = decode_bytes},
    [M_CC] = {.levels = decode_levels_cc, .words = decode_words},
    [M_CM] = {.profile = 2, .levels = decode_levels_cm},
    [M_MAP] = {.real_words = 1, .words = decode_map},
    [M_HUFFMAN] = {.integers = decode_huffman},
    [M_FIXED] = {.integers = decode_fixed},
    [M_DEFLATE] = {.integers = decode_bytes, .expand = expand_zlib},
    [M_GZIP] = {.integers = decode_bytes, .expand = expand_gzip},
    [M_BZIP2] = {.integers = decode_bytes, .expand = expand_bzip2},
    [M_LZMA] = {.integers = decode_bytes, .expand = expand_lzma2},
    [M_BINS] = {.integers = decode_bins},
};

int range_coded(int mode) { return modes[mode].levels || modes[mode].words; }

int mode_codes(int mode, int words)
{
    const Mode *m = &modes[mode];
    return m->integers || (words ? m->words != NULL : m->levels != NULL);
}
