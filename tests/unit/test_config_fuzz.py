"""Whatever is written is loaded or refused: nothing but a ConfigError is ever raised."""

import pytest
from config_place import Place
from hypothesis import given, settings
from hypothesis import strategies as st

from twinwatch.config.load import ConfigError


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("config"))


def outcome(place, text: str) -> list[object]:
    """What came of it; anything but a specification or a ConfigError fails the test."""
    try:
        return [place.load(text.encode("utf-8", "replace"))]
    except ConfigError as error:
        return list(error.errors)


@settings(max_examples=300)
@given(text=st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"\\%@# \n\t0189.<,?xU~"))
def test_any_text_is_loaded_or_refused(place, text):
    assert outcome(place, text)


SCALARS = [
    *("sh", "yes", "8080", "5s", "~", "''", "022", "{instance}", "always", "1.5", "w", "*a", "!x"),
    *(
        "notify",
        "exit",
        "'http://h:1/'",
        "'h:1'",
        "'['",
        "'[::1'",
        "90%",
        "200-299",
        "one_for_all",
        "fatal",
        "64MiB",
    ),
]
KEYS = [
    "pair",
    "watch",
    "workers",
    "w",
    "command",
    "restart",
    "backoff",
    "log",
    "file",
    "stop",
    "limit",
    "rlimits",
    "nofile",
    "soft",
    "depends_on",
    "user",
    "group",
    "on",
    "<<",
    "?",
    "environment",
    "defaults",
    "instances",
    "ready",
    "health",
    "heartbeat",
    "http",
    "url",
    "tcp",
    "exec",
    "resources",
    "action",
    "cgroup",
    "cpu",
    "memory",
    "rotate",
    "before_start",
    "watch_files",
    "max_age",
    "pid_file",
    "workers",
    "strategy",
    "webhook",
    "headers",
    "notify",
    "timeout",
    "status",
    "expect",
    "address",
]


def flow_mapping(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


VALUES = st.recursive(
    st.sampled_from([*SCALARS, "&a b"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5).map(flow_mapping)
    ),
    max_leaves=30,
)


@settings(max_examples=300)
@given(watch=VALUES, defaults=VALUES, one=VALUES, other=VALUES)
def test_any_shape_is_loaded_or_refused(place, watch, defaults, one, other):
    assert outcome(
        place, f"pair: p\nwatch: {watch}\ndefaults: {defaults}\nworkers: {{w: {one}, v: {other}}}\n"
    )


@settings(max_examples=300)
@given(key=st.sampled_from([*KEYS, "groups", "alerts"]), value=VALUES, group=VALUES, alert=VALUES)
def test_any_value_of_a_key_is_loaded_or_refused(place, key, value, group, alert):
    workers = f"{{w: {{command: sh, {key}: {value}}}, v: {{command: sh, depends_on: [w]}}}}"
    assert outcome(place, f"pair: p\nworkers: {workers}\ngroups: {{g: {group}}}\nalerts: [{alert}]\n")
