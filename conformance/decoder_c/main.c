/* SPDX-License-Identifier: Apache-2.0
 * omc_decode decode STREAM OUTDIR [--reference DUMPDIR]... [--model N]
 *            [--max-memory BYTES] [--max-work N]
 * omc_decode tables          digests of 9.11
 *
 * Exit 0: decoded. 10: rejected, with {"code", "unit", "bit"} on stdout.
 * 11: unsupported, with {"feature"}. */
#include "omc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number_of(const char *text)
{
    uint64_t v = 0;
    if (!*text)
        unsupported("command line");
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || v > (uint64_t)1 << 58)
            unsupported("command line");
        v = v * 10 + (uint64_t)(*text - '0');
    }
    return v;
}

static void add_dump(Stream *s, const char *folder)
{
    s->dump = mem_grow(s->dump, s->dump_count + 1, sizeof *s->dump);
    s->dump[s->dump_count++] = dump_read(folder);
}

int main(int argc, char **argv)
{
    static Stream s;
    uint64_t model = 0;
    int i, chosen = 0;
    tables_init();
    if (argc == 2 && !strcmp(argv[1], "tables")) {
        tables_check();
        return 0;
    }
    if (argc < 4 || argc % 2 || strcmp(argv[1], "decode"))
        unsupported("command line");
    for (i = 4; i < argc; i += 2)
        if (!strcmp(argv[i], "--max-memory"))
            state.max_memory = number_of(argv[i + 1]) + 4096;
        else if (!strcmp(argv[i], "--max-work"))
            state.max_work = number_of(argv[i + 1]);
        else if (!strcmp(argv[i], "--model"))
            chosen = 1, model = number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--reference"))
            unsupported("command line");
    for (i = 4; i < argc; i += 2)
        if (!strcmp(argv[i], "--reference"))
            add_dump(&s, argv[i + 1]);
    s.data = file_read(argv[2], &s.size);
    if (!s.data)
        unsupported("input: the stream cannot be read");
    parse_stream(&s);
    if (!chosen)
        model = s.model_count - 1;
    if (model >= s.model_count)
        unsupported("a model that the stream has not");
    decode_model(&s, model);
    check_slots(s.model[model]);
    dump_write(argv[3], s.model[model]);
    mem_free_all();
    return 0;
}
