"""Train a tiny GPT-2 with transformers' Trainer.

To record it as it is: gradwatch run examples/transformers_trainer.py. One line records a part of a program:
with gradwatch.watch(model): trainer.train()
"""

# A script as users write one; transformers is untyped.
# pyright: basic
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

set_seed(0)
config = GPT2Config(
    n_layer=2, n_embd=32, n_head=2, n_positions=16, vocab_size=50, bos_token_id=0, eos_token_id=0, use_cache=False
)
model = GPT2LMHeadModel(config)
texts = [{"input_ids": tokens, "labels": tokens} for tokens in torch.randint(0, 50, (48, 16))]

arguments = TrainingArguments(
    "build/trainer",
    num_train_epochs=2,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    max_grad_norm=0.5,
    eval_strategy="epoch",
    save_strategy="no",
    logging_steps=1,
    report_to=[],
    disable_tqdm=True,
)
trainer = Trainer(model, arguments, train_dataset=texts, eval_dataset=texts[:8])
trainer.train()
