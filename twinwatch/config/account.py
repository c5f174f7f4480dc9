"""Whom a worker runs as: `user` and `group`, looked up once, when the configuration is checked.

Only root can become somebody else. Others may name themselves, which changes nothing.
"""

import grp
import os
import pwd

from twinwatch.config.fields import Fields, RefusedError, full_text, integer
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Kind, Node, Scalar
from twinwatch.core.spec import Account

_id = integer(0, 2**32 - 2)  # the last one means "unchanged" to the kernel


def read_account(fields: Fields) -> Account | None:
    """The account that `user` and `group` name; None: the one that twinwatch itself runs as."""
    user = fields.get("user", _user, None)
    gid = fields.get("group", _group, None)
    if (user is None and gid is None) or os.geteuid() != 0:
        return None
    return _account(user or pwd.getpwuid(0), gid)


def _account(user: pwd.struct_passwd, gid: int | None) -> Account:
    primary = user.pw_gid if gid is None else gid
    groups = tuple(sorted(set(os.getgrouplist(user.pw_name, primary))))
    return Account(user.pw_uid, primary, groups, user.pw_name, user.pw_dir, user.pw_shell)


def _user(node: Node) -> pwd.struct_passwd:
    try:
        user = pwd.getpwuid(_id(node)) if _is_number(node) else pwd.getpwnam(full_text(node))
    except KeyError:
        raise RefusedError(node, f"there is no user {_shown(node)} on this machine") from None
    if os.geteuid() not in {0, user.pw_uid}:
        message = f"only root can run a worker as {quoted(user.pw_name)}: this is uid {os.geteuid()}"
        raise RefusedError(node, message)
    return user


def _group(node: Node) -> int:
    try:
        group = grp.getgrgid(_id(node)) if _is_number(node) else grp.getgrnam(full_text(node))
    except KeyError:
        raise RefusedError(node, f"there is no group {_shown(node)} on this machine") from None
    if os.geteuid() != 0 and group.gr_gid != os.getegid():
        message = f"only root can run a worker in group {quoted(group.gr_name)}: this is gid {os.getegid()}"
        raise RefusedError(node, message)
    return group.gr_gid


def _is_number(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind is Kind.INTEGER


def _shown(node: Node) -> str:
    return quoted(node.text) if isinstance(node, Scalar) else "?"
