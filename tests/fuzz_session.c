/* A whole session fed with pieces of any size, before and after login, beside a second session
 * that idles in INBOX. The first octet says how: bit 0 logged in before, bit 1 cleartext, the
 * others seed the sizes of the pieces.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz.h"
#include "tests/session_memory.h"

enum { OUTPUT_SLACK = 4 * 1024 * 1024 }; /* more than any one command adds beyond the high mark */

static struct memory_server server;
static struct script_transport transport;

static void say(unsigned client, const char *text)
{
    transport.send(transport.data, client, text, strlen(text));
}

static void drop_received(unsigned client)
{
    GByteArray *in = g_byte_array_new();
    transport.receive(transport.data, client, in, true);
    g_byte_array_unref(in);
}

static void finish(void)
{
    GString *report = g_string_new(NULL);
    bool good = memory_server_verify(&server, report);
    if (!good)
        fprintf(stderr, "%s", report->str);
    g_string_free(report, TRUE);
    memory_server_release(&server);
    if (!good)
        _Exit(EXIT_FAILURE);
}

static void start(void)
{
    static bool started = false;
    if (started)
        return;
    started = true;
    memory_server_init(&server);
    server.settings.allow_cleartext_login = true;
    transport = memory_server_transport(&server);
    atexit(finish);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 16;
}

static void feed(const uint8_t *data, size_t size, uint32_t seed)
{
    struct memory_client *client = &server.clients[0];
    while (size > 0 && client->status != SESSION_CLOSED) {
        size_t piece = 1 + next_random(&seed) % (next_random(&seed) % 4 == 0 ? 2000 : 40);
        piece = MIN(piece, size);
        if (!transport.send(transport.data, 0, data, piece))
            break;
        if (client->status == SESSION_STARTTLS)
            transport.start_tls(transport.data, 0);
        else if (client->status == SESSION_COMPRESS)
            transport.compress(transport.data, 0);
        if (session_output_waiting(client->session) > SESSION_OUTPUT_HIGH + OUTPUT_SLACK)
            abort();
        drop_received(0);
        data += piece;
        size -= piece;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    start();
    transport.open(transport.data, 0, (data[0] & 2) == 0);
    transport.open(transport.data, 1, true);
    say(1, "1 LOGIN alice alice\r\n2 SELECT INBOX\r\n3 IDLE\r\n");
    if ((data[0] & 1) != 0)
        say(0, "0 LOGIN alice alice\r\n");
    feed(data + 1, size - 1, (uint32_t)data[0] >> 2);
    drop_received(1);
    transport.close(transport.data, 0);
    transport.close(transport.data, 1);
    g_ptr_array_set_size(server.log, 0);
    return 0;
}
