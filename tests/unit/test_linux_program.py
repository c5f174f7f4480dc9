"""Where the program of a command is searched."""

import errno

import pytest

from twinwatch.linux import program

PATHS = {"PATH": "/one:/two:/three"}


def started(name: str, environ: dict[str, str], **errors: int) -> list[str]:
    """The paths that were tried; `errors` by directory, no error: the program is there."""
    tried: list[str] = []

    def at(path: str) -> None:
        tried.append(path)
        if number := errors.get(path.split("/")[1]):
            raise OSError(number, "no")

    try:
        program.start(name, environ, at)
    except OSError as error:
        tried.append(errno.errorcode[error.errno])
    return tried


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({}, ["/one/x"]),
        ({"one": errno.ENOENT, "two": errno.ENOTDIR}, ["/one/x", "/two/x", "/three/x"]),
        ({"one": errno.EACCES}, ["/one/x", "/two/x"]),
        (
            {"one": errno.EACCES, "two": errno.ENOENT, "three": errno.ENOENT},
            ["/one/x", "/two/x", "/three/x", "EACCES"],
        ),
        (dict.fromkeys(("one", "two", "three"), errno.ENOENT), ["/one/x", "/two/x", "/three/x", "ENOENT"]),
        ({"one": errno.ENOEXEC}, ["/one/x", "ENOEXEC"]),
    ],
)
def test_the_first_that_is_there_on_the_path(errors, expected):
    assert started("x", PATHS, **errors) == expected


@pytest.mark.parametrize("name", ["/four/x", "./x"])
def test_a_name_with_a_directory_is_taken_as_it_is(name):
    assert started(name, PATHS) == [name]


def test_without_a_path_the_usual_places():
    assert started("x", {}, bin=errno.ENOENT) == ["/bin/x", "/usr/bin/x"]
