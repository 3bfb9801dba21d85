/* Which processors threads run on. */
#ifndef ANNAL_STORE_PROCESSOR_H
#define ANNAL_STORE_PROCESSOR_H

#include <sys/types.h>

/* Binds the calling thread to one of the processors that the process may use, counted from 0; free
 * as before if there are fewer. Threads and processes that it starts are bound to the same. */
void processor_bind(unsigned index);

/* Lets a thread, or a process with one, run wherever this process may. 0: the calling thread. */
void processor_unbind(pid_t thread);

#endif
