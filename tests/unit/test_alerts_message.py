"""What an alert says: its subject, its text, its id, whom it names; and how long its child may take."""

import pytest

from twinwatch.core.grouping import Group, Window, add
from twinwatch.core.spec import Alert
from twinwatch.core.timing import SECOND_NS
from twinwatch.services.alerts import message, telling
from twinwatch.services.alerts.attempt import target_of
from twinwatch.services.alerts.telling import Target, Telling


def group_of(*news: tuple[str, dict[str, object]]) -> Group:
    window = Window()
    for kind, event in news:
        window = add(window, kind, event)
    assert window.group is not None
    return window.group


def changed(slot: str, new: str, **more: object) -> dict[str, object]:
    return {"event": "phase", "time": "T", "slot": slot, "old": "x", "new": new, **more}


@pytest.mark.parametrize(
    ("news", "subject"),
    [
        (
            [("fatal", changed("web", "fatal", reason="more than 3 restarts"))],
            "shop: web fatal: more than 3 restarts",
        ),
        ([("exited", changed("web", "stopping", exit={"signal": 9}))], "shop: web exited: signal 9"),
        ([("wedged", {"event": "wedged", "reason": "lock held"})], "shop: stuck: lock held"),
        ([("twin-lost", changed("a", "starting"))], "shop: a lost"),
        (
            [*[("restarted", changed("web", "starting"))] * 812, ("fatal", changed("web", "fatal"))],
            "shop: web restarted 812 times, fatal once",
        ),
        (
            [("exited", changed("w", "stopping")), ("fatal", changed("db", "fatal"))],
            "shop: db fatal once; w exited once",
        ),
        (
            [("exited", changed(f"w{n}", "stopping")) for n in range(9)],
            "shop: " + "; ".join(f"w{n} exited once" for n in range(5)) + "; 4 more",
        ),
        ([("fatal", changed("web", "fatal", reason="a\r\nBcc: x\0"))], "shop: web fatal: a  Bcc: x "),
    ],
)
def test_subjects(news, subject):
    assert message.subject("shop", group_of(*news)) == subject


def test_the_text_has_the_first_and_the_last():
    group = group_of(*[("exited", changed("web", "stopping", reason=f"number {n}")) for n in range(100)])
    assert message.text("shop", group).split("\n") == [
        "pair shop",
        "web exited 100 times",
        "first: T  web  x -> stopping  number 0",
        "last: T  web  x -> stopping  number 99",
    ]


def test_a_message_keeps_its_id_and_another_one_has_another():
    one = group_of(("exited", changed("web", "stopping")))
    assert message.document("shop", "h", one) == message.document("shop", "h", one)
    two = group_of(("exited", changed("web", "stopping", reason="other")))
    assert message.document("shop", "h", one)["id"] != message.document("shop", "h", two)["id"]


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"command": ("notify", "secret")}, "command notify"),
        ({"webhook": "https://me:secret@host:1/secret"}, "webhook host:1"),
        ({"apprise": "tgram://secret/1"}, "apprise tgram"),
    ],
)
def test_a_target_is_named_without_its_secrets(fields, target):
    assert target_of(Alert(on=("fatal",), **fields)) == target


def test_a_child_is_not_blamed_for_what_the_service_slept(monkeypatch: pytest.MonkeyPatch):
    """Both were frozen: the child gets the time that the service missed."""

    class Child:
        deadline_ns = 10 * SECOND_NS
        is_ended = False

    service = object.__new__(Telling)
    service._targets = {"x": Target(Alert(on=("fatal",)), attempt=Child())}  # type: ignore[arg-type]
    now_ns = 5 * SECOND_NS
    monkeypatch.setattr(telling, "monotonic_ns", lambda: now_ns)
    service._seen_ns = now_ns
    now_ns += SECOND_NS
    assert service._time(now_ns) == now_ns
    assert Child.deadline_ns == service._targets["x"].attempt.deadline_ns == 10 * SECOND_NS, "on time"
    now_ns += 100 * SECOND_NS
    service._time(now_ns - 100 * SECOND_NS)
    assert service._targets["x"].attempt.deadline_ns == 110 * SECOND_NS, "frozen in its wait"
    now_ns += 50 * SECOND_NS
    service._time()
    assert service._targets["x"].attempt.deadline_ns == 160 * SECOND_NS, "frozen at work"
