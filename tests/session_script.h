/* Conversations of several clients with one server, as readable files, run over any transport.
 *
 * A script is a text file of lines. A client is a capital letter. Empty lines and lines that
 * begin with '#' are skipped.
 *
 *     memory only              needs the clock or the seam of the in-memory transport; elsewhere
 *                              the script is skipped
 *     message NAME             the lines up to one that is just "." are a message, each with CRLF
 *     open A [tls|cleartext]   connects (tls if not said); the greeting is still to be read
 *     login A USER             open A tls, reads the greeting, LOGIN USER USER, reads its OK
 *     append A MAILBOX NAME [FLAGS [DATE]]   APPENDs the message by LITERAL+, reads up to its OK
 *     starttls A, compress A   changes the transport, after the server's OK was read
 *     close A                  the client hangs up
 *     clock SECONDS            the time goes on
 *
 *     A: TEXT                  sends TEXT and CRLF
 *     A~ TEXT                  sends TEXT alone
 *     A< TEXT                  the next line received is TEXT
 *     A> TEXT                  lines are skipped up to and including one that is TEXT
 *     A{                       begins lines ("A< ...") that may come in any order, up to
 *     A}
 *     A! silent                nothing has been received since
 *     A! closed                nothing has been received since, and the server has hung up
 *
 * In TEXT that is sent:
 *     $CRLF  $HEX(0a1b)  $REPEAT(1000,x)   octets
 *     $SIZE(NAME)  $MESSAGE(NAME)          of a message
 *     $LITERAL(NAME)                       {n}, waits for the continuation, then the message
 *     $LITERAL+(NAME)                      {n+} and the message
 * In TEXT that is expected:
 *     $ANY                    any octets of the line, also none
 *     $NUM                    digits
 *     $SET(X)                 digits, remembered as X
 *     $ID(X)                  letters, digits, "-" and "_", remembered as X
 *     $MORE(X)                digits that are a greater number than X
 *     $SIZE(NAME)  $MESSAGE(NAME)
 * In both: $GET(X). Any other '$' is itself. When a script ends, every client has read all.
 */
#ifndef ANNAL_TESTS_SESSION_SCRIPT_H
#define ANNAL_TESTS_SESSION_SCRIPT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRIPT_CLIENTS = 26 };

/* How a script reaches its server. Clients are numbers from 0. Each function returns false when
 * it can't be done; that fails the script. */
struct script_transport {
    void *data;
    bool (*open)(void *data, unsigned client, bool tls);
    bool (*send)(void *data, unsigned client, const void *octets, size_t length);
    /* Appends what has come to in. With wait, gives the server a bounded time for the first
     * octet. False when the server has hung up and nothing more will come. */
    bool (*receive)(void *data, unsigned client, GByteArray *in, bool wait);
    bool (*start_tls)(void *data, unsigned client);
    bool (*compress)(void *data, unsigned client);
    void (*close)(void *data, unsigned client);
    /* NULL: the transport has no clock of its own, and "memory only" scripts are skipped. */
    bool (*advance)(void *data, int64_t microseconds);
};

enum script_result { SCRIPT_PASSED, SCRIPT_FAILED, SCRIPT_SKIPPED };

/* Runs the script in the file. report gets what went wrong, with the line's number. */
enum script_result script_run(const char *path, const struct script_transport *transport,
                              GString *report);

/* The paths of the scripts (*.imap) in a directory, sorted: a new array of char *. */
GPtrArray *script_list(const char *directory);

#endif
