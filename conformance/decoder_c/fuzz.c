/* SPDX-License-Identifier: Apache-2.0
 * Damaged streams for the decoder, in one process. Built with sanitizers:
 *
 * fuzz run COUNT SEED CURRENT [--reference DUMPDIR]... STREAM...
 *     COUNT inputs made of the streams; the last one is kept in CURRENT.
 * fuzz try [--reference DUMPDIR]... FILE...      the files as they are
 * fuzz serve [--reference DUMPDIR]...            decodes what comes on stdin:
 *     32-bit sizes (little-endian) and bytes; a line for each
 *
 * or with -DLIBFUZZER -fsanitize=fuzzer: a target of libFuzzer, which takes
 * the folders of dumps from OMC_REFERENCES (separated by ':').
 *
 * An input is decoded or rejected with a listed code. What is decoded fits its
 * digest, which is computed here once more, and a stream whose checks were not
 * made anew is decoded to nothing but its parent's model. */
#define _XOPEN_SOURCE 700
#include "fuzz_damage.h"
#include "omc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* fail( ) and unsupported( ) come back here instead of ending the process. */
static jmp_buf back;
static int left_with; /* 10, 11; 0: not left */
static char record[256];

NORETURN static void leave(int code)
{
    left_with = code;
    longjmp(back, 1);
}

static int note(const char *format, ...)
{
    size_t at = strlen(record);
    va_list list;
    va_start(list, format);
    vsnprintf(record + at, sizeof record - at, format, list);
    va_end(list);
    return 0;
}

#define exit leave
#define printf note
#include "support.c"
#undef exit
#undef printf

#define MEMORY ((uint64_t)64 << 20) /* what a decoder may take for an input, */
#define WORK ((uint64_t)1 << 24)    /* and its multiplications in a product */
#ifdef LIBFUZZER
#define SECONDS 0 /* libFuzzer has a clock */
#else
#define SECONDS 20
#endif

static void die(const char *message)
{
    fprintf(stderr, "fuzz: %s: %s\n", message, record);
    abort();
}

/* ---- one input ---- */

static Stream external;   /* the dumps */
static Header *kept;      /* blocks that stay from input to input */
static State fresh;       /* state before an input */

static void begin(char *const *folder, int count)
{
    tables_init();
    external.dump = mem_alloc((uint64_t)count + 1, sizeof *external.dump);
    for (; count--; folder++)
        external.dump[external.dump_count++] = dump_read(*folder);
    state.max_memory = state.used_memory + MEMORY;
    state.max_work = WORK;
    kept = blocks;
    fresh = state;
}

/* 8.8, over what came out */
static void check_output(const Model *m, uint8_t digest[32])
{
    Sha256 h;
    uint64_t i;
    sha256_init(&h);
    for (i = 0; i < m->tensor_count; i++) {
        uint8_t d[32];
        tensor_digest(&m->tensor[i], m->coded[i].data, NULL, d);
        sha256_add(&h, d, 32);
    }
    sha256_end(&h, digest);
    if (memcmp(digest, m->digest, 32))
        die("what was decoded does not fit its digest");
}

static void check_code(void)
{
    static const char *const codes[] = {
        "BAD_MAGIC", "TRUNCATED", "TRAILING_DATA", "RESERVED_VALUE", "FORBIDDEN_PATTERN", "DIGEST_MISMATCH", "ORDER",
        "MISSING_UNIT", "BAD_SIZE", "BAD_ALIGNMENT", "OUT_OF_RANGE", "RESOURCE_LIMIT", "UNSUPPORTED_VERSION",
        "DANGLING_REFERENCE", "DUPLICATE_ID", "ENTROPY_END", "OVERFLOW", "MISSING_REFERENCE"};
    size_t i;
    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        size_t n = strlen(codes[i]);
        if (!strncmp(record, "{\"code\": \"", 10) && !strncmp(record + 10, codes[i], n) && record[10 + n] == '"')
            return;
    }
    die("a code that Annex B does not have");
}

/* As decoder.c; the digest is that of the last model. */
static void decode_all(const uint8_t *data, size_t size, uint8_t digest[32])
{
    static Stream s;
    uint64_t i;
    s = external;
    s.data = data, s.size = size;
    parse_stream(&s);
    s.kept = s.model_count - 1; /* R7.1-5: there is one */
    for (i = 0; i < s.model_count; i++) {
        decode_model(&s, i);
        if (i != s.kept)
            release_model(&s, i);
    }
    check_output(s.model[s.kept], digest);
}

static void clear(void)
{
    while (blocks != kept)
        mem_free(blocks + 1);
    if (state.used_memory != fresh.used_memory)
        die("memory is not counted right");
    state = fresh;
}

/* Ends the process after so many seconds of computing; 0: does not. */
static void set_clock(int seconds)
{
    struct itimerval t = {{0, 0}, {seconds, 0}};
    setitimer(ITIMER_VIRTUAL, &t, NULL);
}

/* 0: decoded; 10, 11: see main.c. */
static int decode(const uint8_t *data, size_t size, uint8_t digest[32])
{
    record[0] = 0;
    left_with = 0;
    set_clock(SECONDS);
    if (!setjmp(back))
        decode_all(data, size, digest);
    set_clock(0);
    clear();
    if (left_with == 10)
        check_code();
    return left_with;
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char text[4096];
    char *folder[64], *p = getenv("OMC_REFERENCES");
    int n = 0;
    (void)argc, (void)argv;
    if (p && strlen(p) < sizeof text)
        for (p = strtok(strcpy(text, p), ":"); p && n < 64; p = strtok(NULL, ":"))
            folder[n++] = p;
    begin(folder, n);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t digest[32];
    decode(data, size, digest);
    return 0;
}

#else

/* ---- runs ---- */

static uint8_t input[INPUT_MAX];

static uint8_t *load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    size_t n;
    if (!f)
        die(path);
    n = fread(input, 1, INPUT_MAX, f);
    fclose(f);
    data = malloc(n + 1);
    if (!data)
        die("memory");
    memcpy(data, input, n);
    *size = n;
    return data;
}

typedef struct {
    uint8_t *data;
    size_t size;
    int code;
    uint8_t digest[32];
} Parent;

/* The present input is in a file when the process dies. */
static void keep(FILE *f, size_t size)
{
    rewind(f);
    if (fwrite(input, 1, size, f) != size || fflush(f) || ftruncate(fileno(f), (off_t)size))
        die("CURRENT cannot be written");
}

static void report(uint64_t count, const uint64_t by_code[3], uint64_t sealed, double slowest, uint64_t slowest_at)
{
    fprintf(stdout, "{\"inputs\": %llu, \"sealed\": %llu, \"decoded\": %llu, \"rejected\": %llu, \"unsupported\": %llu, "
            "\"slowest\": %.3f, \"slowest_at\": %llu}\n", (unsigned long long)count, (unsigned long long)sealed,
            (unsigned long long)by_code[0], (unsigned long long)by_code[1], (unsigned long long)by_code[2], slowest,
            (unsigned long long)slowest_at);
    fflush(stdout);
}

static void run(uint64_t count, uint64_t first, FILE *current, char **path, int paths)
{
    static Piece other[PIECES];
    Parent *parent = calloc((size_t)paths, sizeof *parent);
    uint64_t by_code[3] = {0, 0, 0}, sealed = 0, n, slowest_at = 0;
    double slowest = 0;
    int i;
    if (!parent)
        die("memory");
    for (i = 0; i < paths; i++) {
        parent[i].data = load(path[i], &parent[i].size);
        parent[i].code = decode(parent[i].data, parent[i].size, parent[i].digest);
    }
    for (n = 0; n < count; n++) {
        const Parent *p, *q;
        uint8_t digest[32];
        size_t size = 0;
        clock_t start;
        double seconds;
        int code;
        seed = first + n; /* any input can be made again alone */
        any(0);
        p = &parent[any((uint64_t)paths)];
        q = &parent[any((uint64_t)paths)];
        if (any(8))
            size = damage_units(p->data, p->size, other, cut(q->data, q->size, other), input, INPUT_MAX);
        if (size) {
            sealed++;
            p = NULL;
        } else {
            memcpy(input, p->data, size = p->size);
            for (i = 1 + (int)any(4); i--;)
                size = damage(input, size, INPUT_MAX);
            if (!any(8))
                size = any(size + 1);
        }
        keep(current, size);
        start = clock();
        code = decode(input, size, digest);
        seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        by_code[code ? code - 9 : 0]++;
        if (!code && p && !p->code && memcmp(digest, p->digest, 32))
            die("WRONG-ACCEPT");
        if (seconds > slowest) {
            slowest = seconds;
            slowest_at = first + n;
        }
        if (n % 100000 == 99999)
            report(n + 1, by_code, sealed, slowest, slowest_at);
    }
    report(count, by_code, sealed, slowest, slowest_at);
    for (; paths--; free(parent[paths].data))
        ;
    free(parent);
}

static void answer(int code, const uint8_t digest[32])
{
    int i;
    if (code) {
        fputs(record, stdout);
    } else {
        fputs("{\"digest\": \"", stdout);
        for (i = 0; i < 32; i++)
            fprintf(stdout, "%02x", digest[i]);
        fputs("\"}\n", stdout);
    }
    fflush(stdout);
}

static void serve(void)
{
    uint8_t head[4], digest[32];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (size > INPUT_MAX || fread(input, 1, size, stdin) != size)
            die("the input is too large, or ends");
        answer(decode(input, size, digest), digest);
    }
}

int main(int argc, char **argv)
{
    int running = argc > 4 && !strcmp(argv[1], "run"), at = running ? 5 : 2, dumps = 0;
    char *folder[64];
    if (argc < 2)
        return 2;
    for (; at + 1 < argc && !strcmp(argv[at], "--reference") && dumps < 64; at += 2)
        folder[dumps++] = argv[at + 1];
    begin(folder, dumps);
    if (running && at < argc) {
        FILE *current = fopen(argv[4], "wb");
        if (!current)
            return 2;
        run(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), current, argv + at, argc - at);
        fclose(current);
    } else if (!strcmp(argv[1], "try")) {
        for (; at < argc; at++) {
            uint8_t digest[32];
            size_t size;
            uint8_t *data = load(argv[at], &size);
            fprintf(stdout, "%s ", argv[at]);
            answer(decode(data, size, digest), digest);
            free(data);
        }
    } else if (!strcmp(argv[1], "serve")) {
        serve();
    } else {
        return 2;
    }
    mem_free_all();
    return 0;
}

#endif
