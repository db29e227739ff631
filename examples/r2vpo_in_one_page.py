"""R²VPO on one page, in plain torch with a small Llama from transformers; nothing is imported from the package.

    python examples/r2vpo_in_one_page.py [ROUNDS]

A model has learned to add two-digit numbers from a demonstrator who forgets to carry. It then learns to carry from
rewards alone: each round samples answers, scores them, adds older answers from the replay, and takes optimizer steps
whose size follows the ratio variance per decision, V_d, so that there is no learning rate to set. docs/objective.md
derives the formulas; `tests/unit/core/test_one_page.py` compares this code with `r2vpo.core`.

    mu    sampled a token        A    advantage                 r    pi / pi_k
    pi_k  at the round's start   w    min(pi_k / mu, 2)         V_d  sum(w (r - 1)^2) / sum(w (1 - p)), p = pi_k(token)
    pi    now                    lam  multiplier                T    trust radius, the V_d that a round may reach

Compared with the package, this leaves out other objectives, LoRA, several devices, checkpoints and shared prompts.
"""

import math
import random
import sys
from collections import deque

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CHARACTERS = "0123456789+=."  # each is a token; the full stop ends an answer
END, PROMPT, ANSWER = CHARACTERS.index("."), len("27+58="), len("100.")
PROMPTS, SAMPLES, STEPS = 64, 8, 32  # per round: prompts, samples of each prompt, optimizer steps
VERSIONS, STALE_PER_FRESH = 5, 2  # replay: policy versions kept, stale rows per fresh row
DELTA, PRICE = 1 / 64, 0.28  # constants of the trust radius, the same for every task


# --- the task: sums, and a model with a habit ------------------------------------------------------------------------


def encode(texts):
    """Return (B, T) token ids of texts of the same length."""
    return torch.tensor([[CHARACTERS.index(character) for character in text] for text in texts])


def problems(count, held_out=False):
    """Draw pairs of two-digit numbers; every seventh pair is kept for the evaluation."""
    numbers = range(10, 100)
    return random.sample([(a, b) for a in numbers for b in numbers if ((91 * a + b) % 7 == 0) == held_out], count)


def demonstration(a, b, careful):
    """Write the sum as text, either correctly or without its carries."""
    digits = (a // 10 + b // 10) % 10 * 10 + (a + b) % 10
    right = random.random() < (0.7 if careful else 0.1) or digits == a + b
    return (f"{a + b}" if right else f"{digits:02d}").ljust(ANSWER, ".")


def model_with_a_habit(steps=1000):
    """Train a Llama of 330,000 weights, first on mostly right answers and later on mostly wrong ones."""
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(CHARACTERS), initializer_range=0.06, **shape))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        pairs = problems(64)
        answers = encode([demonstration(a, b, careful=step < 0.6 * steps) for a, b in pairs])
        loss = -log_probs(model, encode([f"{a}+{b}=" for a, b in pairs]), answers).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


# --- sampling and scoring --------------------------------------------------------------------------------------------


def log_probs(model, prompts, answers):
    """Return log pi of the answers' tokens, (B, T) in nats."""
    logits = model(torch.cat((prompts, answers), 1)).logits[:, PROMPT - 1 : -1]
    return logits.log_softmax(-1).gather(2, answers[..., None])[..., 0]


@torch.no_grad()
def sample(model, prompts, greedy=False):
    """Sample answers; return them, log mu of their tokens, and a mask up to the end of the answer, (B, T) each."""
    ids, log_mu = prompts, []
    for _ in range(ANSWER):
        logs = model(ids).logits[:, -1].log_softmax(-1)
        token = logs.argmax(-1, keepdim=True) if greedy else logs.exp().multinomial(1)
        log_mu.append(logs.gather(1, token))
        ids = torch.cat((ids, token), 1)
    answers = ids[:, PROMPT:]
    ends = (answers == END).long()
    return answers, torch.cat(log_mu, 1), ends.cumsum(1) - ends == 0


def rewards_of(pairs, answers):
    """Return (B,) rewards: 1 for the right sum, otherwise 0."""
    texts = ["".join(CHARACTERS[token] for token in row).split(".")[0] for row in answers.tolist()]
    return torch.tensor([float(text == str(a + b)) for (a, b), text in zip(pairs, texts, strict=True)])


def advantages_of(rewards):
    """Compute A = (R - mean) / (std + 1e-4) within each group of samples of one prompt."""
    groups = rewards.view(-1, SAMPLES)
    return ((groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)).view(-1)


def roll_out(model, k):
    """Sample the fresh rows of round k; return them as columns."""
    pairs = [pair for pair in problems(PROMPTS) for _ in range(SAMPLES)]
    prompts = encode([f"{a}+{b}=" for a, b in pairs])
    answers, log_mu, mask = sample(model, prompts)
    rewards = rewards_of(pairs, answers)
    return {"prompts": prompts, "answers": answers, "mask": mask, "log_mu": log_mu, "log_pi_k": log_mu,
            "reward": rewards, "a": advantages_of(rewards), "round": torch.full_like(rewards, k),
            "group": torch.arange(len(pairs)) // SAMPLES}  # fmt: skip


def take(rows, index):
    """Select some of the rows."""
    return {name: column[index] for name, column in rows.items()}


def join(*parts):
    """Concatenate the rows of all parts."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


# --- the method ------------------------------------------------------------------------------------------------------


def stale_weight(log_pi_k, log_mu, mask):
    """Compute w = min(pi_k / mu, 2), the weight of a token from an older policy."""
    return torch.where(mask, (log_pi_k - log_mu).clamp(-20, 20).exp().clamp(max=2.0), 0.0)


def decisions(log_pi_k, mask):
    """Compute 1 - p + 0.001; without the constant, almost certain tokens would divide rounding by rounding."""
    return torch.where(mask, 1.001 - log_pi_k.exp(), 0.0)


def loss_of(log_pi, log_pi_k, a, w, mask, lam):
    """Compute -sum(w x) / N, x = A q - lam max(s (q - 1), 0)^2, s = sign A; q is r, but does not go beyond r*."""
    a, moved = a[:, None], torch.where(mask, log_pi - log_pi_k, 0.0).clamp(-20, 20).expm1()  # A, r - 1
    way = torch.minimum(a.sign() * moved, a.abs() / (2 * lam))  # s (q - 1), at most as far as r* = 1 + A / (2 lam)
    x = a + a.abs() * way - lam * way.relu().square()
    return -torch.where(mask, w * x, 0.0).sum() / mask.sum()


def movement(log_pi, log_pi_k, w, mask):
    """Return 2 sum(w (r - 1 - log r)) and sum(w (1 - p)); their quotient S is log(1 + V_d) without heavy tails."""
    logs = torch.where(mask, log_pi - log_pi_k, 0.0).double().clamp(-20, 20)
    return 2 * (w * (logs.expm1() - logs)).sum().item(), (w * decisions(log_pi_k, mask)).sum().item()


def held_out_gain(log_pi, log_pi_k, a, w, mask):
    """Return sums over rows with an advantage: w A b(r), w (1 - p), w (1 - p) A^2, 2 (w log w - w + 1).

    b(r) is 2 (r - 1) / (r + 1); the last sum is how far the policy had moved since mu, and 0 if it sampled the rows.
    """
    a, logs = a[:, None], torch.where(mask, log_pi - log_pi_k, 0.0).clamp(-20, 20)
    w = w * (a != 0)
    decided, before = w * decisions(log_pi_k, mask), torch.where(w > 0, w.xlogy(w) - w + 1, 0.0)
    sums = (w * a * 2 * (logs / 2).tanh(), decided, decided * a**2, 2 * before)
    return tuple(one.sum().item() for one in sums)


class Controls:
    """Controller of a round's trust radius T and of the learning rate factor with which its steps reach T.

    The movement S grows as C D^2, where D is the sum of the factors since the round's start. C is measured, and the
    factor for each of the round's steps is sqrt(log(1 + T) / C) / STEPS.
    """

    def __init__(self):
        self.scale = self.stepped = 0.05  # the factor, and the factor of the last step
        self.before, self.now = (0.0, 0.0), (0.0, 0.0)  # C and its weight: in earlier rounds, in this one
        self.held_before, self.held_now = [0.0] * 4, [0.0] * 4  # sums of `held_out_gain`, the last three times D
        self.distance, self.brake, self.target, self.informative = 0.0, 1.0, DELTA, None

    def begin_round(self, informative, last_round):
        """Take the number n of fresh rows with an advantage, and the movement of the last round as a whole."""
        before = informative if self.informative is None else self.informative
        self.informative = max(0.7 * before + 0.3 * informative, 1.0)
        self.follow(*last_round)
        self.before, self.now = (self.curvature(), 0.95 * (self.before[1] + self.now[1])), (0.0, 0.0)
        self.held_before = [0.8 * old + new for old, new in zip(self.held_before, self.held_now, strict=True)]
        self.held_now, self.distance, self.brake = [0.0] * 4, 0.0, 1.0
        self.aim()

    def measure(self, moved, decided, held):
        """Take the results of `movement` and `held_out_gain` before a step; a round's first step has no movement."""
        if self.distance > 0:
            scaled = held[0], *(self.distance * one for one in held[1:])
            self.held_now = [old + new for old, new in zip(self.held_now, scaled, strict=True)]
            self.aim()
            self.follow(moved, decided)

    def follow(self, moved, decided):
        """Measure C at this distance, and brake if S is far above its target."""
        if decided == 0 or self.distance == 0:
            return
        s, allowed = moved / decided, 4 * math.log1p(self.target)
        self.brake = 1.0 if s <= allowed else allowed / s
        share = min(self.distance / (STEPS * self.scale), 1.0)
        curvature = min(s, 40.0) / self.distance**2
        self.now = min(curvature, 10 * self.before[0]) if self.before[0] > 0 else curvature, share**2 * decided
        self.rescale()

    def aim(self):
        """Set T = max(delta n, exp(min((gamma / kappa)^2, 6)) - 1), from n informative rows or held-out gains."""
        gain, decided, moment, before = (old + new for old, new in zip(self.held_before, self.held_now, strict=True))
        scale = self.curvature() * decided * moment
        gamma = gain / math.sqrt(scale) - PRICE * math.sqrt(max(before, 0.0) / decided) if scale > 0 else 0.0
        self.target = max(DELTA * self.informative, math.expm1(min((max(gamma, 0.0) / PRICE) ** 2, 6.0)))
        self.rescale()

    def curvature(self):
        """Return C, an average over the rounds."""
        (old, weight), (new, more) = self.before, self.now
        return (weight * old + more * new) / (weight + more) if weight + more > 0 else old

    def rescale(self):
        """Set the factor with which STEPS steps reach the target, at most twice the factor of the last step."""
        if self.curvature() > 0:
            self.scale = min(math.sqrt(math.log1p(self.target) / self.curvature()) / STEPS, 2 * self.stepped)

    def factor(self):
        """Return the factor of the next step, and add it to the distance."""
        self.stepped = self.scale
        self.distance += self.scale * self.brake
        return self.scale * self.brake


def train(model, rounds, rate=1e-4):
    """Train, and yield for each round the share of right samples, the V_d it reached, and T."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    controls, replay = Controls(), deque(maxlen=VERSIONS)
    for k in range(rounds):
        fresh = roll_out(model, k)
        size = len(fresh["a"])
        stored = join(*replay) if replay else take(fresh, slice(0))
        rows = join(fresh, take(stored, torch.randperm(len(stored["a"]))[: STALE_PER_FRESH * size]))
        then, mask, last = rows["log_pi_k"], rows["mask"], rows["round"] == k - 1
        with torch.no_grad():  # pi_k: the present model on every row
            rows["log_pi_k"] = log_probs(model, rows["prompts"], rows["answers"])
        rows["w"] = stale_weight(rows["log_pi_k"], rows["log_mu"], mask)
        weight = stale_weight(then, rows["log_mu"], mask)
        last_round = movement(rows["log_pi_k"][last], then[last], weight[last], mask[last])
        controls.begin_round((fresh["a"] != 0).sum().item(), last_round)
        moment = (rows["w"] * rows["a"][:, None] ** 2).sum() / (rows["w"] * decisions(rows["log_pi_k"], mask)).sum()
        lam = max(math.sqrt(moment / controls.target) / 2, 0.02)  # lam* = sqrt(M / T) / 2
        trained = torch.zeros(PROMPTS, dtype=torch.bool)
        for part in torch.randperm(len(rows["a"])).chunk(STEPS):
            row = take(rows, part)
            log_pi = log_probs(model, row["prompts"], row["answers"])
            optimizer.zero_grad()
            loss_of(log_pi, row["log_pi_k"], row["a"], row["w"], row["mask"], lam).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            now, old, weight = log_pi.detach(), row["log_pi_k"], row["w"]
            new = (row["round"] == k) & ~trained[row["group"]]  # fresh rows whose group no step has trained on
            trained[row["group"][row["round"] == k]] = True
            moved, decided = movement(now, old, weight, row["mask"])
            held_out = held_out_gain(now[new], old[new], row["a"][new], weight[new], row["mask"][new])
            controls.measure(moved, decided, held_out)
            optimizer.param_groups[0]["lr"] = rate * controls.factor()
            optimizer.step()
        replay.append(take(rows, slice(size)))
        yield fresh["reward"].mean().item(), math.expm1(min(moved / decided, 40.0)), controls.target


def accuracy(model, count=1000):
    """Return the share of held-out sums whose most likely answer is right."""
    pairs = problems(count, held_out=True)
    prompts = encode([f"{a}+{b}=" for a, b in pairs])
    return rewards_of(pairs, sample(model, prompts, greedy=True)[0]).mean().item()


def main(rounds):
    """Train, and print the accuracy before and after and the progress of each round."""
    random.seed(0), torch.manual_seed(0)
    model = model_with_a_habit()
    print(f"held-out sums before: {accuracy(model):.1%}", flush=True)
    for k, (right, reached, target) in enumerate(train(model, rounds)):
        print(f"round {k}: {right:.1%} of the samples right, V_d {reached:.2f} of {target:.2f}", flush=True)
    print(f"held-out sums after: {accuracy(model):.1%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
