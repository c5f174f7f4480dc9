/* The least that one guard of many workers can do: an epoll set of pidfds, posix_spawn for each that died.
 *
 *     spawn_many COUNT PROGRAM FILE
 *
 * Worker i is executed as `PROGRAM wi:FILE`.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 64 };
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

extern char **environ;
static int epoll;
static char **words;

static int spawn(uint64_t index)
{
    char argument[4096];
    char *argv[] = {words[2], argument, NULL};
    struct epoll_event event = {.events = EPOLLIN};
    pid_t child;
    int pidfd;

    snprintf(argument, sizeof argument, "w%lu:%s", (unsigned long)index, words[3]);
    if (posix_spawn(&child, argv[0], NULL, NULL, argv, environ) != 0)
        return -1;
    pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    event.data.u64 = index << 32 | (uint32_t)pidfd;
    return pidfd < 0 ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, pidfd, &event);
}

int main(int argc, char **argv)
{
    struct epoll_event events[BATCH];
    struct rlimit files;
    siginfo_t ended;
    long count;

    if (argc != 4)
        return 2;
    words = argv;
    count = atol(argv[1]);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (long index = 0; index < count; index++)
        if (spawn((uint64_t)index) != 0)
            return 1;
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < ready; i++) {
            int pidfd = (int)(uint32_t)events[i].data.u64;
            waitid((idtype_t)P_PIDFD, (id_t)pidfd, &ended, WEXITED);
            close(pidfd);
            if (spawn(events[i].data.u64 >> 32) != 0)
                return 1;
        }
    }
}
