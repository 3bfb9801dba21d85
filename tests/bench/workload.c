#include "workload.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char USAGE[] =
    "usage: annal-bench --port PORT [options] --do COMMAND [--do COMMAND]...\n"
    "Drives an IMAP server on 127.0.0.1 and prints one line of JSON: operations a second, "
    "latency,\n"
    "its own share of a processor. Commands are templates:\n"
    "  %c client, %n its operation, %r random number, %m message, %b batch of messages, %% per "
    "cent\n"
    "  --tls               TLS from the start; the certificate is not checked\n"
    "  --user T            template of the user's name (default: u0)\n"
    "  --password P        (default: p)\n"
    "  --clients N         connections (1)\n"
    "  --pipeline N        commands a client has under way (1)\n"
    "  --prepare COMMAND   said once by each client before the measurement; may be repeated\n"
    "  --warmup N          unmeasured operations of each client before it (0)\n"
    "  --count N           end after N operations\n"
    "  --each N            end a client's part after N operations\n"
    "  --seconds S         end after S seconds\n"
    "  --range N           of %r and %s (1)\n"
    "  --size N            octets of a message (4096)\n"
    "  --batch N           messages of %b (100)\n"
    "  --mode M            commands (default), login or idle\n"
    "  --patience S        give up after S seconds without an answer (300)\n"
    "  --gate              say \"ready\", wait for a line on stdin; keep connections until its "
    "end\n";

enum option_letter {
    OPTION_PORT = 1000,
    OPTION_TLS,
    OPTION_USER,
    OPTION_PASSWORD,
    OPTION_CLIENTS,
    OPTION_PIPELINE,
    OPTION_PREPARE,
    OPTION_WARMUP,
    OPTION_COUNT,
    OPTION_EACH,
    OPTION_SECONDS,
    OPTION_RANGE,
    OPTION_SIZE,
    OPTION_BATCH,
    OPTION_MODE,
    OPTION_PATIENCE,
    OPTION_GATE,
    OPTION_DO,
};

static const struct option OPTIONS[] = {
    {"port", required_argument, NULL, OPTION_PORT},
    {"tls", no_argument, NULL, OPTION_TLS},
    {"user", required_argument, NULL, OPTION_USER},
    {"password", required_argument, NULL, OPTION_PASSWORD},
    {"clients", required_argument, NULL, OPTION_CLIENTS},
    {"pipeline", required_argument, NULL, OPTION_PIPELINE},
    {"prepare", required_argument, NULL, OPTION_PREPARE},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"each", required_argument, NULL, OPTION_EACH},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"range", required_argument, NULL, OPTION_RANGE},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"batch", required_argument, NULL, OPTION_BATCH},
    {"mode", required_argument, NULL, OPTION_MODE},
    {"patience", required_argument, NULL, OPTION_PATIENCE},
    {"gate", no_argument, NULL, OPTION_GATE},
    {"do", required_argument, NULL, OPTION_DO},
    {NULL, 0, NULL, 0},
};

static bool parse_number(const char *text, unsigned long least, unsigned long most, unsigned *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || value < least || value > most)
        return false;
    *out = (unsigned)value;
    return true;
}

static bool parse_mode(const char *text, enum workload_mode *out)
{
    if (strcmp(text, "commands") == 0)
        *out = WORKLOAD_COMMANDS;
    else if (strcmp(text, "login") == 0)
        *out = WORKLOAD_LOGIN;
    else if (strcmp(text, "idle") == 0)
        *out = WORKLOAD_IDLE;
    else
        return false;
    return true;
}

static bool take_number(struct workload *workload, int option, const char *value)
{
    unsigned count;

    switch (option) {
    case OPTION_PORT:
        return parse_number(value, 1, 65535, &workload->port);
    case OPTION_CLIENTS:
        return parse_number(value, 1, WORKLOAD_CLIENTS_MAX, &workload->clients);
    case OPTION_PIPELINE:
        return parse_number(value, 1, WORKLOAD_PIPELINE_MAX, &workload->pipeline);
    case OPTION_WARMUP:
        return parse_number(value, 0, 1000000, &workload->warmup);
    case OPTION_COUNT:
        if (!parse_number(value, 1, 1000000000, &count))
            return false;
        workload->count = count;
        return true;
    case OPTION_EACH:
        return parse_number(value, 1, 1000000000, &workload->each);
    case OPTION_RANGE:
        return parse_number(value, 1, 1000000000, &workload->range);
    case OPTION_SIZE:
        return parse_number(value, 1, WORKLOAD_MESSAGE_MAX, &workload->size);
    case OPTION_BATCH:
        return parse_number(value, 1, 10000, &workload->batch);
    case OPTION_PATIENCE:
        return parse_number(value, 1, 86400, &workload->patience);
    default:
        return false;
    }
}

static bool take_option(struct workload *workload, int option, char *value)
{
    switch (option) {
    case OPTION_TLS:
        workload->tls = true;
        return true;
    case OPTION_GATE:
        workload->gate = true;
        return true;
    case OPTION_USER:
        workload->user = value;
        return true;
    case OPTION_PASSWORD:
        workload->password = value;
        return true;
    case OPTION_PREPARE:
        g_ptr_array_add(workload->prepare, value);
        return true;
    case OPTION_DO:
        g_ptr_array_add(workload->commands, value);
        return true;
    case OPTION_SECONDS:
        workload->seconds = g_ascii_strtod(value, NULL);
        return workload->seconds > 0;
    case OPTION_MODE:
        return parse_mode(value, &workload->mode);
    default:
        return take_number(workload, option, value);
    }
}

static bool makes_sense(const struct workload *workload)
{
    if (workload->port == 0)
        return false;
    if (workload->commands->len == 0)
        return workload->mode == WORKLOAD_LOGIN || (workload->gate && workload->count == 0);
    if (workload->mode == WORKLOAD_IDLE && workload->clients != 2)
        return false;
    return workload->count > 0 || workload->each > 0 || workload->seconds > 0;
}

bool workload_parse(struct workload *workload, int argc, char **argv)
{
    int option;

    *workload = (struct workload){
        .user = "u0",
        .password = "p",
        .clients = 1,
        .pipeline = 1,
        .batch = 100,
        .range = 1,
        .size = 4096,
        .patience = 300,
        .prepare = g_ptr_array_new(),
        .commands = g_ptr_array_new(),
    };
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        if (!take_option(workload, option, optarg)) {
            fputs(USAGE, stderr);
            return false;
        }
    }
    if (optind == argc && makes_sense(workload))
        return true;
    fputs(USAGE, stderr);
    return false;
}

void workload_release(struct workload *workload)
{
    g_ptr_array_unref(workload->prepare);
    g_ptr_array_unref(workload->commands);
}

/* --- messages --- */

static const char TEXT[] =
    "The committee met in the small room beside the library, because the large one was\r\n"
    "being painted. Before lunch the budget was read; after lunch it was read again, by\r\n"
    "somebody with a clearer voice. The bridge will be closed from Monday until the river\r\n"
    "falls. Nobody could say who had ordered forty chairs, and nobody objected to them.\r\n"
    "Please bring the minutes of last year, the keys of the boathouse and an umbrella.\r\n";

static uint64_t next_random(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* No two messages are equal, so that no store gets away with keeping one of them. */
static void append_header(GString *out)
{
    static uint64_t serial;
    static time_t start;
    uint64_t n = ++serial;

    if (start == 0)
        start = time(NULL);
    g_string_append_printf(out,
                           "Return-Path: <writer%u@example.org>\r\n"
                           "Received: from mail.example.org (mail.example.org [192.0.2.%u])\r\n"
                           "\tby mx.example.net with ESMTPS id %" PRIx64 ";\r\n"
                           "\tMon, 3 Mar 2025 13:%02u:%02u +0000\r\n"
                           "Message-ID: <%" PRIu64 ".%ld.%ld@example.org>\r\n"
                           "Date: Mon, 3 Mar 2025 14:%02u:%02u +0100\r\n"
                           "From: Writer %u <writer%u@example.org>\r\n"
                           "To: Reader <reader@example.net>, Committee <committee@example.net>\r\n"
                           "Cc: \"Archive, Central\" <archive%u@example.net>\r\n"
                           "Subject: minutes of meeting %" PRIu64 "\r\n"
                           "MIME-Version: 1.0\r\n"
                           "Content-Type: text/plain; charset=utf-8\r\n"
                           "Content-Transfer-Encoding: 7bit\r\n"
                           "\r\n",
                           (unsigned)(n % 97), (unsigned)(n % 250), n, (unsigned)(n / 60 % 60),
                           (unsigned)(n % 60), n, (long)start, (long)getpid(),
                           (unsigned)(n / 60 % 60), (unsigned)(n % 60), (unsigned)(n % 97),
                           (unsigned)(n % 97), (unsigned)(n % 13), n);
}

/* Exactly size octets. */
static void append_message(GString *out, size_t size)
{
    size_t start = out->len, end = start + size;

    append_header(out);
    while (out->len < end)
        g_string_append_len(out, TEXT, sizeof TEXT - 1);
    g_string_truncate(out, end);
    if (size >= 2)
        memcpy(out->str + end - 2, "\r\n", 2);
}

static void append_literals(GString *out, unsigned messages, unsigned size)
{
    for (unsigned i = 0; i < messages; i++) {
        g_string_append_printf(out, "%s{%u+}\r\n", i > 0 ? " " : "", size);
        append_message(out, size);
    }
}

void workload_expand(const struct workload *workload, GString *out, const char *template_text,
                     unsigned client, uint64_t number)
{
    for (const char *at = template_text; *at != '\0'; at++) {
        if (*at != '%' || at[1] == '\0') {
            g_string_append_c(out, *at);
            continue;
        }
        at++;
        if (*at == 'c')
            g_string_append_printf(out, "%u", client);
        else if (*at == 'n')
            g_string_append_printf(out, "%" PRIu64, number);
        else if (*at == 'r')
            g_string_append_printf(out, "%u", (unsigned)(next_random() % workload->range) + 1);
        else if (*at == 's')
            g_string_append_printf(out, "%" PRIu64, (number - 1) % workload->range + 1);
        else if (*at == 'f')
            g_string_append_c(out, (number - 1) / workload->range % 2 == 0 ? '+' : '-');
        else if (*at == 'm')
            append_literals(out, 1, workload->size);
        else if (*at == 'b')
            append_literals(out, workload->batch, workload->size);
        else
            g_string_append_c(out, *at);
    }
}
