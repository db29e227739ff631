"""R²VPO in your own training loop: torch, a model, and the four calls to the learner that a loop needs.

    python examples/plain_loop.py [ROUNDS]

A small language model is trained on sums. The two functions before `main`, sampling and log-probs, are parts that your
own trainer already has. What the learner does in each call can be read in one file, src/r2vpo/learner/learner.py.
"""

import random
import sys

import torch
from torch.nn.utils.rnn import pad_sequence

from r2vpo import (
    Group,
    Learner,
    Method,
    MethodOptions,
    ReplayBuffer,
    ReplayOptions,
    Rollout,
    RoundShape,
    load_model,
    load_tokenizer,
)
from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.log_probs import TokenLogProbs

MODEL, PROMPTS, SAMPLES, STEPS = "embedded/smollm2-135m", 4, 8, 2


@torch.no_grad()
def sample(model, tokenizer, version):
    """Sample a round's groups: a prompt each, and answers to it with their log-probs when they were sampled."""
    groups = []
    for place in range(PROMPTS):
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
        rows = []
        for ids, log_probs, advantage, reward in zip(answers, drawn, advantages, rewards, strict=True):
            mask = (ids == tokenizer.eos_token_id).cumsum(0) == 0  # tokens after the end were not sampled
            rows.append(Rollout(ids, mask, log_probs, float(advantage), float(reward)))
        groups.append(Group(version * PROMPTS + place, version, prompt[0], rows))
    return groups


def log_probs_of(model, micro):
    """Return log-probs (B, T) of each row's response in nats; only its positions go through the output layer."""
    batch = micro.batch
    prompts = [batch.prompt_ids[group][batch.prompt_mask[group]] for group in batch.group_index]
    whole = [torch.cat((prompt, ids)) for prompt, ids in zip(prompts, batch.response_ids, strict=True)]
    hidden = model.model(pad_sequence(whole, batch_first=True)).last_hidden_state
    mine = [h[len(p) - 1 : len(w) - 1] for h, p, w in zip(hidden, prompts, whole, strict=True)]
    scores = model.lm_head(torch.stack(mine)).log_softmax(-1)
    entropy = -(scores.detach().exp() * scores.detach()).sum(-1)
    return TokenLogProbs(scores.gather(2, batch.response_ids[..., None])[..., 0], entropy)


def main(rounds):
    """Train, and print the share of right answers in each round."""
    random.seed(0), torch.manual_seed(0)
    model, tokenizer = load_model(MODEL).train(), load_tokenizer(MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.0)
    method = Method(MethodOptions())
    controls = method.controls(steps_per_round=STEPS, reduce=lambda tensor: tensor)  # or a sum over processes
    controls.step_size.attach(optimizer)
    learner = Learner(
        method.loss, method.config, controls, ReplayBuffer(ReplayOptions(versions=5, ratio=0.5)),
        RoundShape(micro_batches=STEPS, per_step=1, rows=SAMPLES), forward=log_probs_of, total=lambda tensor: tensor,
        skips=True, max_staleness=5, pad_token_id=0, device=torch.device("cpu"), seed=0,
    )  # fmt: skip
    for version in range(rounds):
        fresh = sample(model, tokenizer, version)
        stale = learner.begin_round(model, fresh, version)
        for micro in learner.micros:
            optimizer.zero_grad()
            learner.loss(learner.policy(model, micro), micro, first_pass=True).backward()
            measured = learner.finish_step()  # before the optimizer step, so that it is braked if V_d is too large
            optimizer.step()
        right = sum(row.reward for group in fresh for row in group.rollouts) / (PROMPTS * SAMPLES)
        print(f"round {version}: right {right:.2f}, stale rows {stale}, "
              f"V_d {measured['decision_variance']:.2f} of {measured['decision_variance_target']:.2f}, "
              f"lambda {measured['dual']:.2f}, step scale {measured['step_scale']:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
