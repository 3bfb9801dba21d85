"""What no server on this machine can exceed, whatever it does.

A change of one client can't be acknowledged sooner than after a round trip and, if it is durable,
a write that has reached the disk. Both are measured beside the servers, in the same rounds: the
round trip with annal-bench-echo, which answers the same commands of the same generator and does
nothing, the write as a synced overwrite of so many octets of a file that is there already.

Many clients share writes, so the disk bounds them less than the processors do: for each operation
the generator and the sockets need the time that they need with annal-bench-echo, and the generator
is one thread. What a server does itself is not in it: no server reaches this.
"""
import mmap
import os
import statistics
import time

BLOCK = 4096
MIB = 1024 * 1024


def median_write(descriptor, size, span, seconds):
    """Microseconds of a write of size octets, somewhere in the first span octets of a file."""
    times = []
    with mmap.mmap(-1, size) as memory:  # aligned, as O_DIRECT wants it
        memory.write(os.urandom(size))
        end = time.monotonic() + seconds
        while len(times) < 5 or time.monotonic() < end:
            place = len(times) * size % span
            start = time.perf_counter()
            os.pwritev(descriptor, [memory], place)
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def synced_write_us(directory, octets, seconds=0.1):
    """Microseconds until octets (rounded up to whole blocks) are on the disk, in a file that has
    them already; through the kernel's cache or past it, whichever is faster."""
    size = -(-max(octets, 1) // BLOCK) * BLOCK
    span = -(-MIB // size) * size
    path = os.path.join(directory, "synced-writes")
    with open(path, "wb") as file:
        file.write(os.urandom(span))
        os.fsync(file.fileno())
    found = []
    for flags in (0, os.O_DIRECT):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_DSYNC | flags)
        except OSError:
            continue  # not every file system can
        try:
            found.append(median_write(descriptor, size, span, seconds / 2))
        except OSError:
            pass
        finally:
            os.close(descriptor)
    return min(found) if found else None


class Ceiling:
    """Of one operation: what annal-bench-echo and the disk took, and the rate that follows. A bound
    is what was possible in the best round, not in the usual one.

    under_way: operations at a time, of all clients. octets: that each has to bring to the disk; 0
    for what is acknowledged before. best: what all ceilings of a run share, the shortest times that
    do not depend on the operation."""

    def __init__(self, under_way, octets, processors, best):
        self.under_way, self.octets, self.processors = under_way, octets, processors
        self.best = best
        self.round_trips, self.generator, self.server = [], [], []

    def add(self, result, write_us, alone_us=None):
        """A run of the generator against the echo, a synced write, and a round trip of one client
        alone (None: that of the run is one)."""
        count = max(result["operations"], 1)
        if alone_us is None:
            self.round_trips.append(result["p50_us"])
        else:
            self.remember("round trip", alone_us)
        if write_us:
            self.remember(self.octets, write_us)
        self.generator.append(result["own_cpu_seconds"] * 1e6 / count)
        self.server.append(result["cpu_seconds"] * 1e6 / count)

    def remember(self, what, took):
        self.best[what] = min(took, self.best.get(what, took))

    def known(self):
        return bool(self.generator)

    def round_trip_us(self):
        return min(self.round_trips) if self.round_trips else self.best["round trip"]

    def write_us(self):
        return self.best[self.octets] if self.octets else 0

    def floor_us(self):
        """What one operation takes at the least."""
        return self.round_trip_us() + self.write_us()

    def processor_us(self):
        """What one operation keeps the busiest processor busy."""
        generator, server = min(self.generator), min(self.server)
        return max(generator, (generator + server) / self.processors)

    def rate(self):
        """Operations a second; None if it was not measured."""
        if not self.known():
            return None
        rate = self.under_way * 1e6 / self.floor_us()
        return rate if self.under_way == 1 else min(rate, 1e6 / self.processor_us())

    def reason(self):
        if self.under_way == 1:
            parts = f"round trip {self.round_trip_us():.0f}"
            return parts + (f" + synced write {self.write_us():.0f} us" if self.octets else " us")
        if self.under_way * 1e6 / self.floor_us() < 1e6 / self.processor_us():
            return f"{self.under_way} at a time, {self.floor_us():.0f} us each"
        return (f"generator {min(self.generator):.1f} us, sockets {min(self.server):.1f} us of "
                f"{self.processors} processors")
