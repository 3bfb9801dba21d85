/* What the subcommands that speak to a running server share. */
#ifndef ANNAL_SERVER_ADMIN_CONTROL_H
#define ANNAL_SERVER_ADMIN_CONTROL_H

#include <glib.h>
#include <stdbool.h>

struct admin_control_options {
    const char *config;
    const char *data;
    bool json;
};

/* Takes --config, --data, --json and --help from the arguments; optind is then at the first that is
 * left. Returns -1 to go on, or the exit status after usage has been printed. */
int admin_control_parse(struct admin_control_options *options, int argc, char **argv,
                        const char *usage);

/* Asks the server of the configuration with the words of a request: its answer's lines, a new
 * array; NULL when the problem has been told. */
GPtrArray *admin_control_ask(const struct admin_control_options *options, const char *const *words);

#endif
