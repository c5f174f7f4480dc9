"""What each init is given, so that it respawns the anchor. Text is made here; nothing is written or run."""

NAMES = (
    "systemd",
    "systemd-user",
    "sysvinit",
    "busybox",
    "runit",
    "s6",
    "daemontools",
    "openrc",
    "dinit",
    "cron",
    "release-agent",
)
