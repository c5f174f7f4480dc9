"""What the simulation found in the project, each played by itself."""

from contextlib import closing

from twinwatch.linux.loop import Loop


def test_deadlines_of_one_moment_are_all_given():
    """Their keys are numbers, texts and tuples, which have no order."""
    with closing(Loop()) as loop:
        for key in (3, "tick", ("vitals", 3)):
            loop.set_deadline(key, 5)
        assert loop.take_due(4) == []
        assert loop.take_due(5) == [3, "tick", ("vitals", 3)]
