"""A drill's crash strikes the kind it names, also where one step handles many messages."""

import pytest

from engine.faultpoints import CRASH_VARIABLE, START, ActorCrashes
from engine.specs import ActorStatus


def passing(asked):
    """Return what passes a point with a kind in the hands of actor `a`; the crashes are `asked`."""
    hand = [""]

    def tree():
        return [ActorStatus("a", "running", 1, 0, {}, 0, 0, in_hand=hand[0])]

    crashes = ActorCrashes.from_environment({CRASH_VARIABLE: asked}, "demo", tree)

    def pass_point(point, kind):
        hand[0] = "" if kind == START else kind
        crashes(point, "a")

    return pass_point


def step(pass_point, *kinds):
    for kind in kinds:
        pass_point("before_handler", kind)
        pass_point("in_handler", kind)
    for point in ("before_flush", "mid_flush", "before_ack"):
        pass_point(point, kinds[-1])


@pytest.mark.parametrize("point", ["before_flush", "mid_flush", "before_ack"])
def test_what_a_step_of_many_flushes_belongs_to_each_of_its_kinds(point):
    pass_point = passing(f"a:First:1:RuntimeError:{point}")
    step(pass_point, "Other", "Last")
    with pytest.raises(RuntimeError, match="a:First:1"):
        step(pass_point, "First", "Last")
    step(pass_point, "First", "Last")  # each crash happens once


def test_a_step_is_over_when_the_next_begins():
    pass_point = passing("a:First:2:RuntimeError:before_flush")
    step(pass_point, "First")
    step(pass_point, "Last")
    pass_point("before_flush", START)
    with pytest.raises(RuntimeError):
        step(pass_point, "First")
