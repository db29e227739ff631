"""Suggestions for unknown names."""

from r2vpo.core.nearest import did_you_mean, nearest


def test_the_nearest_of_several_is_named() -> None:
    assert nearest("exat", ["numeric", "exact", "exam"]) == "exact"
    assert did_you_mean("exat", ["numeric", "exact"], ": use one") == "; did you mean exact?"


def test_what_is_like_nothing_gets_no_suggestion() -> None:
    assert nearest("banana", ["exact", "numeric"]) is None and nearest("a", []) is None
    assert did_you_mean("banana", ["exact"]) == "" and did_you_mean("banana", ["exact"], ": use exact") == ": use exact"


def test_a_name_may_be_shown_as_something_else() -> None:
    assert did_you_mean("smal", ["small"], show="recipes/{}.yaml".format) == "; did you mean recipes/small.yaml?"
