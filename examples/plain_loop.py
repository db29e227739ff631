"""R²VPO in your own training loop: torch, a model, and the calls to the mathematics and the replay that a loop needs.

    python examples/plain_loop.py [ROUNDS]

A small language model is trained on sums. All calls to `r2vpo.core` and `r2vpo.replay` are in `main`, except for the
advantages and the rows of type `Rollout`. The two functions before it, sampling and log-probs, are parts that your own
trainer already has.
"""

import random
import sys

import torch
from torch.nn.utils.rnn import pad_sequence

from r2vpo import Method, MethodOptions, ReplayOptions, load_model, load_tokenizer
from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.dual import advantage_moments
from r2vpo.core.ratios import stale_weight
from r2vpo.replay import ReplayBuffer, Rollout, last_round_movement

MODEL, PROMPTS, SAMPLES, STEPS = "embedded/smollm2-135m", 4, 8, 2


@torch.no_grad()
def sample(model, tokenizer, version):
    """Sample a round's rows: for each prompt a group of answers, with their log-probs when they were sampled."""
    rows = []
    for group in range(PROMPTS):
        a, b = random.randrange(10, 30), random.randrange(2, 30)
        prompt = tokenizer(f"13 + 24 = 37\n{a} + {b} =", return_tensors="pt").input_ids
        out = model.generate(
            prompt.repeat(SAMPLES, 1), do_sample=True, top_k=0, top_p=1.0, max_new_tokens=4, pad_token_id=0,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        answers = out.sequences[:, prompt.size(1) :]
        drawn = torch.stack(out.logits, 1).log_softmax(-1).gather(2, answers[..., None])[..., 0]
        texts = tokenizer.batch_decode(answers)
        rewards = torch.tensor([float(text.split("\n")[0].strip() == str(a + b)) for text in texts])
        advantages = ADVANTAGES["grpo"](rewards, SAMPLES)
        for ids, log_probs, advantage, reward in zip(answers, drawn, advantages, rewards, strict=True):
            mask = (ids == tokenizer.eos_token_id).cumsum(0) == 0  # tokens after the end were not sampled
            rows.append(Rollout(prompt[0], ids, mask, log_probs, float(advantage), float(reward),
                                group=version * PROMPTS + group, policy_version=version))  # fmt: skip
    return rows


def log_probs_of(model, rows):
    """Return (B, T) log-probs of each row's response in nats; only its positions go through the output layer."""
    whole = [torch.cat((row.prompt_ids, row.response_ids)) for row in rows]
    hidden = model.model(pad_sequence(whole, batch_first=True)).last_hidden_state
    mine = [h[len(r.prompt_ids) - 1 : len(w) - 1] for h, r, w in zip(hidden, rows, whole, strict=True)]
    answers = pad_sequence([row.response_ids for row in rows], batch_first=True)
    scores = model.lm_head(pad_sequence(mine, batch_first=True)).log_softmax(-1)
    return scores.gather(2, answers[..., None])[..., 0]


def main(rounds):
    """Train, and print the share of right answers in each round."""
    random.seed(0), torch.manual_seed(0)
    model, tokenizer = load_model(MODEL), load_tokenizer(MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.0)
    method = Method(MethodOptions())
    controls = method.controls(steps_per_round=STEPS, reduce=lambda tensor: tensor)  # or a sum over processes
    controls.step_size.attach(optimizer)
    replay = ReplayBuffer(ReplayOptions(versions=5, ratio=0.5))
    for version in range(rounds):
        fresh = sample(model, tokenizer, version)
        stale = replay.sample(replay.wanted(len(fresh)), version)
        rows = fresh + stale
        before = {id(row): row.old_log_probs for row in stale if row.old_version == version - 1}
        with torch.no_grad():  # the proximal policy: the present model on every row
            for row, old in zip(rows, log_probs_of(model, rows), strict=True):
                row.remember_old_log_probs(old[: len(row.response_ids)], version)
        batch = {
            "old_log_probs": pad_sequence([row.old_log_probs for row in rows], True),
            "rollout_log_probs": pad_sequence([row.rollout_log_probs for row in rows], True),
            "response_mask": pad_sequence([row.response_mask for row in rows], True),
            "advantages": torch.tensor([row.advantage for row in rows]),
        }
        weight = stale_weight(batch["old_log_probs"], batch["rollout_log_probs"], batch["response_mask"])
        moments = advantage_moments(batch["advantages"], batch["response_mask"], batch["old_log_probs"], weight)
        whole_round = last_round_movement(stale, before, cap=method.config.stale_weight_cap, device="cpu")
        controls.begin_round(moments, whole_round, float(sum(row.advantage != 0 for row in fresh)))
        trained = set()  # groups that a step of this round has trained on
        for part in torch.randperm(len(rows)).chunk(STEPS):
            mine = {name: tensor[part] for name, tensor in batch.items()}
            mine |= {"log_probs": log_probs_of(model, [rows[i] for i in part]), "config": method.config}
            output = method.loss(dual=controls.dual.value, **mine)
            held_out = torch.tensor([i < len(fresh) and rows[i].group not in trained for i in part])
            trained |= {rows[i].group for i in part}
            controls.measure(output, held_out=held_out)
            optimizer.zero_grad()
            output.loss.backward()
            measured = controls.finish_step()  # before the optimizer step, so that it is braked if V_d is too large
            optimizer.step()
        replay.add(fresh)
        right = sum(row.reward for row in fresh) / len(fresh)
        print(f"round {version}: right {right:.2f}, stale rows {len(stale)}, "
              f"V_d {measured['decision_variance']:.2f} of {measured['decision_variance_target']:.2f}, "
              f"lambda {measured['dual']:.2f}, step scale {measured['step_scale']:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
