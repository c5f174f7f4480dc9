/* A worker that beats once for each piece of work.
 *
 *     cc -O2 -Wall -Werror -o worker worker.c && ./worker [PIECES]      endless without
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file is little-endian: store htole64 and htole32 of each value"
#endif

struct heartbeat {
    _Atomic uint64_t sequence;
    _Atomic uint64_t time_ns;
    _Atomic uint64_t progress;
    _Atomic uint32_t state;
    uint32_t reserved[9];
};
_Static_assert(sizeof(struct heartbeat) == 64, "docs/heartbeat.md says 64 bytes");

static struct heartbeat nowhere; /* where a worker beats that nobody watches */
static struct heartbeat *heartbeat = &nowhere;

static void heartbeat_open(void)
{
    const char *path = getenv("TWINWATCH_HEARTBEAT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct stat status;

    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && status.st_size == (off_t)sizeof *heartbeat) {
        void *map = mmap(NULL, sizeof *heartbeat, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED)
            heartbeat = map;
    }
    close(fd);
}

static void heartbeat_beat(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    atomic_store_explicit(&heartbeat->time_ns, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&heartbeat->progress, 1, memory_order_relaxed);
    atomic_store_explicit(&heartbeat->state, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&heartbeat->sequence, 1, memory_order_release); /* last */
}

int main(int argc, char **argv)
{
    long pieces = argc > 1 ? atol(argv[1]) : LONG_MAX;
    struct timespec work = {0, 100000000};

    heartbeat_open();
    while (pieces-- > 0) {
        nanosleep(&work, NULL); /* the work */
        heartbeat_beat();
    }
    return 0;
}
