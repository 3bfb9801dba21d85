/* The process's memory allocator: jemalloc, but under a sanitizer the sanitizer's own.
 *
 * With glibc's a quarter of the processor time of an APPEND or a STORE went into malloc() and
 * free(); jemalloc makes that a third of what it was. */
#ifndef ANNAL_STORE_MEMORY_H
#define ANNAL_STORE_MEMORY_H

/* Gives what is free back to the system: after much was freed that is not needed again soon. Takes
 * up to some milliseconds. */
void memory_give_back(void);

#endif
