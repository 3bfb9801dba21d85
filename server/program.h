/* The program that runs. */
#ifndef ANNAL_SERVER_PROGRAM_H
#define ANNAL_SERVER_PROGRAM_H

#include "store/store.h"

/* Tells the store where it is, for git's hooks. */
void program_tell_store(struct store *store);

#endif
