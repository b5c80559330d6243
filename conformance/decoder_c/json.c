/* SPDX-License-Identifier: Apache-2.0
 * As much of JSON as dumps and requests have. */
#include "omc.h"

#include <string.h>

NORETURN static void bad(void) { trouble("JSON that cannot be read"); }

static int peek(Json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
    return j->p < j->end ? *j->p : -1;
}

int json_take(Json *j, int c)
{
    if (peek(j) != c)
        return 0;
    j->p++;
    return 1;
}

void json_must(Json *j, int c)
{
    if (!json_take(j, c))
        bad();
}

static uint32_t hex4(Json *j)
{
    uint32_t v = 0;
    int k;
    for (k = 0; k < 4; k++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = j->p < j->end && *j->p ? strchr(digits, *j->p) : NULL;
        if (!d)
            bad();
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
        bad();
    if (*j->p != 'u') {
        e = strchr(from, *j->p++);
        if (!e)
            bad();
        *o++ = (uint8_t)to[e - from];
        return o;
    }
    j->p++;
    c = hex4(j);
    if (c >= 0xD800 && c < 0xDC00) { /* a pair of surrogates */
        if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
            bad();
        j->p += 2;
        c = 0x10000 + ((c - 0xD800) << 10) + ((hex4(j) - 0xDC00) & 1023);
    }
    return put_utf8(o, c);
}

uint8_t *json_text(Json *j, uint64_t *size)
{
    uint8_t *text, *o;
    json_must(j, '"');
    o = text = mem_alloc((uint64_t)(j->end - j->p) < 1u << 20 ? (uint64_t)(j->end - j->p) + 1 : (1u << 20) + 8, 1);
    while (j->p < j->end && *j->p != '"') {
        if (o - text > (1 << 20) - 8)
            bad();
        if (*j->p == '\\') {
            j->p++;
            o = escape(j, o);
        } else {
            *o++ = *j->p++;
        }
    }
    json_must(j, '"');
    *size = (uint64_t)(o - text);
    return mem_grow(text, *size + 1, 1);
}

uint64_t json_number(Json *j)
{
    uint64_t v = 0;
    if (peek(j) < '0' || peek(j) > '9')
        bad();
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
        if (v > (uint64_t)1 << 58)
            bad();
        v = v * 10 + (uint64_t)(*j->p++ - '0');
    }
    return v;
}

static void skip(Json *j, int depth)
{
    int c = peek(j), close;
    uint64_t n;
    if (depth > 32)
        bad();
    if (c == '"') {
        mem_free(json_text(j, &n));
    } else if (c == '{' || c == '[') {
        close = c == '{' ? '}' : ']';
        json_must(j, c);
        if (json_take(j, close))
            return;
        do {
            if (c == '{') {
                mem_free(json_text(j, &n));
                json_must(j, ':');
            }
            skip(j, depth + 1);
        } while (json_take(j, ','));
        json_must(j, close);
    } else {
        const uint8_t *start = j->p;
        while (j->p < j->end && (strchr("+-.", *j->p) || (*j->p >= '0' && *j->p <= '9') || (*j->p >= 'a' && *j->p <= 'z') || *j->p == 'E'))
            if (!*j->p++)
                bad();
        if (j->p == start)
            bad();
    }
}

void json_skip(Json *j) { skip(j, 0); }
