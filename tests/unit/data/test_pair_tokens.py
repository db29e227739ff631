"""The token that ends a given answer."""

from r2vpo.data.pair_tokens import end_of_answers
from tests.tiny import tiny_tokenizer


def test_the_first_stop_text_ends_an_answer_and_otherwise_the_end_token():
    tokenizer = tiny_tokenizer()
    assert end_of_answers(tokenizer, []) == tokenizer.eos_token_id
    assert [end_of_answers(tokenizer, ["=", "1"])] == tokenizer.encode("=") != [tokenizer.eos_token_id]
