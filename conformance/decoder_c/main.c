/* SPDX-License-Identifier: Apache-2.0
 * omc_decode decode STREAM OUTDIR [--model N] [--reference DUMPDIR]...
 * omc_decode serve           requests of the contract, one JSON object a line
 * omc_decode tables          digests of 9.11
 *
 * Before any of them: --max-memory BYTES, --max-work MULTIPLICATIONS.
 *
 * Exit 0: decoded. 10: rejected, with {"code", "unit", "bit"} on stdout.
 * 11: unsupported, with {"feature"}. 1: trouble with files, 2: bad usage. */
#include "omc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

NORETURN static void usage(void)
{
    fprintf(stderr, "usage: omc_decode [--max-memory BYTES] [--max-work MULTIPLICATIONS]\n"
                    "       decode STREAM OUTDIR [--model N] [--reference DUMPDIR]... | serve | tables\n");
    exit(2);
}

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || v >> 60)
        usage();
    return v;
}

/* a: the path and what follows it */
static void decode(char **a, char **last)
{
    const char *path = a[0], *folder = a[1];
    char **dump = a; /* the dumps move together */
    uint64_t dumps = 0, model = LAST_MODEL;
    for (a += 2; a < last; a += 2)
        if (!strcmp(*a, "--model"))
            model = number_of(a[1]);
        else if (!strcmp(*a, "--reference"))
            dump[dumps++] = a[1];
        else
            usage();
    decode_file(path, folder, model, dump, dumps);
}

int main(int argc, char **argv)
{
    char **a = argv + 1, **last = argv + argc;
    for (; last - a > 1 && !strncmp(*a, "--max-", 6); a += 2)
        if (!strcmp(*a, "--max-memory"))
            state.max_memory = number_of(a[1]);
        else if (!strcmp(*a, "--max-work"))
            state.max_work = number_of(a[1]);
        else
            usage();
    tables_init();
    if (last - a == 1 && !strcmp(*a, "tables"))
        tables_check();
    else if (last - a == 1 && !strcmp(*a, "serve"))
        serve_requests();
    else if (last - a >= 3 && (last - a) % 2 && !strcmp(*a, "decode"))
        decode(a + 1, last);
    else
        usage();
    return 0;
}
