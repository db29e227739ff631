"""Small writing tasks with checkable constraints, generated without a download.

The constraints are those of IFEval that a model of 135 million parameters sometimes satisfies within 48 tokens, so that
there is something to learn from; `docs/data.md` lists the rates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from r2vpo.data.options import InstructionsOptions
from r2vpo.data.procedural import share_out
from r2vpo.data.rows import PromptData, PromptRow
from r2vpo.data.schemas.ifeval import constraint_count
from r2vpo.errors import UserError

TASKS = (
    "Write a short note about {}.",
    "Describe {}.",
    "Give a tip about {}.",
    "Say what you like about {}.",
    "Write a message to a friend about {}.",
    "Tell a very short story about {}.",
)
TOPICS = tuple(
    (
        "a cat, the sea, winter, bread, a garden, a train, music, an old friend, the moon, a river, tea, a bicycle, "
        "rain, a library, the forest, a birthday, cheese, a bridge, football, a mountain, sleep, a painter, the stars, "
        "soup, a horse, the market, a letter, snow, a farm, dancing, a ship, the summer, apples, a teacher, a castle, "
        "photographs, the wind, a clock, honey, a lighthouse, chess, a bakery, the desert, a dog, school, a museum, "
        "coffee, an island"
    ).split(", ")
)
"""The last `HELD_OUT_TOPICS` topics are never trained on, whatever the seed."""
HELD_OUT_TOPICS = 12
# A family of constraints counts as exhausted after this many consecutive prompts that have all been seen before.
PATIENCE = 1000


class Family(NamedTuple):
    """Constraints that differ in one value.

    Attributes:
        name: name of the constraint.
        text: the sentence that asks for it, with {} in place of the value.
        arguments: function from the value to the constraint's arguments.
        values: the values to draw from; without any, all constraints of the family are the same.
    """

    name: str
    text: str
    arguments: Callable[[Any], dict[str, Any]]
    values: Sequence[Any] = ()

    def draw(self, rng: random.Random) -> tuple[str, dict[str, Any], str]:
        """Return the name, the arguments and the sentence of one constraint."""
        value = rng.choice(self.values) if self.values else None
        return self.name, self.arguments(value), self.text.format(value)


FAMILIES = (
    Family(
        "keywords:frequency",
        'Use the word "{}" at least twice.',
        lambda word: {"keyword": word, "frequency": 2, "relation": "at least"},
        ("very", "always", "really", "never", "often", "good", "new", "day"),
    ),
    Family(
        "keywords:forbidden_words",
        'Do not use the word "{}".',
        lambda word: {"forbidden_words": [word]},
        ("and", "of", "is", "it", "to"),
    ),
    Family(
        "keywords:letter_frequency",
        "Use the letter {} at least once.",
        lambda letter: {"letter": letter, "let_frequency": 1, "let_relation": "at least"},
        "zxjq",
    ),
    Family(
        "length_constraints:number_words",
        "Use fewer than {} words.",
        lambda number: {"num_words": number, "relation": "less than"},
        (12, 15, 20),
    ),
    Family(
        "length_constraints:number_sentences",
        "Use at least {} sentences.",
        lambda number: {"num_sentences": number, "relation": "at least"},
        (3, 4),
    ),
    Family(
        "detectable_format:number_highlighted_sections",
        "Highlight at least one part with markdown, as in *highlighted part*.",
        lambda _: {"num_highlights": 1},
    ),
    Family("detectable_format:title", "Add a title in double angular brackets, as in <<joy>>.", lambda _: {}),
    Family(
        "detectable_content:number_placeholders",
        "Put in at least one placeholder in square brackets, as in [address].",
        lambda _: {"num_placeholders": 1},
    ),
    Family(
        "startend:end_checker",
        "End with exactly these words: {}",
        lambda phrase: {"end_phrase": phrase},
        ("That is all.", "The end.", "See you soon.", "What do you think?"),
    ),
    Family(
        "change_case:capital_word_frequency",
        "Write at least two words in capital letters.",
        lambda _: {"capital_frequency": 2, "capital_relation": "at least"},
    ),
    Family("punctuation:no_comma", "Do not use any commas.", lambda _: {}),
)
_EXCLUDING = {"length_constraints:number_words", "length_constraints:number_sentences"}
"""Families of which a prompt has at most one."""


def build_instructions(options: InstructionsOptions, seed: int) -> PromptData:
    """Make the prompts of a run.

    A prompt is a chat of one message: a task with a topic, and a sentence for each constraint. Held-out topics are not
    trained on. Held-out prompts do not depend on the number of training prompts, since they are drawn first.

    Returns:
        Distinct prompts, equally many for each number of constraints; each split is shuffled. The metadata are those of
        the schema `ifeval`; there is no answer.

    Raises:
        UserError: there are too few prompts.
    """
    shuffler = random.Random(f"instructions/{seed}")
    held_out = _draw(
        shuffler, TOPICS[-HELD_OUT_TOPICS:], options.held_out_size, options.constraints, "data.held_out_size"
    )
    train = _draw(shuffler, TOPICS[:-HELD_OUT_TOPICS], options.train_size, options.constraints, "data.train_size")
    return PromptData(train=train, held_out=held_out)


def _draw(rng: random.Random, topics: tuple[str, ...], total: int, numbers: list[int], key: str) -> list[PromptRow]:
    rows: dict[str, PromptRow] = {}
    for number, count in zip(numbers, share_out(total, [1.0] * len(numbers)), strict=True):
        wanted, misses = len(rows) + count, 0
        while len(rows) < wanted:
            row = _row(rng, rng.choice(topics), number)
            misses = 0 if row.key() not in rows else misses + 1
            rows[row.key()] = row
            if misses == PATIENCE:
                raise UserError(
                    f"{key} = {total}: with {constraint_count(number)} there are only {count - (wanted - len(rows))} "
                    f"prompts, but {count} are wanted: lower it, or add larger numbers to data.constraints"
                )
    shuffled = list(rows.values())
    rng.shuffle(shuffled)
    return shuffled


def _row(rng: random.Random, topic: str, number: int) -> PromptRow:
    families = rng.sample(FAMILIES, number)
    while sum(family.name in _EXCLUDING for family in families) > 1:
        families = rng.sample(FAMILIES, number)
    names, arguments, sentences = zip(*(family.draw(rng) for family in families), strict=True)
    return PromptRow(
        prompt=[{"role": "user", "content": " ".join([rng.choice(TASKS).format(topic), *sentences])}],
        answer="",
        difficulty=constraint_count(number),
        source="instructions",
        metadata={"instruction_id_list": list(names), "kwargs": list(arguments)},
    )
