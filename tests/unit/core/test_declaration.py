"""How an option is declared: what is refused, in which words, and how a section is written."""

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Literal

import pytest

from r2vpo.core.declaration import Options, option, same_as
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions, ObjectiveOptions
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.replay_options import ReplayOptions


@dataclass(frozen=True)
class Inner(Options):
    """For tests."""

    size: int = option(2, "a size", above=0)


@dataclass(frozen=True)
class Outer(Options):
    """For tests."""

    kind: Literal["a", "b"] = option("a", "a kind")
    share: float | None = option(None, "a share", at_least=0, below=1)
    inner: Inner = option(Inner(), "a section")
    own: dict[str, int] = option({}, "a mapping")

    def check(self) -> None:
        """See `Options.check`."""
        if self.kind == "b" and self.share is None:
            raise ValueError("kind = b needs share: set it")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "c"}, "outer.kind is 'c'; choose one of a, b"),
        ({"kind": ["a"]}, r"outer.kind is \['a'\]; choose one of a, b"),
        ({"kind": "b"}, "outer.kind = b needs share: set it"),
        ({"share": 1}, "outer.share is 1; it must be below 1"),
        ({"share": -0.5}, "outer.share is -0.5; it must be at least 0"),
        ({"share": "0.5"}, "outer.share is '0.5'; it must be a number"),
        ({"share": True}, "outer.share is True; it must be a number"),
        ({"share": float("nan")}, "outer.share is nan; it must be a finite number"),
        ({"inner": {"size": 0}}, "outer.inner.size is 0; it must be above 0"),
        ({"inner": 1.5}, "outer.inner.size is 1.5; it must be a whole number"),
        ({"inner": {"sise": 1}}, r"unknown key outer.inner.sise; did you mean outer.inner.size\?"),
        ({"zebra": 1}, "unknown key outer.zebra: choose one of kind, share, inner, own"),
        ({"own": None}, "outer.own is None; it must be a mapping"),
        ("nothing", "outer.kind is 'nothing'; choose one of a, b$"),
        ({"shar": 1}, r"unknown key outer.shar; did you mean outer.share\?"),
    ],
)
def test_what_is_refused(given, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        Outer.of(given, "outer")


@pytest.mark.parametrize(("sign", "digits"), [(1, 400), (-1, 400), (1, 5000)])
@pytest.mark.parametrize("section", [ReplayOptions, lambda value: DualOptions(value=value), lambda value: Outer(value)])
def test_no_number_is_too_long_to_be_refused(section, sign, digits):
    with pytest.raises(ValueError, match=r"is a number of 300 digits or more; (it must be at|choose one of)"):
        section(sign * 10**digits)


def test_a_section_is_given_whole_by_its_first_option_or_as_a_mapping():
    assert Outer.of(None, "outer") == Outer.of({}, "outer") == Outer.of(Outer(), "outer") == Outer.of("a", "outer")
    assert Outer(inner=3) == Outer(inner={"size": 3}) == Outer(inner=Inner(3))
    assert MethodOptions(objective="spo", dual="ascent").objective == ObjectiveOptions("spo")
    with pytest.raises(FrozenInstanceError):
        Outer().kind = "b"


def test_a_default_that_is_a_mapping_is_not_shared():
    assert Outer().own == {} and Outer().own is not Outer().own


def test_an_option_of_another_section_keeps_its_bounds():
    @dataclass(frozen=True)
    class Other(Options):
        size: int = same_as(Inner, "size", 5)

    assert Other().size == 5 and fields(Other)[0].metadata == fields(Inner)[0].metadata
    with pytest.raises(ValueError, match="size is 0; it must be above 0"):
        Other(0)


def test_a_lone_value_of_another_option_is_answered_with_how_it_is_written():
    with pytest.raises(ValueError, match=r"enabled is 'kl'; it must be true or false: write .\"kind\": \"kl\".$"):
        StepControlOptions.of("kl", "step_control")


def test_a_method_has_no_name_of_its_own_in_errors():
    with pytest.raises(ValueError, match=r"^objective.name is 'r2po'; choose one of"):
        Method({"objective": {"name": "r2po"}})
    with pytest.raises(ValueError, match=r"^unknown key objectve; did you mean objective"):
        Method({"objectve": "clip"})
    with pytest.raises(ValueError, match=r"^objective.name is 'r2po'; choose one of"):
        Method("r2po")
