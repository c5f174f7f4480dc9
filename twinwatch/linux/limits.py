"""Room for one pidfd for each worker: the watchers raise their own limit, and workers get the old one."""

import resource

_former: tuple[int, int] | None = None


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one. Children inherit it."""
    global _former  # noqa: PLW0603 - a property of the process, kept for its workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _former = soft, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def restore_descriptor_limit() -> None:
    """In a child that becomes a worker: the limit that `up` was called with."""
    if _former is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, _former)
