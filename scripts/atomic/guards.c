/* K processes that guard each other as well as ordinary processes can, and one attack on all of them.
 *
 *   guards ATTACK KIND K TRIALS SEED [CGROUP]
 *
 * Prints a line a trial: its outcome, and how many nanoseconds the attack took.
 *   0 nobody survived   1 somebody did   2 it could not be told   3 the forks of a trial were used up
 *
 * Each trial has a PID namespace of its own. Its PID 1, the warden, makes the attack and looks what is left; when it
 * leaves, the kernel ends all that is in there, so nothing gets out. When the attack is over it calls the roll: it
 * sends SIGUSR1 to all, again and again, and who answers was not killed, because a process that has SIGKILL pending
 * runs no handler any more. Nobody survived when the warden, to which all orphans go, has no child left.
 *
 * KIND guard: each waits for the pidfds of all others, with a reserve forked ahead of need behind a pipe. At a death
 * the first that changes the dead one's slot (one compare-and-swap) opens its gate; a reserve whose guard dies takes
 * that slot itself. apart: the same, each process in a session of its own. churn: K lineages, in which everybody
 * forks a successor and exits, for ever.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GUARDS_MAX = 64, FORKS_MAX = 200000, PATIENCE_S = 20, PASSES = 10, DELAY_MAX_US = 2000 };
enum { NONE = 0, SURVIVED = 1, UNCLEAR = 2, USED_UP = 3, NO_NAMESPACE = 77 };
#define NAME "tw-guarding"

static struct shared {
    atomic_long born, ready, answers, took_ns;
    atomic_int begun, killed, used_up;
    _Atomic uint64_t slot[GUARDS_MAX]; /* generation in the upper half, PID in the lower */
} *shared;

static int guards, apart, churning, maker; /* maker: a pidfd of who makes the trials */
static const char *attack, *cgroup;

static long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int pidfd_of(pid_t pid) { return syscall(SYS_pidfd_open, pid, 0); }
static uint64_t word_of(uint64_t old, pid_t pid) { return ((old >> 32) + 1) << 32 | (uint32_t)pid; }

/* ---------------------------------------------------------------- those who guard */

static void answer(int number)
{
    (void)number;
    if (shared->killed)
        atomic_fetch_add(&shared->answers, 1);
}

static pid_t bear(void)
{
    if (atomic_fetch_add(&shared->born, 1) >= FORKS_MAX) {
        shared->used_up = 1;
        for (;;)
            pause();
    }
    pid_t pid = fork();
    if (pid == 0 && apart)
        setsid();
    return pid;
}

static void guard(int me);

/* Behind a gate: the order names the slot to guard in. A dead guard's reserve takes its slot. */
static _Noreturn void reserve(int of, int gate, int parent)
{
    dup2(gate, 3);
    dup2(parent, 4);
    syscall(SYS_close_range, 5, ~0U, 0);
    uint64_t word = shared->slot[of];
    atomic_fetch_add(&shared->ready, 1);
    struct pollfd waited[2] = {{3, POLLIN, 0}, {4, POLLIN, 0}};
    while (poll(waited, 2, -1) < 0)
        ;
    int index;
    if (read(3, &index, sizeof index) == sizeof index)
        guard(index);
    while (poll(&waited[1], 1, -1) < 0)
        ;
    if (atomic_compare_exchange_strong(&shared->slot[of], &word, word_of(word, getpid())))
        guard(of);
    _exit(0);
}

static struct post { int me, epoll, own, gate; pid_t reserve; int pidfd[GUARDS_MAX]; uint64_t known[GUARDS_MAX]; } post;

static void fork_reserve(void)
{
    int pipes[2];
    if (pipe(pipes))
        _exit(1);
    int low = fcntl(pipes[0], F_DUPFD, 10), own = fcntl(post.own, F_DUPFD, 10);
    post.reserve = bear();
    if (post.reserve == 0)
        reserve(post.me, low, own);
    close(low), close(own), close(pipes[0]);
    post.gate = pipes[1];
}

static void replace(int dead, uint64_t word)
{
    if (!atomic_compare_exchange_strong(&shared->slot[dead], &word, word_of(word, post.reserve)))
        return; /* somebody was faster */
    if (write(post.gate, &dead, sizeof dead) < 0) {
        /* the reserve is dead as well: its slot will be seen to be */
    }
    close(post.gate);
    fork_reserve();
}

static void watch(int other)
{
    for (;;) {
        uint64_t word = shared->slot[other];
        int pidfd = pidfd_of((pid_t)(uint32_t)word);
        if (pidfd >= 0) {
            struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = other};
            post.pidfd[other] = pidfd, post.known[other] = word;
            epoll_ctl(post.epoll, EPOLL_CTL_ADD, pidfd, &wanted);
            return;
        }
        replace(other, word);
    }
}

static void guard(int me)
{
    syscall(SYS_close_range, 3, ~0U, 0);
    post.me = me, post.epoll = epoll_create1(0), post.own = pidfd_of(getpid());
    fork_reserve();
    for (int other = 0; other < guards; other++)
        if (other != me)
            watch(other);
    atomic_fetch_add(&shared->ready, 1);
    for (;;) {
        struct epoll_event events[GUARDS_MAX];
        int count = epoll_wait(post.epoll, events, guards, -1);
        for (int at = 0; at < count; at++) {
            int dead = events[at].data.u32;
            close(post.pidfd[dead]);
            replace(dead, post.known[dead]);
            watch(dead);
        }
    }
}

static _Noreturn void churn(void)
{
    for (;;) {
        pid_t pid = bear();
        if (pid > 0)
            _exit(0);
        if (pid < 0)
            usleep(100);
    }
}

/* Joins the group and the cgroup, forks the first K, and leaves: they are the warden's then. */
static _Noreturn void start_all(void)
{
    prctl(PR_SET_NAME, NAME);
    signal(SIGUSR1, answer);
    setpgid(0, 0);
    if (cgroup) {
        char path[4096];
        snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
        int fd = open(path, O_WRONLY);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(1);
        close(fd);
    }
    for (int index = 0; index < guards; index++) {
        pid_t pid = bear();
        if (pid == 0) {
            while (!shared->begun)
                sched_yield();
            if (churning)
                churn();
            guard(index);
        }
        shared->slot[index] = word_of(0, pid);
    }
    shared->begun = 1;
    _exit(0);
}

/* ---------------------------------------------------------------- attacks */

static void put(const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", cgroup, name);
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(UNCLEAR);
    close(fd);
}

static void wait_for(const char *name, const char *text)
{
    char path[4096], found[4096];
    snprintf(path, sizeof path, "%s/%s", cgroup, name);
    long end_ns = now_ns() + PATIENCE_S * 1000000000L;
    for (;;) {
        int fd = open(path, O_RDONLY);
        ssize_t size = read(fd, found, sizeof found - 1);
        close(fd);
        found[size > 0 ? size : 0] = 0;
        if (strstr(found, text))
            return;
        if (now_ns() > end_ns)
            _exit(UNCLEAR);
    }
}

/* One kill(2) after the other, of all that is there at the beginning, in the order of PIDs. */
static void loop(void)
{
    static pid_t seen[FORKS_MAX];
    long last = shared->born + GUARDS_MAX, count = 0;
    for (pid_t pid = 2; pid <= last && count < FORKS_MAX; pid++)
        if (!kill(pid, 0))
            seen[count++] = pid;
    for (long at = 0; at < count; at++)
        kill(seen[at], SIGKILL);
}

static void run_pkill(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("pkill", "pkill", "-KILL", "-x", NAME, (char *)0);
        _exit(127);
    }
    waitpid(pid, 0, 0);
}

/* All members of a frozen v1 cgroup, one after the other: none of them moves meanwhile. */
static void kill_frozen(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    FILE *members = fopen(path, "r");
    for (int pid; members && fscanf(members, "%d", &pid) == 1;)
        kill(pid, SIGKILL);
    fclose(members);
}

static void strike(pid_t group)
{
    if (!strcmp(attack, "everybody"))
        kill(-1, SIGKILL);
    else if (!strcmp(attack, "group")) /* of the first guard: the only one in it where all are apart */
        kill(apart ? -(pid_t)(uint32_t)shared->slot[0] : -group, SIGKILL);
    else if (!strcmp(attack, "loop"))
        loop();
    else if (!strcmp(attack, "loops"))
        for (int pass = 0; pass < PASSES; pass++)
            loop();
    else if (!strcmp(attack, "pkill"))
        run_pkill();
    else if (!strcmp(attack, "cgroup"))
        put("cgroup.kill", "1");
    else if (!strcmp(attack, "cgroup-twice"))
        put("cgroup.kill", "1"), put("cgroup.kill", "1");
    else if (!strcmp(attack, "cgroup-frozen"))
        put("cgroup.freeze", "1"), wait_for("cgroup.events", "frozen 1"), put("cgroup.kill", "1");
    else if (!strcmp(attack, "freezer-v1"))
        put("freezer.state", "FROZEN"), wait_for("freezer.state", "FROZEN"), kill_frozen(), put("freezer.state", "THAWED");
    else
        _exit(UNCLEAR);
}

/* ---------------------------------------------------------------- a trial */

static int are_ready(void)
{
    return churning ? shared->born >= 4L * guards : shared->ready >= 2L * guards;
}

static _Noreturn void warden(int delay_us)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd dead = {maker, POLLIN, 0};
    if (poll(&dead, 1, 0)) /* before it could be told so */
        _exit(UNCLEAR);
    signal(SIGCHLD, SIG_IGN); /* and in all that is forked: nobody has to collect */
    mount("none", "/", 0, MS_REC | MS_PRIVATE, 0);
    if (!strcmp(attack, "pkill") && mount("proc", "/proc", "proc", 0, 0))
        _exit(UNCLEAR);
    pid_t group = fork();
    if (group == 0)
        start_all();
    long end_ns = now_ns() + PATIENCE_S * 1000000000L;
    while (!are_ready())
        if (now_ns() > end_ns || usleep(100))
            _exit(UNCLEAR);
    usleep(delay_us);
    if (shared->used_up)
        _exit(USED_UP);
    if (!strcmp(attack, "init"))
        for (shared->killed = 1;;) /* it is the warden that is attacked, from outside */
            pause();
    long began_ns = now_ns();
    strike(group);
    shared->took_ns = now_ns() - began_ns;
    shared->killed = 1;
    while (waitpid(-1, 0, WNOHANG) >= 0 || errno != ECHILD) {
        if (shared->answers)
            _exit(SURVIVED);
        kill(-1, SIGUSR1);
        if (shared->used_up)
            _exit(USED_UP);
        if (now_ns() > end_ns)
            _exit(UNCLEAR);
        usleep(50);
    }
    _exit(NONE);
}

/* End the namespace by its init, and see whether anybody forks after the kernel has said that all are dead. */
static int end_from_outside(pid_t pid)
{
    while (!shared->killed)
        if (waitpid(pid, 0, WNOHANG) == pid)
            return UNCLEAR;
    shared->killed = 0;
    long began_ns = now_ns();
    kill(pid, SIGKILL);
    waitpid(pid, 0, 0);
    shared->took_ns = now_ns() - began_ns;
    long born = shared->born;
    usleep(2000);
    return shared->born == born ? NONE : SURVIVED;
}

static int trial(int delay_us)
{
    memset(shared, 0, sizeof *shared);
    int spaces = CLONE_NEWPID | CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0);
    pid_t pid = syscall(SYS_clone, spaces | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0) {
        perror("guards: no PID namespace can be made");
        exit(NO_NAMESPACE);
    }
    if (pid == 0)
        warden(delay_us);
    if (!strcmp(attack, "init"))
        return end_from_outside(pid);
    struct pollfd waited = {pidfd_of(pid), POLLIN, 0};
    if (poll(&waited, 1, 3 * PATIENCE_S * 1000) <= 0)
        kill(pid, SIGKILL);
    close(waited.fd);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : UNCLEAR;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    attack = argv[1], guards = atoi(argv[3]), cgroup = argc > 6 ? argv[6] : 0;
    churning = !strcmp(argv[2], "churn"), apart = !strcmp(argv[2], "apart");
    if (guards < 1 || guards > GUARDS_MAX)
        return 2;
    srand(atoi(argv[5]));
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    maker = pidfd_of(getpid());
    if (shared == MAP_FAILED || maker < 0)
        return 1;
    for (int number = atoi(argv[4]); number > 0; number--) {
        int outcome = trial(rand() % DELAY_MAX_US);
        printf("%d %ld\n", outcome, (long)shared->took_ns);
        fflush(stdout);
        if (cgroup && !strcmp(attack, "cgroup-frozen"))
            put("cgroup.freeze", "0");
    }
    return 0;
}
