"""A U-Net with skip connections, batch norm and a dice loss beside the cross entropy."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, max_pool2d

from zoo.expected import Silence

EXPECTED = Silence()


def two_convolutions(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, made, 3, padding=1, bias=False),
        nn.BatchNorm2d(made),
        nn.ReLU(inplace=True),
        nn.Conv2d(made, made, 3, padding=1, bias=False),
        nn.BatchNorm2d(made),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = two_convolutions(1, 8), two_convolutions(8, 16), two_convolutions(16, 32)
        self.up2, self.up1 = two_convolutions(48, 16), two_convolutions(24, 8)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip1 = self.down1(x)
        skip2 = self.down2(max_pool2d(skip1, 2))
        x = self.middle(max_pool2d(skip2, 2))
        x = self.up2(torch.cat([interpolate(x, scale_factor=2), skip2], 1))
        x = self.up1(torch.cat([interpolate(x, scale_factor=2), skip1], 1))
        return self.head(x)


def dice(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    found = logits.sigmoid()
    return 1 - (2 * (found * mask).sum() + 1) / (found.sum() + mask.sum() + 1)


def train() -> None:
    torch.manual_seed(0)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(12):
        images = torch.randn(4, 1, 16, 16)
        masks = (images > 0.5).float()
        logits = model(images)
        loss = binary_cross_entropy_with_logits(logits, masks) + dice(logits, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
