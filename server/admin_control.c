#include "server/admin_control.h"

#include <getopt.h>
#include <stdio.h>

#include "server/admin.h"
#include "server/control.h"

int admin_control_parse(struct admin_control_options *options, int argc, char **argv,
                        const char *usage)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    int letter;

    *options = (struct admin_control_options){0};
    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            options->config = optarg;
        else if (letter == 'd')
            options->data = optarg;
        else if (letter == 'j')
            options->json = true;
        else {
            fputs(usage, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    return -1;
}

GPtrArray *admin_control_ask(const struct admin_control_options *options, const char *const *words)
{
    struct config config;
    GPtrArray *lines = NULL;
    char *problem = NULL;

    if (admin_read_config(&config, options->config, options->data)) {
        char *request = control_request(words);
        enum control_result result = control_ask(config.control, request, &lines, &problem);

        if (result == CONTROL_ABSENT)
            admin_complain("%s; is annal serve running with this data directory?", problem);
        else if (result != CONTROL_DONE)
            admin_complain("%s", problem);
        g_free(problem);
        g_free(request);
    }
    config_release(&config);
    return lines;
}
