"""Train a small convolutional net on the 8x8 handwritten digits that scikit-learn packages."""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- as everyone does


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.head = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.head(x.flatten(1))


torch.manual_seed(0)
pixels, classes = load_digits(return_X_y=True)
images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
labels = torch.tensor(classes)
train, test = slice(0, 1500), slice(1500, None)

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(5):
    for batch in torch.randperm(1500).split(64):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[train][batch]), labels[train][batch])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean()
    print(f"epoch {epoch}: loss {loss.item():.3f}, test accuracy {accuracy:.1%}")
