/* SPDX-License-Identifier: Apache-2.0
 * The contract's decoding of a file: every model is verified, one becomes a
 * dump. */
#include "omc.h"

void decode_file(const char *path, const char *folder, uint64_t model, char *const *dump, uint64_t dumps)
{
    static Stream s;
    uint64_t i;
    s.dump = mem_alloc(dumps + 1, sizeof *s.dump);
    for (i = 0; i < dumps; i++)
        s.dump[s.dump_count++] = dump_read(dump[i]);
    s.data = file_read(path, &s.size);
    if (!s.data)
        trouble("the stream cannot be read");
    parse_stream(&s);
    s.kept = model == LAST_MODEL ? s.model_count - 1 : model;
    if (s.kept >= s.model_count)
        trouble("there is no such model");
    for (i = 0; i < s.model_count; i++) {
        decode_model(&s, i);
        if (i != s.kept)
            release_model(&s, i);
    }
    dump_write(folder, &s);
    mem_free_all();
}
