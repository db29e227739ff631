"""Small writing tasks with checkable constraints, generated without a download.

The constraints are those of IFEval that a model of 135 million parameters sometimes satisfies within 48 tokens, so that
there is something to learn from; `docs/data.md` lists the rates.
"""

from __future__ import annotations

import random
from collections.abc import Callable
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


class Constraint(NamedTuple):
    """A constraint, as text and in checkable form."""

    name: str
    arguments: dict[str, Any]
    text: str


def _frequency(rng: random.Random) -> Constraint:
    word = rng.choice(["very", "always", "really", "never", "often", "good", "new", "day"])
    return Constraint(
        "keywords:frequency",
        {"keyword": word, "frequency": 2, "relation": "at least"},
        f'Use the word "{word}" at least twice.',
    )


def _forbidden(rng: random.Random) -> Constraint:
    word = rng.choice(["and", "of", "is", "it", "to"])
    return Constraint("keywords:forbidden_words", {"forbidden_words": [word]}, f'Do not use the word "{word}".')


def _letter(rng: random.Random) -> Constraint:
    letter = rng.choice("zxjq")
    return Constraint(
        "keywords:letter_frequency",
        {"letter": letter, "let_frequency": 1, "let_relation": "at least"},
        f"Use the letter {letter} at least once.",
    )


def _words(rng: random.Random) -> Constraint:
    number = rng.choice([12, 15, 20])
    return Constraint(
        "length_constraints:number_words",
        {"num_words": number, "relation": "less than"},
        f"Use fewer than {number} words.",
    )


def _sentences(rng: random.Random) -> Constraint:
    number = rng.choice([3, 4])
    return Constraint(
        "length_constraints:number_sentences",
        {"num_sentences": number, "relation": "at least"},
        f"Use at least {number} sentences.",
    )


def _highlights(rng: random.Random) -> Constraint:
    return Constraint(
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 1},
        "Highlight at least one part with markdown, as in *highlighted part*.",
    )


def _title(rng: random.Random) -> Constraint:
    return Constraint("detectable_format:title", {}, "Add a title in double angular brackets, as in <<joy>>.")


def _placeholders(rng: random.Random) -> Constraint:
    return Constraint(
        "detectable_content:number_placeholders",
        {"num_placeholders": 1},
        "Put in at least one placeholder in square brackets, as in [address].",
    )


def _ending(rng: random.Random) -> Constraint:
    phrase = rng.choice(["That is all.", "The end.", "See you soon.", "What do you think?"])
    return Constraint("startend:end_checker", {"end_phrase": phrase}, f"End with exactly these words: {phrase}")


def _capitals(rng: random.Random) -> Constraint:
    return Constraint(
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "Write at least two words in capital letters.",
    )


def _no_comma(rng: random.Random) -> Constraint:
    return Constraint("punctuation:no_comma", {}, "Do not use any commas.")


FAMILIES: tuple[Callable[[random.Random], Constraint], ...] = (
    _frequency,
    _forbidden,
    _letter,
    _words,
    _sentences,
    _highlights,
    _title,
    _placeholders,
    _ending,
    _capitals,
    _no_comma,
)
_EXCLUDING = ({_words, _sentences},)
"""Sets of families of which a prompt has at most one."""


def build_instructions(options: InstructionsOptions, seed: int) -> PromptData:
    """Make the prompts of a run.

    A prompt is a chat of one message: a task with a topic, and a sentence for each constraint. Held-out topics are not
    trained on. Held-out prompts do not depend on the number of training prompts, since they are drawn first.

    Args:
        options: numbers of constraints, and sizes.
        seed: seed of the draws.

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
    while any(len(one & set(families)) > 1 for one in _EXCLUDING):
        families = rng.sample(FAMILIES, number)
    constraints = [family(rng) for family in families]
    text = " ".join([rng.choice(TASKS).format(topic), *(constraint.text for constraint in constraints)])
    return PromptRow(
        prompt=[{"role": "user", "content": text}],
        answer="",
        difficulty=constraint_count(number),
        source="instructions",
        metadata={
            "instruction_id_list": [constraint.name for constraint in constraints],
            "kwargs": [constraint.arguments for constraint in constraints],
        },
    )
