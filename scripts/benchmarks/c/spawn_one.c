/* The least that a guard of one worker can do: posix_spawn, wait, again.
 *
 *     spawn_one PROGRAM ARGUMENT
 */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    siginfo_t ended;
    pid_t child;

    if (argc != 3)
        return 2;
    for (;;) {
        if (posix_spawn(&child, argv[1], NULL, NULL, argv + 1, environ) != 0)
            return 1;
        if (waitid(P_PID, (id_t)child, &ended, WEXITED) != 0)
            return 1;
    }
}
