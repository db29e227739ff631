"""A reward model, a policy trained on it, and the policy's win rate over itself before training.

    python examples/reward_model_win_rate.py [STEPS PROBLEMS]

The reward model is trained here, so that nothing is downloaded: a classifier head on the embedded model that prefers
one sentence to three. Any sequence classifier with one output can be used instead. Note that the policy is judged by
the model that it was trained on; use another model, or a judge, for an independent result.
"""

import sys

import torch
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification

from r2vpo import R2VPOConfig, R2VPOTrainer, load_reward
from r2vpo.cli.main import main as r2vpo
from r2vpo.data import InstructionsOptions, load_data, to_dataset
from r2vpo.models import load_model, load_tokenizer, resolve_model

MODEL = "embedded/smollm2-135m"  # or a folder that save_pretrained wrote, or a name on the hub
REWARD_MODEL, POLICY = "runs/reward-model", "runs/reward-model-policy"
THINGS = ("tea", "snow", "a ship", "the moon", "honey", "a clock", "the wind", "chess")
SENTENCES = ("Many people like {} a lot.", "There is much to say about {}.", "My aunt often spoke of {}.")


def make_reward_model() -> None:
    """Fit only the head to pairs (Bradley and Terry): minimise -log sigmoid(score of one - score of three)."""
    tokenizer = load_tokenizer(MODEL)
    model = AutoModelForSequenceClassification.from_pretrained(resolve_model(MODEL), num_labels=1)
    short = [sentence.format(thing) for thing in THINGS for sentence in SENTENCES]
    long = [" ".join(s.format(thing) for s in SENTENCES) for thing in THINGS for _ in SENTENCES]
    better, worse = (torch.stack([last_hidden(model, tokenizer, text) for text in texts]) for texts in (short, long))
    optimizer = torch.optim.AdamW(model.score.parameters(), lr=1e-2)
    for _ in range(200):
        loss = -logsigmoid(model.score(better) - model.score(worse)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(REWARD_MODEL)
    tokenizer.save_pretrained(REWARD_MODEL)


@torch.no_grad()
def last_hidden(model: torch.nn.Module, tokenizer: object, text: str) -> torch.Tensor:
    """Return the head's input for a conversation: the last token's hidden state."""
    chat = [{"role": "user", "content": "Write something."}, {"role": "assistant", "content": text}]
    ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
    return model.model(ids).last_hidden_state[0, -1]


def main(steps: int, problems: int) -> None:
    """Train the reward model and the policy, and compare the policy with itself before training."""
    make_reward_model()
    args = R2VPOConfig(
        POLICY,
        num_generations=8,
        max_completion_length=48,
        per_device_train_batch_size=16,
        steps_per_generation=4,
        learning_rate=2e-5,
        lr_scheduler_type="constant",
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = R2VPOTrainer(
        load_model(MODEL),
        load_reward({"name": "reward_model", "model": REWARD_MODEL}),
        args,
        train_dataset=to_dataset(load_data(InstructionsOptions(constraints=[1], train_size=64, held_out_size=0)).train),
        processing_class=load_tokenizer(MODEL),
    )
    trainer.train()
    trainer.save_model(POLICY)
    command = f"eval {POLICY} --suite instruction --set data.held_out_size={problems} --k 0 --max-new-tokens 48"
    sys.exit(r2vpo([*command.split(), "--baseline", MODEL, "--win-by", f"reward_model:{REWARD_MODEL}"]))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3] or ("64", "48")))
