/* SPDX-License-Identifier: Apache-2.0
 * Canonical dumps: index.json and a file of words for each tensor. */
#include "omc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
        unsupported("output: a file cannot be written");
    mem_free(path);
    return f;
}

static void finish(FILE *f)
{
    int bad = ferror(f);
    if (fclose(f) || bad)
        unsupported("output: a file cannot be written");
}

static void write_entry(FILE *index, const char *folder, const Tensor *t, const Coded *c, uint64_t i)
{
    const ElementType *e = element_type((unsigned)t->type);
    uint64_t size = t->word_count * (uint64_t)e->word_bytes;
    char name[32];
    FILE *f;
    Sha256 s;
    uint8_t digest[32];
    unsigned k;
    sprintf(name, "%08lu.bin", (unsigned long)i);
    f = create(folder, name);
    if (size)
        fwrite(c->data, 1, (size_t)size, f);
    finish(f);
    sha256_init(&s);
    sha256_add(&s, c->data, size);
    sha256_end(&s, digest);
    fprintf(index, "%s\n  {\"name\": ", i ? "," : "");
    write_string(index, t->name, t->name_size);
    fprintf(index, ", \"dtype\": \"%s\", \"shape\": [", e->name);
    for (k = 0; k < t->rank; k++)
        fprintf(index, "%s%llu", k ? ", " : "", (unsigned long long)t->dim[k]);
    fprintf(index, "], \"file\": \"%s\", \"sha256\": \"", name);
    write_hex(index, digest, 32);
    fprintf(index, "\"}");
}

void dump_write(const char *folder, const Model *m)
{
    FILE *f;
    uint64_t i;
    if (mkdir(folder, 0777) && errno != EEXIST)
        unsupported("output: the folder cannot be made");
    f = create(folder, "index.json");
    fprintf(f, "{\"model_digest\": \"");
    write_hex(f, m->digest, 32);
    fprintf(f, "\", \"tensors\": [");
    for (i = 0; i < m->tensor_count; i++)
        write_entry(f, folder, &m->tensor[i], &m->coded[i], i);
    fprintf(f, "\n]}\n");
    finish(f);
}

/* ---- reading: as much of JSON as dumps have ---- */

typedef struct {
    const uint8_t *p, *end;
} Json;

NORETURN static void bad_dump(void) { unsupported("reference: a dump cannot be read"); }

static int peek(Json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
    return j->p < j->end ? *j->p : -1;
}

static int take(Json *j, int c)
{
    if (peek(j) != c)
        return 0;
    j->p++;
    return 1;
}

static void must(Json *j, int c)
{
    if (!take(j, c))
        bad_dump();
}

static uint32_t hex4(Json *j)
{
    uint32_t v = 0;
    int k;
    for (k = 0; k < 4; k++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = j->p < j->end && *j->p ? strchr(digits, *j->p) : NULL;
        if (!d)
            bad_dump();
        v = v << 4 | (uint32_t)((d - digits) & 15);
        j->p++;
    }
    return v;
}

static uint8_t *put_utf8(uint8_t *o, uint32_t c)
{
    if (c < 0x80)
        *o++ = (uint8_t)c;
    else {
        if (c < 0x800)
            *o++ = (uint8_t)(0xC0 | c >> 6);
        else {
            if (c < 0x10000)
                *o++ = (uint8_t)(0xE0 | c >> 12);
            else {
                *o++ = (uint8_t)(0xF0 | c >> 18);
                *o++ = (uint8_t)(0x80 | (c >> 12 & 63));
            }
            *o++ = (uint8_t)(0x80 | (c >> 6 & 63));
        }
        *o++ = (uint8_t)(0x80 | (c & 63));
    }
    return o;
}

static uint8_t *escape(Json *j, uint8_t *o)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *e;
    uint32_t c;
    if (j->p >= j->end || !*j->p)
        bad_dump();
    if (*j->p != 'u') {
        e = strchr(from, *j->p++);
        if (!e)
            bad_dump();
        *o++ = (uint8_t)to[e - from];
        return o;
    }
    j->p++;
    c = hex4(j);
    if (c >= 0xD800 && c < 0xDC00) { /* a pair of surrogates */
        if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
            bad_dump();
        j->p += 2;
        c = 0x10000 + ((c - 0xD800) << 10) + ((hex4(j) - 0xDC00) & 1023);
    }
    return put_utf8(o, c);
}

static uint8_t *read_text(Json *j, uint64_t *size)
{
    uint8_t *text, *o;
    must(j, '"');
    o = text = mem_alloc((uint64_t)(j->end - j->p) < 1u << 20 ? (uint64_t)(j->end - j->p) + 1 : (1u << 20) + 8, 1);
    while (j->p < j->end && *j->p != '"') {
        if (o - text > (1 << 20) - 8)
            bad_dump();
        if (*j->p == '\\') {
            j->p++;
            o = escape(j, o);
        } else {
            *o++ = *j->p++;
        }
    }
    must(j, '"');
    *size = (uint64_t)(o - text);
    return mem_grow(text, *size + 1, 1);
}

static uint64_t read_number(Json *j)
{
    uint64_t v = 0;
    if (peek(j) < '0' || peek(j) > '9')
        bad_dump();
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
        if (v > (uint64_t)1 << 58)
            bad_dump();
        v = v * 10 + (uint64_t)(*j->p++ - '0');
    }
    return v;
}

static void skip_value(Json *j, int depth)
{
    int c = peek(j), close;
    uint64_t n;
    if (depth > 32)
        bad_dump();
    if (c == '"') {
        mem_free(read_text(j, &n));
    } else if (c == '{' || c == '[') {
        close = c == '{' ? '}' : ']';
        must(j, c);
        if (take(j, close))
            return;
        do {
            if (c == '{') {
                mem_free(read_text(j, &n));
                must(j, ':');
            }
            skip_value(j, depth + 1);
        } while (take(j, ','));
        must(j, close);
    } else {
        const uint8_t *start = j->p;
        while (j->p < j->end && (strchr("+-.", *j->p) || (*j->p >= '0' && *j->p <= '9') || (*j->p >= 'a' && *j->p <= 'z') || *j->p == 'E'))
            if (!*j->p++)
                bad_dump();
        if (j->p == start)
            bad_dump();
    }
}

static void read_shape(Json *j, Tensor *t)
{
    uint64_t dim[64];
    must(j, '[');
    t->rank = 0;
    if (!take(j, ']')) {
        do {
            if (t->rank == 48)
                bad_dump();
            dim[t->rank++] = read_number(j);
        } while (take(j, ','));
        must(j, ']');
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
    must(j, '{');
    do {
        key = read_text(j, &n);
        must(j, ':');
        if (key_is(key, "name"))
            t->name = read_text(j, &t->name_size);
        else if (key_is(key, "dtype")) {
            uint8_t *type = read_text(j, &n);
            t->type = element_type_by_name((char *)type);
            mem_free(type);
        } else if (key_is(key, "shape"))
            read_shape(j, t);
        else if (key_is(key, "file"))
            file = read_text(j, &n);
        else
            skip_value(j, 0);
        mem_free(key);
    } while (take(j, ','));
    must(j, '}');
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
    must(j, '[');
    if (take(j, ']'))
        return;
    do {
        if (d->tensor_count == room) {
            room = room * 2 + 16;
            d->tensor = mem_grow(d->tensor, room, sizeof *d->tensor);
            d->data = mem_grow(d->data, room, sizeof *d->data);
        }
        read_tensor(j, folder, &d->tensor[d->tensor_count], &d->data[d->tensor_count]);
        d->tensor_count++;
    } while (take(j, ','));
    must(j, ']');
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
    must(&j, '{');
    do {
        key = read_text(&j, &n);
        must(&j, ':');
        if (key_is(key, "tensors") && !d->tensor_count)
            read_tensors(&j, folder, d);
        else
            skip_value(&j, 0);
        mem_free(key);
    } while (take(&j, ','));
    must(&j, '}');
    sha256_init(&h);
    for (i = 0; i < d->tensor_count; i++) {
        tensor_digest(&d->tensor[i], d->data[i], digest);
        sha256_add(&h, digest, 32);
    }
    sha256_end(&h, d->digest);
    mem_free(text);
    mem_free(path);
    return d;
}
