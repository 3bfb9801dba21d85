/* What a load generator says: options, commands made from templates, messages. */
#ifndef ANNAL_TESTS_BENCH_WORKLOAD_H
#define ANNAL_TESTS_BENCH_WORKLOAD_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    WORKLOAD_PIPELINE_MAX = 1024,
    WORKLOAD_CLIENTS_MAX = 20000,
    WORKLOAD_MESSAGE_MAX = 64 * 1024 * 1024,
};

enum workload_mode {
    WORKLOAD_COMMANDS, /* each client repeats the commands in turn */
    WORKLOAD_LOGIN,    /* each operation is a new connection, up to the answer to LOGIN */
    WORKLOAD_IDLE,     /* the first client idles; an operation lasts from the second one's command
                        * until the first is told of EXISTS */
};

struct workload {
    enum workload_mode mode;
    unsigned port;
    bool tls;
    const char *user; /* template */
    const char *password;
    unsigned clients;
    unsigned pipeline;
    unsigned batch;     /* messages of %b */
    uint64_t count;     /* operations of all clients, 0: until seconds have passed */
    unsigned each;      /* operations of each client, 0: any */
    double seconds;     /* 0: until count */
    unsigned warmup;    /* unmeasured operations of each client */
    unsigned range;     /* of %r and %s */
    unsigned size;      /* of messages, octets */
    unsigned patience;  /* seconds without any answer after which a run has failed */
    bool gate;          /* say "ready", wait for a line on stdin; hold connections until its end */
    GPtrArray *prepare; /* const char *: commands of each client after its login, unmeasured */
    GPtrArray *commands;
};

/* Parses; on failure prints the usage and returns false. workload_release() in any case. */
bool workload_parse(struct workload *workload, int argc, char **argv);
void workload_release(struct workload *workload);

/* Appends a command or a name with its marks replaced, without a tag and without CRLF:
 *   %c  the client's number, from 0        %n  the number of its operation, from 1
 *   %r  a random number from 1 to range    %s  operation N: numbers from 1 to range in turn
 *   %f  "+", at every second turn "-"      %m  a message as a non-synchronising literal
 *   %b  as many messages as a batch has    %%  a per cent sign
 */
void workload_expand(const struct workload *workload, GString *out, const char *template_text,
                     unsigned client, uint64_t number);

#endif
