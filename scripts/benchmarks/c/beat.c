/* A worker that writes its start time like `stamp`, then beats RATE times a second, as docs/heartbeat.md says.
 *
 *     beat RATE LABEL:FILE
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    uint64_t began = now_ns(), beat[2] = {0, 0};
    const char *path = getenv("TWINWATCH_HEARTBEAT");
    char *file = argc == 3 ? strchr(argv[2], ':') : NULL;
    int fd;

    if (!file || atol(argv[1]) < 1)
        return 2;
    *file++ = '\0';
    fd = open(file, O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (dprintf(fd, "%s %010d %020llu\n", argv[2], (int)getpid(), (unsigned long long)began) < 0)
        return 1;
    close(fd);
    fd = path ? open(path, O_RDWR) : -1;
    for (;;) {
        struct timespec pause = {0, 1000000000 / atol(argv[1]) % 1000000000};
        beat[0]++;
        beat[1] = now_ns();
        if (fd >= 0 && pwrite(fd, beat, sizeof beat, 0) < 0)
            return 1;
        nanosleep(&pause, NULL);
    }
}
