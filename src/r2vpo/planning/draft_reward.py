"""The file with an editable reward function that `r2vpo new` writes: one function for each kind of answer."""

from __future__ import annotations

from r2vpo.config.yaml_files import comment

_HEAD = '''"""A reward for {path}; edit it as you like. Check it with: r2vpo rewards check {recipe}"""

{imports}from r2vpo import text_of  # the text of a completion, of a plain prompt and of a chat


{helpers}def score(completions, answer, **columns):
    """Return a number for each completion: 1 if it is right. Other columns of a row are JSON text in `metadata`."""
    return [{expression} for completion, right in zip(completions, answer)]
'''

_NUMBER = r'''def last_number(text):
    """Return the last number of a text, or None."""
    found = re.findall(r"-?\d+(?:\.\d+)?", text.replace(",", ""))
    return float(found[-1]) if found else None


'''

_LETTER = r'''def last_letter(text):
    """Return the last capital letter from A to J that is a word by itself, or None."""
    found = re.findall(r"\b([A-J])\b", text)
    return found[-1] if found else None


'''

_PLAIN = r'''def plain(text):
    """Return a text in lower case, without the spaces and signs at its ends."""
    return " ".join(text.lower().split()).strip(" .!}\"'")


'''

_WORDS = r'''def overlap(text, right):
    """Return the share of words that a text and the reference have in common (F1), from 0 to 1."""
    said, wanted = text.lower().split(), right.lower().split()
    common = sum(min(said.count(word), wanted.count(word)) for word in set(wanted))
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


'''

_FULL_STOP = '''def ends_a_sentence(text):
    """Return whether a text ends with a full stop: an example of a rule, to be replaced by what you want to reward."""
    return text.strip().endswith(".")


'''

_BODIES = {
    "number": (_NUMBER, "float(last_number(text_of(completion)) == last_number(right))"),
    "choice": (_LETTER, "float(last_letter(text_of(completion)) == last_letter(right.upper()))"),
    "short": (_PLAIN, "float(plain(text_of(completion)).endswith(plain(right)))"),
    "none": (_FULL_STOP, "float(ends_a_sentence(text_of(completion)))"),
    "text": (_WORDS, "overlap(text_of(completion), right)"),
}

_WRAPPED = '''"""A reward for {path}; edit it as you like. Check it with: r2vpo rewards check {recipe}"""

from r2vpo import load_reward, text_of  # text_of: the text of a completion, of a plain prompt and of a chat

built_in = load_reward("{reward}")


def score(completions, **columns):
    """Return a number for each completion: 1 if it is right. `columns` has prompts, answer and, as JSON, metadata."""
    scores = built_in(completions=completions, **columns)
    empty = [not text_of(completion).strip() for completion in completions]
    return [0.0 if nothing else one for nothing, one in zip(empty, scores)]
'''


def reward_text(kind: str, *, wrapped: str | None, path: str, recipe: str) -> str:
    """Return the text of the file.

    Args:
        kind: what the answers are, as `kind_of_answers` says.
        wrapped: a built-in reward that the function calls instead of comparing the answers itself.
        path: the data.
        recipe: the recipe's file.
    """
    shown = comment(path).replace("\\", "/").replace('"', "'")  # in a docstring
    if wrapped is not None:
        return _WRAPPED.format(path=shown, recipe=recipe, reward=wrapped)
    helpers, expression = _BODIES["text" if kind == "formula" else kind]
    imports = "import re\n\n" if "re." in helpers else ""
    return _HEAD.format(path=shown, recipe=recipe, imports=imports, helpers=helpers, expression=expression)
