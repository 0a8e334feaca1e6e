"""Train a small net with Lightning.

To record it as it is: gradwatch run examples/lightning_trainer.py. One line records a part of a program:
with gradwatch.watch(model): trainer.fit(model, batches)
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.log("validation loss", self.training_step(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


lightning.seed_everything(0)
inputs = torch.randn(64, 8)
batches = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=8)
model = Regression()
trainer = lightning.Trainer(
    max_epochs=3, accumulate_grad_batches=2, gradient_clip_val=1.0, logger=False, enable_checkpointing=False
)
trainer.fit(model, batches, batches)
print(f"validation loss {trainer.callback_metrics['validation loss']:.3f}")
