/* Root's tools beside a server that runs as somebody else. */
#ifndef ANNAL_SERVER_PRIVILEGE_H
#define ANNAL_SERVER_PRIVILEGE_H

#include <stdbool.h>

/* If root runs this process and the directory is another user's, the process becomes that user, so
 * that what it makes is the server's to use, too. Of root's rights it keeps those to read and write
 * files anywhere and to open ports below 1024; programs that it starts have none of them. Does
 * nothing if the directory is missing. False with *problem (a new string) if it can't be done. Only
 * before a thread starts. */
bool privilege_become_owner(const char *directory, char **problem);

#endif
