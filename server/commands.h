/* The program's subcommands: each takes its own arguments (argv[0] is its name) and returns the
 * process's exit status: 0 done, 1 failed, 2 wrong usage. */
#ifndef ANNAL_SERVER_COMMANDS_H
#define ANNAL_SERVER_COMMANDS_H

int command_serve(int argc, char **argv);
int command_sandbox(int argc, char **argv);
int command_user(int argc, char **argv);
int command_import(int argc, char **argv);
int command_export(int argc, char **argv);
int command_deliver(int argc, char **argv); /* its exit status is one of sysexits.h */
int command_log(int argc, char **argv);
int command_show(int argc, char **argv);
int command_diff(int argc, char **argv);
int command_blame(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_undelete(int argc, char **argv);
int command_quota(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_checkpoint(int argc, char **argv);
int command_gc(int argc, char **argv);
int command_hold(int argc, char **argv);
int command_purge(int argc, char **argv);
int command_who(int argc, char **argv);
int command_kick(int argc, char **argv);
int command_stats(int argc, char **argv);
int command_doctor(int argc, char **argv);

/* Not for people: git's hooks. */
int command_receive_check(int argc, char **argv);

/* Not for people: the confined process that parses messages; speaks on descriptor 3. */
int command_mime_worker(int argc, char **argv);

#endif
