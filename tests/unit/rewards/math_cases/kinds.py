"""What a list of cases looks like."""

Kinds = dict[str, list[tuple[str, list[str], list[str]]]]
"""By kind: a gold answer, boxes that are right, and boxes that are wrong."""
