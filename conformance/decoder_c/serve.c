/* SPDX-License-Identifier: Apache-2.0
 * The contract's process that serves. Each stream is decoded in a process of
 * its own, which takes the tables of this one and leaves nothing behind. */
#define _POSIX_C_SOURCE 200809L
#include "omc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *op, *stream, *outdir, **reference;
    uint64_t references, model;
} Request;

static void read_references(Json *j, Request *r)
{
    uint64_t n;
    json_must(j, '[');
    if (json_take(j, ']'))
        return;
    do {
        r->reference = mem_grow(r->reference, r->references + 1, sizeof *r->reference);
        r->reference[r->references++] = (char *)json_text(j, &n);
    } while (json_take(j, ','));
    json_must(j, ']');
}

static Request read_request(const char *line)
{
    Request r = {NULL, NULL, NULL, NULL, 0, LAST_MODEL};
    Json j;
    j.p = (const uint8_t *)line;
    j.end = j.p + strlen(line);
    json_must(&j, '{');
    do {
        uint64_t n;
        char *key = (char *)json_text(&j, &n);
        json_must(&j, ':');
        if (!strcmp(key, "op"))
            r.op = (char *)json_text(&j, &n);
        else if (!strcmp(key, "stream"))
            r.stream = (char *)json_text(&j, &n);
        else if (!strcmp(key, "outdir"))
            r.outdir = (char *)json_text(&j, &n);
        else if (!strcmp(key, "references"))
            read_references(&j, &r);
        else if (!strcmp(key, "model"))
            r.model = json_number(&j);
        else
            json_skip(&j);
    } while (json_take(&j, ','));
    json_must(&j, '}');
    if (!r.op)
        trouble("a request without op");
    return r;
}

/* The line that the child prints, if it prints one: {"code": ... or {"feature": ... */
static void answer(int out, pid_t child)
{
    char text[512];
    size_t n = 0;
    ssize_t got;
    int status, code;
    while (n < sizeof text - 1 && (got = read(out, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        trouble("the decoder died");
    code = WEXITSTATUS(status);
    if (code == 0)
        puts("{\"exit\": 0}");
    else if (code < 10 || n < 2)
        trouble("the decoder had trouble");
    else
        printf("{\"exit\": %d, %s", code, text + 1); /* its newline is in the text */
    fflush(stdout);
}

static void decode(const Request *r)
{
    int out[2];
    pid_t child;
    if (!r->stream || !r->outdir || pipe(out))
        trouble("a request that cannot be served");
    child = fork();
    if (child < 0)
        trouble("no process");
    if (child == 0) {
        close(STDIN_FILENO); /* or exit( ) might move the position in a file of requests */
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        decode_file(r->stream, r->outdir, r->model, r->reference, r->references);
        exit(0);
    }
    close(out[1]);
    answer(out[0], child);
    close(out[0]);
}

void serve_requests(void)
{
    static char line[1 << 16];
    while (fgets(line, sizeof line, stdin)) {
        Request r = read_request(line);
        if (!strcmp(r.op, "stop"))
            break;
        if (!strcmp(r.op, "hello")) {
            puts("{\"contract\": 1, \"name\": \"omc_decode\", \"version\": \"0.2\"}");
            fflush(stdout);
        } else {
            decode(&r);
        }
        mem_free_all();
    }
    mem_free_all();
}
