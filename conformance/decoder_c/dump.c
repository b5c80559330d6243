/* SPDX-License-Identifier: Apache-2.0
 * Canonical dumps: index.json and a file of words for each tensor. */
#include "omc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

NORETURN void trouble(const char *what)
{
    fprintf(stderr, "omc_decode: %s\n", what);
    exit(1);
}

uint8_t *file_read(const char *path, uint64_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    uint64_t room = 0, n = 0;
    if (!f)
        return NULL;
    for (;;) {
        size_t got;
        if (n == room) {
            room = room * 2 + 65536;
            data = mem_grow(data, room, 1);
        }
        got = fread(data + n, 1, (size_t)(room - n), f);
        if (got == 0)
            break;
        n += got;
    }
    if (ferror(f)) {
        fclose(f);
        mem_free(data);
        return NULL;
    }
    fclose(f);
    *size = n;
    return mem_grow(data, n, 1);
}

/* ---- writing ---- */

static void write_hex(FILE *f, const uint8_t *p, int n)
{
    int i;
    for (i = 0; i < n; i++)
        fprintf(f, "%02x", p[i]);
}

static void write_string(FILE *f, const uint8_t *p, uint64_t n)
{
    uint64_t i;
    fputc('"', f);
    for (i = 0; i < n; i++)
        if (p[i] == '"' || p[i] == '\\')
            fprintf(f, "\\%c", p[i]);
        else if (p[i] < 32 || p[i] == 127)
            fprintf(f, "\\u%04x", p[i]);
        else
            fputc(p[i], f);
    fputc('"', f);
}

static FILE *create(const char *folder, const char *name)
{
    char *path = mem_alloc(strlen(folder) + strlen(name) + 2, 1);
    FILE *f;
    sprintf(path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    if (!f)
        trouble("a file cannot be written");
    mem_free(path);
    return f;
}

static void finish(FILE *f)
{
    int bad = ferror(f);
    if (fclose(f) || bad)
        trouble("a file cannot be written");
}

static void file_name(char name[32], uint64_t i) { sprintf(name, "%08lu.bin", (unsigned long)i); }

static void write_words(const char *folder, const Model *m, uint64_t i)
{
    char name[32];
    FILE *f;
    file_name(name, i);
    f = create(folder, name);
    if (bytes_of(&m->tensor[i]))
        fwrite(m->coded[i].data, 1, (size_t)bytes_of(&m->tensor[i]), f);
    finish(f);
}

static void write_entry(FILE *f, const Model *m, uint64_t i)
{
    const Tensor *t = &m->tensor[i];
    char name[32];
    Sha256 s;
    uint8_t digest[32];
    unsigned k;
    file_name(name, i);
    sha256_init(&s);
    sha256_add(&s, m->coded[i].data, bytes_of(t));
    sha256_end(&s, digest);
    fprintf(f, "%s\n  {\"name\": ", i ? "," : "");
    write_string(f, t->name, t->name_size);
    fprintf(f, ", \"dtype\": \"%s\", \"shape\": [", element_type((unsigned)t->type)->name);
    for (k = 0; k < t->rank; k++)
        fprintf(f, "%s%llu", k ? ", " : "", (unsigned long long)t->dim[k]);
    fprintf(f, "], \"file\": \"%s\", \"sha256\": \"", name);
    write_hex(f, digest, 32);
    fprintf(f, "\"}");
}

/* index.json is written last. */
void dump_write(const char *folder, const Stream *s)
{
    const Model *m = s->model[s->kept];
    FILE *f;
    uint64_t i;
    if (mkdir(folder, 0777) && errno != EEXIST)
        trouble("the folder cannot be made");
    for (i = 0; i < m->tensor_count; i++)
        write_words(folder, m, i);
    f = create(folder, "index.json");
    fprintf(f, "{\"model_digest\": \"");
    write_hex(f, m->digest, 32);
    fprintf(f, "\", \"cost\": {\"work\": %llu, \"memory\": %llu}, \"tensors\": [",
            (unsigned long long)excess_work(s), (unsigned long long)memory_needed(s));
    for (i = 0; i < m->tensor_count; i++)
        write_entry(f, m, i);
    fprintf(f, "\n]}\n");
    finish(f);
}

/* ---- reading ---- */

NORETURN static void bad_dump(void) { trouble("a reference that cannot be read"); }

static void read_shape(Json *j, Tensor *t)
{
    uint64_t dim[64];
    json_must(j, '[');
    t->rank = 0;
    if (!json_take(j, ']')) {
        do {
            if (t->rank == 48)
                bad_dump();
            dim[t->rank++] = json_number(j);
        } while (json_take(j, ','));
        json_must(j, ']');
    }
    t->dim = mem_alloc(t->rank, sizeof *t->dim);
    if (t->rank)
        memcpy(t->dim, dim, t->rank * sizeof *dim);
}

static int key_is(const uint8_t *key, const char *name) { return !strcmp((const char *)key, name); }

static void read_tensor(Json *j, const char *folder, Tensor *t, uint8_t **data)
{
    uint8_t *file = NULL, *key;
    uint64_t size, n, i;
    char *path;
    t->type = -1;
    json_must(j, '{');
    do {
        key = json_text(j, &n);
        json_must(j, ':');
        if (key_is(key, "name"))
            t->name = json_text(j, &t->name_size);
        else if (key_is(key, "dtype")) {
            uint8_t *type = json_text(j, &n);
            t->type = element_type_by_name((char *)type);
            mem_free(type);
        } else if (key_is(key, "shape"))
            read_shape(j, t);
        else if (key_is(key, "file"))
            file = json_text(j, &n);
        else
            json_skip(j);
        mem_free(key);
    } while (json_take(j, ','));
    json_must(j, '}');
    if (!t->name || t->type < 0 || !t->dim || !file || strchr((char *)file, '/'))
        bad_dump();
    path = mem_alloc(strlen(folder) + strlen((char *)file) + 2, 1);
    sprintf(path, "%s/%s", folder, (char *)file);
    *data = file_read(path, &size);
    for (t->elements = 1, i = 0; i < t->rank; i++) {
        if (t->dim[i] && t->elements > ((uint64_t)1 << 40) / t->dim[i])
            bad_dump();
        t->elements *= t->dim[i];
    }
    t->word_count = t->elements * (uint64_t)element_type((unsigned)t->type)->words;
    if (!*data || size != t->word_count * (uint64_t)element_type((unsigned)t->type)->word_bytes)
        bad_dump();
    mem_free(path);
    mem_free(file);
}

static void read_tensors(Json *j, const char *folder, Dump *d)
{
    uint64_t room = 0;
    json_must(j, '[');
    if (json_take(j, ']'))
        return;
    do {
        if (d->tensor_count == room) {
            room = room * 2 + 16;
            d->tensor = mem_grow(d->tensor, room, sizeof *d->tensor);
            d->data = mem_grow(d->data, room, sizeof *d->data);
        }
        read_tensor(j, folder, &d->tensor[d->tensor_count], &d->data[d->tensor_count]);
        d->tensor_count++;
    } while (json_take(j, ','));
    json_must(j, ']');
}

/* Its digest is that of what was read (8.8), whatever index.json says. */
Dump *dump_read(const char *folder)
{
    Dump *d = mem_alloc(1, sizeof *d);
    char *path = mem_alloc(strlen(folder) + 12, 1);
    uint8_t *text, *key, digest[32];
    uint64_t size, i, n;
    Json j;
    Sha256 h;
    sprintf(path, "%s/index.json", folder);
    text = file_read(path, &size);
    if (!text)
        bad_dump();
    j.p = text;
    j.end = text + size;
    json_must(&j, '{');
    do {
        key = json_text(&j, &n);
        json_must(&j, ':');
        if (key_is(key, "tensors") && !d->tensor_count)
            read_tensors(&j, folder, d);
        else
            json_skip(&j);
        mem_free(key);
    } while (json_take(&j, ','));
    json_must(&j, '}');
    sha256_init(&h);
    for (i = 0; i < d->tensor_count; i++) {
        tensor_digest(&d->tensor[i], d->data[i], NULL, digest);
        sha256_add(&h, digest, 32);
    }
    sha256_end(&h, d->digest);
    mem_free(text);
    mem_free(path);
    return d;
}
