#include <stdio.h>
#include <string.h>

#include "server/commands.h"

static const struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* NULL: not for people */
} subcommands[] = {
    {"serve", command_serve, "run the server"},
    {"sandbox", command_sandbox, "run a throw-away server for tests"},
    {"user", command_user, "add, list and remove users, set passwords"},
    {"import", command_import, "bring in a Maildir, mbox files or Gmail Takeout"},
    {"deliver", command_deliver, "store a message from standard input"},
    {"export", command_export, "write mailboxes as a Maildir or mbox files"},
    {"log", command_log, "show a mailbox's history"},
    {"show", command_show, "show one change, or a message as it was"},
    {"diff", command_diff, "show what changed between two moments"},
    {"blame", command_blame, "show who last touched each message"},
    {"undelete", command_undelete, "bring expunged messages back"},
    {"restore", command_restore, "bring mailboxes and accounts back, from history or backups"},
    {"backup", command_backup, "write an account to a file"},
    {"quota", command_quota, "show and set how much an account may hold"},
    {"verify", command_verify, "check repositories"},
    {"gc", command_gc, "put repositories in order"},
    {"hold", command_hold, "keep all of an account's past"},
    {"purge", command_purge, "forget messages for good"},
    {"checkpoint", command_checkpoint, "sign what there is now"},
    {"who", command_who, "show the sessions of a running server"},
    {"kick", command_kick, "end sessions of a running server"},
    {"stats", command_stats, "show the numbers of a running server"},
    {"doctor", command_doctor, "look for what is wrong, and say what to do"},
    {"receive-check", command_receive_check, NULL},
    {"mime-worker", command_mime_worker, NULL},
};

enum { SUBCOMMAND_COUNT = sizeof(subcommands) / sizeof(subcommands[0]) };

static void print_usage(FILE *stream)
{
    fputs("usage: annal COMMAND [options]\n\n", stream);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        if (subcommands[i].summary != NULL)
            fprintf(stream, "  %-9s %s\n", subcommands[i].name, subcommands[i].summary);
    fputs("\n\"annal COMMAND --help\" tells more; \"annal --version\" prints the version.\n",
          stream);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("annal " ANNAL_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "annal: no such command; see annal --help\n");
    return 2;
}
