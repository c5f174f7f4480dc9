"""What one instance of a worker gets."""

from twinwatch.core.expand import argv, environ, expand, fifo_name, log_file
from twinwatch.core.spec import Account, WorkerSpec


def test_only_the_literal_is_replaced():
    assert expand("{instance}-{{instance}}-{x}-%i{instance", 7) == "7-{7}-{x}-%i{instance"


def test_arguments_of_an_instance():
    assert argv(("serve", "--port=808{instance}"), 2) == ("serve", "--port=8082")


def test_environment_of_an_instance():
    account = Account(5, 5, (5,), "www", "/srv", "/bin/sh")
    worker = WorkerSpec("w", ("x",), environment=(("HOME", "/own"), ("ID", "w{instance}")), account=account)
    inherited = (
        ("HOME", "/root"),
        ("PATH", "/bin"),
        ("NOTIFY_SOCKET", "/x"),
        ("WATCHDOG_USEC", "1"),
        ("LISTEN_FDS", "1"),
        ("TWINWATCH_HEARTBEAT", "/y"),
    )
    expected = {
        "HOME": "/own",
        "ID": "w1",
        "LOGNAME": "www",
        "PATH": "/bin",
        "SHELL": "/bin/sh",
        "USER": "www",
    }
    assert environ(worker, inherited, 1) == expected


def test_log_file_of_an_instance():
    worker = WorkerSpec("web", ("x",), instances=2)
    assert [log_file(worker, instance) for instance in (0, 1)] == ["web.log", "web.1.log"]
    assert log_file(WorkerSpec("web", ("x",), log="/l/{instance}.log"), 3) == "/l/3.log"


def test_a_stamp_logs_where_its_worker_would():
    stamp = WorkerSpec("_log.web", ("x",), instances=2, service="stamp")
    assert [log_file(stamp, instance) for instance in (0, 1)] == ["web.log", "web.1.log"]
    sink = WorkerSpec("_log.web", ("x",), instances=2, service="sink")
    assert [log_file(sink, instance) for instance in (0, 1)] == ["_log.web.log", "_log.web.1.log"]


def test_the_fifo_of_an_instance_does_not_depend_on_how_many_there_are():
    assert fifo_name(WorkerSpec("web", ("x",)), 0) == ""
    for instances in (1, 2):
        assert fifo_name(WorkerSpec("web", ("x",), instances, timestamps=True), 0) == "web.0.fifo"
    assert fifo_name(WorkerSpec("web", ("x",), 2, log_command=("y",)), 1) == "web.1.fifo"
