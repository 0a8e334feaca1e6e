"""Q-learning with a target network, double selection without a graph, and Huber's loss on the action taken."""

import copy

import torch
from torch import nn
from torch.nn.functional import smooth_l1_loss

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    target = copy.deepcopy(network)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2.5e-4)
    for step in range(16):
        state, after = torch.randn(32, 4), torch.randn(32, 4)
        action, reward, done = torch.randint(3, (32, 1)), torch.randn(32), torch.rand(32) < 0.1
        value = network(state).gather(1, action).squeeze(1)
        with torch.no_grad():
            best = network(after).argmax(1, keepdim=True)
            wanted = reward + 0.99 * target(after).gather(1, best).squeeze(1) * ~done
        loss = smooth_l1_loss(value, wanted)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        nn.utils.clip_grad_value_(network.parameters(), 1.0)
        optimizer.step()
        if step % 5 == 0:
            target.load_state_dict(network.state_dict())
