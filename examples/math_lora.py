r"""Math with LoRA: a small language model learns to reduce fractions, and only its adapters are trained.

    python examples/math_lora.py [STEPS]

The reward `math` decides whether 2/3, \frac{4}{6} and 0.667 are equal. The adapters are saved at the end.
"""

import sys

import torch
from peft import LoraConfig

from r2vpo import R2VPOConfig, R2VPOTrainer, load_model, load_reward, load_tokenizer
from r2vpo.data import MixtureComponent, ReasoningGymOptions, load_data, to_dataset

MODEL = "embedded/smollm2-135m"  # or a folder that save_pretrained wrote, or a name on the hub
FRACTIONS = MixtureComponent(
    family="fraction_simplification",
    params={"min_value": 1, "max_value": 9, "min_factor": 2, "max_factor": 3, "styles": ("latex_frac",)},
)
OUTPUT = "runs/math-lora"


def main(steps: int) -> None:
    """Train for a number of optimizer steps and save the adapters."""
    problems = load_data(ReasoningGymOptions(mixture=[FRACTIONS], train_size=40, held_out_size=8, few_shot=4))
    args = R2VPOConfig(
        OUTPUT,
        num_generations=8,
        max_completion_length=16,
        per_device_train_batch_size=16,
        steps_per_generation=4,
        learning_rate=2e-4,
        lr_scheduler_type="constant",
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = R2VPOTrainer(
        load_model(MODEL),
        load_reward("math"),
        args,
        train_dataset=to_dataset(problems.train),
        processing_class=load_tokenizer(MODEL),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    trainer.train()
    trainer.save_model(OUTPUT)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
