/* What every fuzz target defines; called by libFuzzer or by fuzz_replay.c. */
#ifndef ANNAL_TESTS_FUZZ_H
#define ANNAL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Runs the code under test on these octets. Always returns 0; a defect aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
